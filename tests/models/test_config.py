"""models/config.py: what a user may ask of a model."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig


def test_a_model_needs_only_its_id():
    config = LmLiteModelConfig("some/model")

    assert (config.max_model_len, config.max_model_concurrency, config.dtype) == (
        None,
        None,
        "auto",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_model_len", 0),
        ("max_model_len", -5),
        ("max_model_len", 10.0),
        ("max_model_len", True),
        ("max_model_concurrency", 0),
        ("max_model_concurrency", "4"),
        ("model_batch_execute_timeout_ms", -1),
        ("dtype", "int4"),
        ("quantization", "int3"),
        ("quantization", ""),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_names_the_argument(name: str, value: Any):
    with pytest.raises(ArgumentError, match=name):
        LmLiteModelConfig("some/model", **{name: value})


@pytest.mark.parametrize("model_id", ["", "  "])
def test_an_empty_id_is_an_error(model_id: str):
    with pytest.raises(ArgumentError, match="model_id"):
        LmLiteModelConfig(model_id)


def test_waiting_for_company_may_be_switched_off():
    assert LmLiteModelConfig("m", model_batch_execute_timeout_ms=0)
