"""Runtimes are found by the name they are registered under."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.runtimes.lmlite import LmLiteRuntime
from conduit_nb.runtimes.registry import make_runtime, runtime_names


def test_lmlite_is_registered():
    assert "lmlite" in runtime_names()
    assert isinstance(make_runtime("lmlite"), LmLiteRuntime)


@pytest.mark.parametrize("name", runtime_names())
def test_every_runtime_knows_its_name(name: str):
    assert make_runtime(name).name == name


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(ArgumentError, match="'vlm'") as caught:
        make_runtime("vlm")

    assert caught.value.param == "runtime"
    assert "lmlite" in caught.value.hint
