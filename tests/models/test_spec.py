"""models/spec.py: the facts that a config.json holds, and the context length as vLLM derives it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.errors import ConduitError, ModelFilesError
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.spec import context_length, context_tokens, read_spec, spec_of
from tests.models.published import config_of, spec_named


def folder_with(tmp_path: Path, config: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 4096}, "max_position_embeddings": 1}, 4096),
        ({"max_position_embeddings": 2048, "n_positions": 7}, 2048),
        ({}, None),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": "many"}, None),
        ({"max_position_embeddings": 0}, None),
    ],
)
def test_the_context_is_what_the_config_calls_it(tmp_path, config, expected):
    assert context_tokens(folder_with(tmp_path, config)) == expected


def test_a_spec_names_the_architecture_and_the_vocabulary(tmp_path):
    spec = read_spec(
        folder_with(
            tmp_path,
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152},
        )
    )

    assert (spec.model_type, spec.architectures) == ("llama", ("LlamaForCausalLM",))
    assert spec.vocab_tokens == 49152


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 200_000])
def test_a_config_that_is_no_object_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"config\.json"):
        read_spec(tmp_path)


def test_a_missing_config_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(ModelFilesError, match=rf"{tmp_path}\b.*config\.json") as caught:
        read_spec(tmp_path)

    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Llama-3.1-8B-Instruct", {"full": 32}),
        ("Qwen2.5-7B-Instruct", {"full": 28}),
        ("Mistral-7B-v0.1", {"sliding": 32}),
        ("gpt-oss-20b", {"sliding": 12, "full": 12}),
        ("gemma-2-2b", {"sliding": 13, "full": 13}),
        ("gemma-3-4b-it", {"sliding": 29, "full": 5}),
        ("gemma-3-27b-it", {"sliding": 52, "full": 10}),
        ("Qwen3-Next-80B-A3B", {"linear": 36, "full": 12}),
    ],
)
def test_each_layer_has_its_kind_of_attention(name, kinds):
    assert Counter(spec_named(name).attention) == kinds


@pytest.mark.parametrize(
    ("name", "heads", "kv_heads", "head_dim"),
    [
        ("Llama-3.1-8B-Instruct", 32, 8, 128),
        ("Qwen2.5-7B-Instruct", 28, 4, 128),
        ("CodeLlama-7b", 32, 32, 128),
        ("gemma-3-4b-it", 8, 4, 256),
        ("falcon-7b", 71, 1, 64),
        ("falcon-40b", 128, 8, 64),
        ("falcon-rw-1b", 32, 32, 64),
        ("gpt2", 12, 12, 64),
        ("gpt-oss-20b", 64, 8, 64),
    ],
)
def test_heads_are_what_the_config_or_its_family_says(name, heads, kv_heads, head_dim):
    spec = spec_named(name)

    assert (spec.heads, spec.kv_heads, spec.head_dim) == (heads, kv_heads, head_dim)


def test_latent_attention_keeps_one_vector_a_token():
    assert spec_named("DeepSeek-V2-Lite").latent_dim == 512 + 64
    assert spec_named("Llama-3.1-8B-Instruct").latent_dim is None


@pytest.mark.parametrize(
    ("name", "experts", "per_token"),
    [
        ("Mixtral-8x7B-v0.1", 8, 2),
        ("DeepSeek-V3", 256, 8),
        ("gpt-oss-20b", 32, 4),
        ("Qwen3-30B-A3B", 128, 8),
        ("Qwen3-8B", None, None),
    ],
)
def test_of_the_experts_some_work_for_a_token(name, experts, per_token):
    spec = spec_named(name)

    assert (spec.experts, spec.experts_per_token) == (experts, per_token)


def test_a_model_that_also_sees_is_known_by_its_language_part():
    spec = spec_named("gemma-3-4b-it")

    assert (spec.model_type, spec.is_multimodal) == ("gemma3", True)
    assert (spec.layers, spec.hidden_size, spec.window_tokens) == (34, 2560, 1024)


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "torch.float16"}, "float16"),
        ({"text_config": {"dtype": "float32"}}, "float32"),
        ({"torch_dtype": "auto"}, None),
        ({}, None),
    ],
)
def test_the_precision_has_an_old_and_a_new_name(config, dtype):
    assert spec_of(config).dtype == dtype


def test_embeddings_are_tied_where_the_whole_or_the_family_says_so():
    assert spec_named("gemma-2-2b").has_tied_embeddings
    assert not spec_named("Llama-3.1-8B-Instruct").has_tied_embeddings
    nested = {"text_config": {"model_type": "llama"}, "tie_word_embeddings": True}
    assert spec_of(nested).has_tied_embeddings


def test_a_quantization_is_a_fact_of_the_model():
    quantization = spec_named("gpt-oss-20b").quantization

    assert quantization
    assert (quantization.method, quantization.bits) == ("mxfp4", 4)


@pytest.mark.parametrize("defaults", [None, {"sliding_window": None}])
def test_a_window_that_is_null_is_none_whatever_the_family_has(defaults):
    config = {**config_of("Mistral-7B-v0.1"), "sliding_window": None}

    assert set(spec_of(config, defaults=defaults).attention) == {"full"}


def test_what_the_class_makes_of_a_null_is_taken():
    config = {**config_of("Qwen3-8B"), "layer_types": None, "head_dim": None}
    defaults = {"layer_types": ["sliding_attention"] * 36, "sliding_window": 64, "head_dim": 96}

    spec = spec_of(config, defaults=defaults)

    assert (spec.head_dim, set(spec.attention)) == (96, {"sliding"})


@pytest.mark.parametrize(
    "part", ["text_config", "llm_config", "language_config", "decoder", "decoder_config"]
)
def test_the_language_model_is_found_where_families_nest_it(part):
    spec = spec_of({"model_type": "whole", part: config_of("Qwen3-8B"), "vision_config": {}})

    assert (spec.layers, spec.is_multimodal) == (36, True)


def test_what_neither_the_file_nor_the_table_says_is_lacking():
    spec = spec_of({"model_type": "strange", "num_hidden_layers": 2, "vocab_size": 9})

    assert set(spec.lacks) == {"attention heads", "hidden size", "KV heads", "head size"}
    assert spec_of(config_of("gpt2")).lacks == ()


@pytest.mark.parametrize("junk", [True, 0, -1, 3.5, "4", [1], ["a"], [None], {"0": 3}, 10**30])
@pytest.mark.parametrize(
    "field",
    [
        "num_hidden_layers",
        "num_attention_heads",
        "head_dim",
        "layer_types",
        "block_configs",
        "per_layer_config",
        "linear_attn_config",
        "sparse_attention_config",
        "compress_ratios",
        "hybrid_override_pattern",
        "attn_layer_period",
        "sliding_window",
        "rope_scaling",
        "kv_lora_rank",
        "quantization_config",
        "architectures",
        "text_config",
        "model_type",
    ],
)
def test_a_value_of_a_wrong_kind_is_never_a_traceback(field, junk):
    config = {**config_of("Qwen3-0.6B"), field: junk}

    with contextlib.suppress(ConduitError):
        tensors_of(spec_of(config))


@pytest.mark.parametrize("junk", [3.5, "4", [1], {"a": 1}])
@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("fp8", "weight_block_size"),
        ("modelopt", "quant_algo"),
        ("modelopt", "quantized_layers"),
        ("compressed-tensors", "config_groups"),
        ("torchao", "quant_type"),
        ("quark", "global_quant_config"),
        ("hqq", "quant_config"),
        ("gptq", "bits"),
        ("exl2", "bits"),
        ("fp8", "modules_to_not_convert"),
    ],
)
def test_a_quantization_of_a_wrong_kind_is_never_a_traceback(method, field, junk):
    said = {"quant_method": method, field: junk}
    if method == "modelopt" and field != "quant_algo":
        said["quant_algo"] = "MIXED_PRECISION"

    assert spec_of({**config_of("Qwen3-0.6B"), "quantization_config": said}).quantization


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
