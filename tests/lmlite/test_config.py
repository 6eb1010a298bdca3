from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.lmlite.config import EngineConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_concurrency": 0},
        {"max_concurrency": None},
        {"max_concurrency": True},
        {"max_model_len": 1},
        {"threads": 0},
        {"threads": 1.5},
        {"batch_timeout_ms": -1},
        {"prefill_tokens": 0},
        {"cache_tokens": 10},
        {"prefix_cache_tokens": -1},
        {"dtype": "int3"},
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(wrong: dict[str, Any]):
    (name,) = wrong

    with pytest.raises(ArgumentError, match=f"^{name}=") as caught:
        EngineConfig(**wrong)

    assert caught.value.param == name


def test_what_may_be_left_out_may_be_none():
    EngineConfig(
        device=None, max_model_len=None, threads=None, cache_tokens=None, prefix_cache_tokens=None
    )
