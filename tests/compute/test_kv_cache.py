"""compute/kv_cache.py: what keys and values take."""

from __future__ import annotations

import pytest

from conduit_nb.compute.kv_cache import KvNeed, entry_bytes, kv_need
from conduit_nb.compute.overheads import overheads_of
from tests.models.published import spec_named


def need_of(name: str, runtime: str = "vllm", tensor_parallel: int = 1) -> KvNeed:
    spec = spec_named(name)
    return kv_need(
        spec.caches,
        overheads_of(runtime),
        kv_dtype="bfloat16",
        dtype="bfloat16",
        tensor_parallel=tensor_parallel,
    )


def layers_of(need: KvNeed) -> tuple[int, int]:
    """Return how many full and sliding layers a device has room for."""
    full = sum(one.layers for one in need.kept if not one.is_sliding)
    return full, sum(one.layers for one in need.kept if one.is_sliding)


def test_a_sliding_layer_stops_growing_at_its_window():
    need = need_of("gpt-oss-20b")
    near, far = need.request_bytes(16_384), need.request_bytes(32_768)

    assert layers_of(need) == (12, 12)
    assert far - near == 16_384 * need.bytes_per_token // 2


def test_a_window_longer_than_the_request_saves_nothing():
    need = need_of("gemma-2-2b")

    assert need.request_bytes(1024) == 1024 * need.bytes_per_token


def test_mixed_layers_are_filled_up_to_equal_groups():
    need = need_of("gemma-3-27b-it")

    assert layers_of(need) == (10, 60)


def test_a_runtime_without_groups_keeps_the_layers_that_there_are():
    need = need_of("gemma-3-27b-it", "llama.cpp")

    assert layers_of(need) == (10, 52)


@pytest.mark.parametrize(("runtime", "sum_bytes"), [("vllm", 2), ("sglang", 4), ("llama.cpp", 4)])
def test_linear_layers_hold_a_state_of_one_size(runtime, sum_bytes):
    need = need_of("Qwen3-Next-80B-A3B", runtime)

    assert layers_of(need) == (12, 0)
    # 32 value heads of 128 x 128 sums; 8,192 channels whose last 3 inputs are kept.
    assert need.state_bytes == 36 * (32 * 128 * 128 * sum_bytes + 8192 * 3 * 2)
    assert need.request_bytes(16) - need.request_bytes(0) == 16 * need.bytes_per_token


@pytest.mark.parametrize(("ranks", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_a_rank_keeps_one_head_at_least(ranks, heads):
    (part,) = set(spec_named("Llama-3.1-8B-Instruct").caches[0])

    assert entry_bytes(part, "bfloat16", ranks) == heads * 2 * 128 * 2
