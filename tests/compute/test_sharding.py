"""compute/sharding.py: which weights lie on which device."""

from __future__ import annotations

import pytest

from conduit_nb.compute.overheads import overheads_of
from conduit_nb.compute.sharding import (
    allocated_bytes,
    latent_copy_bytes,
    rank_bytes,
    rope_table_bytes,
    stage_of_layers,
)
from conduit_nb.models.tensors import Tensor
from tests.models.published import spec_named

MIB = 2**20
VLLM = overheads_of("vllm")


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [
        (32, 2, [16, 16]),
        (32, 3, [11, 11, 10]),
        (28, 4, [7] * 4),
        (5, 4, [1, 1, 2, 1]),
    ],
)
def test_what_remains_goes_to_the_stages_before_the_last(layers, stages, sizes):
    found = stage_of_layers(layers, stages)

    assert len(found) == layers
    assert found == sorted(found)
    assert [found.count(stage) for stage in range(stages)] == sizes


@pytest.mark.parametrize(
    ("sizes", "counted"),
    [
        ([100], [512]),
        ([MIB], [MIB]),
        ([31 * MIB + MIB // 2], [32 * MIB]),
        ([24 * MIB + MIB // 2], [24 * MIB + MIB // 2]),
        ([259 * MIB], [260 * MIB]),
        ([10 * MIB], [10 * MIB]),
        ([9 * MIB, 9 * MIB, 2 * MIB], [9 * MIB, 9 * MIB, 2 * MIB]),
        ([9 * MIB + MIB // 2, 10 * MIB - 512], [9 * MIB + MIB // 2, 10 * MIB + MIB // 2]),
    ],
)
def test_the_allocator_gives_whole_segments_and_small_rests_away(sizes, counted):
    assert list(allocated_bytes(sizes)) == counted


@pytest.mark.parametrize(
    ("name", "shape", "share"),
    [
        ("model.layers.0.self_attn.q_proj.weight", (3584, 3584), 1 / 4),
        ("model.layers.0.self_attn.q_proj.bias", (3584,), 1 / 4),
        ("model.layers.0.self_attn.k_proj.weight", (512, 3584), 1 / 4),
        ("model.layers.0.self_attn.o_proj.bias", (3584,), 1),
        ("model.layers.0.input_layernorm.weight", (3584,), 1),
        ("model.layers.0.mlp.down_proj.weight", (3584, 18944), 1 / 4),
        ("lm_head.weight", (152064, 3584), 1 / 4),
    ],
)
def test_a_rank_holds_its_share_or_a_copy(name, shape, share):
    spec = spec_named("Qwen2.5-7B-Instruct")
    tensor = Tensor(name=name, shape=shape, dtype="bfloat16")

    assert rank_bytes(spec, tensor, VLLM, 4) == tensor.elements * 2 * share


def test_more_ranks_than_kv_heads_hold_copies_of_keys_and_values():
    spec = spec_named("Qwen2.5-7B-Instruct")
    tensor = Tensor(name="model.layers.0.self_attn.k_proj.weight", shape=(512, 3584))

    assert rank_bytes(spec, tensor, VLLM, 28) == rank_bytes(spec, tensor, VLLM, 4)


def test_a_vocabulary_is_padded_to_64():
    spec = spec_named("granite-3.1-2b-instruct")
    tensor = Tensor(name="model.embed_tokens.weight", shape=(49155, 2048), dtype="bfloat16")

    assert rank_bytes(spec, tensor, VLLM, 1) == 49216 * 2048 * 2


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [
        ("Llama-3.1-8B-Instruct", 131_072 * 128 * 2),
        ("gpt-oss-20b", 131_072 * 64 * 2),
        ("gemma-3-4b-it", (8 + 1) * 131_072 * 256 * 2),
        ("DeepSeek-V2-Lite", 163_840 * 64 * 4),
        ("phi-2", 2048 * 32 * 2),
        ("gpt2", 0),
    ],
)
def test_the_table_of_rotations_is_as_long_as_the_scaling_says(name, bytes_):
    assert rope_table_bytes(spec_named(name), VLLM) == bytes_


def test_latent_attention_keeps_its_projection_twice():
    spec = spec_named("DeepSeek-V2-Lite")

    assert latent_copy_bytes(spec, VLLM, dtype="bfloat16") == 16 * (128 + 128) * 512 * 2
    assert latent_copy_bytes(spec, overheads_of("llama.cpp"), dtype="bfloat16") == 0
    assert latent_copy_bytes(spec_named("gpt2"), VLLM, dtype="bfloat16") == 0
