"""models/layer_caches.py: what each layer keeps; what is not known makes no plan smaller."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from conduit_nb.models.layer_caches import head_dim_of, kv_heads_of, layer_caches, state_of

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
}
MAMBA2 = {"mamba_n_heads": 16, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_d_conv": 4}

ONE_OF_FOUR = {"linear": 3, "full": 1}
HALF = {"linear": 2, "full": 2}


def kinds(**fields: object) -> dict[str, int]:
    return dict(Counter(layer_caches({**SMALL, **fields}).kinds))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"layer_types": ["mamba", "mamba", "attention", "mamba"], **MAMBA2}, ONE_OF_FOUR),
        ({"layers_block_type": ["mamba", "hybrid"] * 2, **MAMBA2}, {"linear": 2, "hybrid": 2}),
        ({"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3}, HALF),
        ({"hybrid_override_pattern": "M-*E", **MAMBA2}, {"linear": 1, "none": 2, "full": 1}),
        ({"attn_layer_period": 4, "attn_layer_offset": 2, **MAMBA2}, ONE_OF_FOUR),
        ({"attn_layer_indices": [3], **MAMBA2}, {"linear": 3, "full": 1}),
        ({"full_attn_idxs": [1, 3], "conv_L_cache": 3}, {"linear": 2, "full": 2}),
        ({"hybrid_layer_ids": [1], **MAMBA2}, {"linear": 3, "hybrid": 1}),
        ({"attn_type_list": [0, 0, 0, 1]}, {"linear": 3, "full": 1}),
        (
            {"linear_attn_config": {"full_attn_layers": [4], "num_heads": 4, "head_dim": 64}},
            {"linear": 3, "full": 1},
        ),
        (
            {"full_attention_interval": 4, "linear_num_heads": 4, "linear_head_dim": 64},
            {"linear": 3, "full": 1},
        ),
        ({"hybrid_layer_pattern": [0, 1, 1, 1], "sliding_window": 64}, {"full": 1, "sliding": 3}),
        ({"sliding_window_pattern": 2, "sliding_window": 64}, {"full": 2, "sliding": 2}),
        ({"sliding_window_pattern": "LLLG", "sliding_window": 64}, {"full": 1, "sliding": 3}),
        ({"no_rope_layers": [1, 1, 1, 0], "attention_chunk_size": 64}, {"full": 1, "sliding": 3}),
        ({"use_sliding_window": False, "sliding_window": 64}, {"full": 4}),
        (
            {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 3},
            {"full": 3, "sliding": 1},
        ),
        ({"layer_switch": 4, "sliding_window": 64}, {"full": 1, "sliding": 3}),
        (
            {"model_type": "zamba", "attn_layer_period": 4, "mamba_expand": 2, "mamba_d_state": 16},
            {"linear": 3, "hybrid": 1},
        ),
        ({"model_type": "bailing_moe_linear", "layer_group_size": 4}, ONE_OF_FOUR),
        ({"model_type": "rwkv6", "head_size": 64}, {"linear": 4}),
        ({"architectures": ["T5EncoderModel"], "is_encoder_decoder": True}, {"none": 4}),
        ({"global_attn_every_n_layers": 3, "local_attention": 64}, {"full": 2, "sliding": 2}),
        ({"num_kv_shared_layers": 1}, {"full": 3, "none": 1}),
        ({"kv_source_layers": [0, 0, 2, 2]}, {"full": 2, "none": 2}),
        ({"use_cla": True, "cla_share_factor": 2}, {"full": 2, "none": 2}),
        (
            {
                "block_configs": [
                    {"attention": {"n_heads_in_group": 4}},
                    {"attention": {"no_op": True}},
                    {"attention": {"replace_with_linear": True}},
                    {"attention": {"n_heads_in_group": 8}},
                ]
            },
            {"full": 2, "none": 2},
        ),
        ({"model_type": "mistral", "sliding_window": 64}, {"sliding": 4}),
        ({"model_type": "falcon_h1", **MAMBA2}, {"hybrid": 4}),
        ({"model_type": "falcon_mamba", "state_size": 16}, {"linear": 4}),
        ({"model_type": "bert"}, {"none": 4}),
        ({"model_type": "bert", "is_decoder": True}, {"full": 4}),
        ({}, {"full": 4}),
    ],
)
def test_each_field_that_names_a_pattern_is_read(fields, expected):
    assert kinds(**fields) == expected
    assert not layer_caches({**SMALL, **fields}).remarks


@pytest.mark.parametrize(
    ("fields", "expected", "word"),
    [
        ({"layer_types": ["telepathy"] * 4}, {"full": 4}, "telepathy"),
        ({"hybrid_override_pattern": "MM?*", **MAMBA2}, {"linear": 2, "full": 2}, "?"),
        ({"model_type": "strange", "sliding_window": 64}, {"full": 4}, "64 tokens"),
        ({"model_type": "strange", **MAMBA2}, {"hybrid": 4}, "state"),
        ({"model_type": "strange", "mamba_magic": 8}, {"full": 4}, "mamba_magic"),
    ],
)
def test_what_is_not_known_is_full_attention_with_a_remark(fields, expected, word):
    caches = layer_caches({**SMALL, **fields})

    assert dict(Counter(caches.kinds)) == expected
    assert len(caches.remarks) == 1
    assert word in caches.remarks[0]


def test_a_linear_layer_of_unknown_size_is_planned_as_attention():
    caches = layer_caches({**SMALL, "layer_types": ["linear_attention"] * 4})

    assert [part.kind for layer in caches.parts for part in layer] == ["full"] * 4
    assert "state" in caches.remarks[0]


@pytest.mark.parametrize(
    "window", [{"attention_chunk_size": 32}, {"hybrid_layer_pattern": [0] * 4}]
)
def test_a_second_window_in_the_file_makes_no_layer_slide(window):
    caches = layer_caches({**SMALL, "model_type": "strange", "sliding_window": 64, **window})

    assert set(caches.kinds) == {"full"}


@pytest.mark.parametrize(
    ("fields", "heads"),
    [
        ({"num_key_value_heads": 2}, 2),
        ({"num_kv_heads": 4}, 4),
        ({"multi_query_attention": True, "multi_query_group_num": 2}, 2),
        ({"multi_query_attention": False, "multi_query_group_num": 2}, 8),
        ({"model_type": "gpt_bigcode"}, 1),
        ({"model_type": "gpt_bigcode", "multi_query": False}, 8),
        ({"num_key_value_heads": [1, 2]}, 1),
        ({}, 8),
    ],
)
def test_heads_with_keys_of_their_own_have_many_names(fields, heads):
    assert kv_heads_of({"num_attention_heads": 8, **fields}) == heads


def test_layers_may_differ_in_their_heads():
    config = {**SMALL, "num_key_value_heads": [1, 2, 4, 8]}

    assert [part.kv_heads for (part,) in layer_caches(config).parts] == [1, 2, 4, 8]


@pytest.mark.parametrize("key", ["1", "01"])
def test_a_layer_may_override_what_holds_for_all(key: str):
    config = {**SMALL, "head_dim": 64, "per_layer_config": {key: {"head_dim": 128}}}

    assert [part.numbers for (part,) in layer_caches(config).parts] == [128, 256, 128, 128]


def test_an_even_share_of_the_hidden_state_is_the_size_of_a_head():
    assert head_dim_of(SMALL) == 64
    assert head_dim_of({**SMALL, "attention_head_dim": 96, "kv_channels": 80}) == 96


def test_decoders_keep_what_their_encoder_made():
    config = {**SMALL, "is_encoder_decoder": True}
    own, cross = layer_caches(config).parts[0]

    assert own == cross
    speech = layer_caches({**config, "num_mel_bins": 80, "max_source_positions": 1500})
    assert [part.fixed_tokens for part in speech.parts[0]] == [None, 1500]


def test_layers_that_look_at_an_image_alone_keep_its_tokens():
    config = {**SMALL, "cross_attention_layers": [1], "cross_tokens": 6404}

    assert [part.fixed_tokens for (part,) in layer_caches(config).parts] == [None, 6404, None, None]


@pytest.mark.parametrize(
    ("fields", "width", "inputs", "sums"),
    [
        ({**MAMBA2, "mamba_n_groups": 8}, 16 * 64 + 2 * 8 * 128, 3, 16 * 64 * 128),
        ({"mamba_n_heads": 16, "mamba_d_head": "auto", "mamba_d_state": 128}, 1280, 3, 131_072),
        ({"mamba_expand": 2, "mamba_d_state": 16, "mamba_d_conv": 4}, 1024, 3, 16_384),
        ({"conv_L_cache": 3}, 512, 2, 0),
        ({"model_type": "minimax_m1"}, 0, 0, 8 * 64 * 64),
        ({"model_type": "recurrent_gemma", "lru_width": 640, "conv1d_width": 4}, 640, 3, 640),
        ({"model_type": "rwkv"}, 0, 0, 5 * 512),
        ({"model_type": "rwkv6", "head_size": 64}, 0, 0, 2 * 512 + 512 * 64),
        ({"model_type": "zaya"}, (8 + 2) * 64, 1, 64),
    ],
)
def test_the_state_of_each_form_has_its_size(fields, width, inputs, sums):
    state = state_of({**SMALL, **fields})

    assert state
    assert (state.conv_width, state.conv_inputs, state.state_numbers) == (width, inputs, sums)


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"mamba_ssm_cache_dtype": "float32"}, "float32"),
        ({"mamba_ssm_dtype": "torch.bfloat16"}, "bfloat16"),
        ({}, None),
    ],
)
def test_a_state_has_the_precision_that_the_file_says(fields, dtype):
    state = state_of({**SMALL, **MAMBA2, **fields})

    assert state
    assert state.state_dtype == dtype
