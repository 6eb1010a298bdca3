"""runtimes/checks.py: what a runtime lacks is said with what to do instead."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.checks import only_model, refuse_fields

INT8 = LmLiteModelConfig("a/b", quantization="int8")


def test_a_field_that_is_not_set_is_not_missed():
    refuse_fields("R", [LmLiteModelConfig("a/b")], {"quantization": "Do this."})


def test_one_that_is_set_is_named_with_its_value_and_what_to_do():
    with pytest.raises(ArgumentError, match=r"\bR\b.*a/b.*'int8'") as err:
        refuse_fields("R", [INT8], {"quantization": "Do this."})

    assert err.value.param == "quantization"
    assert err.value.hint.startswith("Do this.")


@pytest.mark.parametrize("count", [0, 2])
def test_one_server_one_model(count: int):
    assert only_model("R", [INT8]) is INT8
    with pytest.raises(ArgumentError, match=rf"\bR\b.*\b{count}\b") as err:
        only_model("R", [INT8] * count)

    assert err.value.param == "models"
