"""models/context.py: the longest text, derived from config.json as vLLM derives it."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.models.context import context_length
from conduit_nb.models.spec import spec_of
from tests.models.published import config_of

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}


@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_yarn_as_qwens_cards_advise_counts_from_the_original_length(field: str):
    spec = spec_of({**config_of("Qwen2.5-7B-Instruct"), field: YARN})

    assert spec.context_tokens == 131_072


@pytest.mark.parametrize(
    ("scaling", "positions", "tokens"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, 32_768, 131_072),
        # DeepSeek and gpt-oss: max_position_embeddings holds the product already.
        (
            {"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
            163_840,
            163_840,
        ),
        ({"type": "linear", "factor": 4.0}, 16_384, 65_536),
        ({"type": "dynamic", "factor": 2.0}, 32_768, 65_536),
        ({"rope_type": "llama3", "factor": 8.0}, 131_072, 131_072),
        ({"type": "longrope"}, 131_072, 131_072),
        ({"type": "su"}, 131_072, 131_072),
        ({"rope_type": "default", "rope_theta": 1e6}, 40_960, 40_960),
        ({"type": "mrope", "mrope_section": [16, 24, 24]}, 32_768, 32_768),
        ({"type": "linear", "factor": None}, 4096, 4096),
        (
            {"full_attention": {"rope_type": "yarn", "factor": 2.0}, "sliding_attention": {}},
            8192,
            16_384,
        ),
        (None, 4096, 4096),
        ("none", 4096, 4096),
    ],
)
def test_scaled_positions_make_the_text_longer_where_the_file_does_not_count_them(
    scaling: object, positions: int, tokens: int
):
    config = {"max_position_embeddings": positions, "rope_scaling": scaling}

    assert context_length(config).tokens == tokens


def test_gemma_3_counts_its_scaling_already():
    config = {
        "model_type": "gemma3_text",
        "max_position_embeddings": 131_072,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }

    assert context_length(config).tokens == 131_072


def test_the_default_of_a_runtime_below_the_limit_is_a_remark():
    config: dict[str, Any] = {
        "max_position_embeddings": 131_072,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "longrope"},
    }

    length = context_length(config)

    assert length.tokens == 131_072
    assert "4,096" in length.remarks[0]


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194}, 8192),
        ({"model_type": "bert", "max_position_embeddings": 514}, 514),
        ({"model_type": "whisper", "max_target_positions": 448}, 448),
        ({"model_type": "dbrx", "max_seq_len": 32_768}, 32_768),
        ({"model_type": "t5"}, None),
    ],
)
def test_some_families_count_in_another_way(config, tokens):
    assert context_length(config).tokens == tokens
