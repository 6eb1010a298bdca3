"""compute/kv_cache.py: what keys and values take."""

from __future__ import annotations

import pytest

from conduit_nb.compute.kv_cache import KvNeed, kv_need, linear_state_bytes
from conduit_nb.compute.overheads import overheads_of
from tests.models.published import spec_named


def need_of(name: str, runtime: str = "vllm", tensor_parallel: int = 1) -> KvNeed:
    spec = spec_named(name)
    return kv_need(
        spec,
        spec.attention,
        overheads_of(runtime),
        kv_dtype="bfloat16",
        dtype="bfloat16",
        tensor_parallel=tensor_parallel,
    )


def test_a_sliding_layer_stops_growing_at_its_window():
    need = need_of("gpt-oss-20b")
    near, far = need.request_bytes(16_384), need.request_bytes(32_768)

    assert (need.full_layers, need.sliding_layers) == (12, 12)
    assert far - near == 16_384 * need.bytes_per_token // 2


def test_a_window_longer_than_the_request_saves_nothing():
    need = need_of("gemma-2-2b")

    assert need.request_bytes(1024) == 1024 * need.bytes_per_token


def test_mixed_layers_are_filled_up_to_equal_groups():
    need = need_of("gemma-3-27b-it")

    assert (need.full_layers, need.sliding_layers) == (10, 60)


def test_a_runtime_without_groups_keeps_the_layers_that_there_are():
    need = need_of("gemma-3-27b-it", "llama.cpp")

    assert (need.full_layers, need.sliding_layers) == (10, 52)


def test_linear_layers_hold_a_state_of_one_size():
    need = need_of("Qwen3-Next-80B-A3B")
    spec = spec_named("Qwen3-Next-80B-A3B")

    assert need.full_layers == 12
    assert need.state_bytes == 36 * linear_state_bytes(spec, "bfloat16")
    assert linear_state_bytes(spec, "bfloat16") == 32 * 128 * 128 * 4 + 8192 * 3 * 2
    assert need.request_bytes(16) - need.request_bytes(0) == 16 * need.bytes_per_token


@pytest.mark.parametrize(("ranks", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_a_rank_keeps_one_head_at_least(ranks, heads):
    assert need_of("Llama-3.1-8B-Instruct", tensor_parallel=ranks).layer_bytes == 2 * heads * 256
