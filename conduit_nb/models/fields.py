"""Read a config.json: the names that architectures have for the same number, and their defaults.

`num_hidden_layers` is `n_layer` in GPT-2 and `num_layers` in ChatGLM. The usual name comes first.

The defaults are those of transformers 5.23 (`configuration_<family>.py`). Older files rely on them:
gemma-3-4b names neither its heads nor its vocabulary, and files that tie their embeddings often do
not say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

LAYERS = (
    "num_decoder_layers",  # where an encoder has as many of its own
    "decoder_layers",
    "decoder_num_hidden_layers",
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "n_layers",
    "num_transformer_layers",
    "layers",
)
HEADS = (
    "decoder_attention_heads",
    "num_decoder_attention_heads",
    "decoder_num_attention_heads",
    "num_attention_heads",
    "n_head",
    "num_heads",
    "n_heads",
    "attention_heads",
)
KV_HEADS = (
    "decoder_num_key_value_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "multi_query_group_num",
    "kv_n_heads",
    "num_attention_groups",
    "num_key_value_heads_per_layer",
)
HEAD_DIM = ("head_dim", "attention_head_dim", "kv_channels", "d_kv", "head_size")
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim", "model_dim", "embed_dim", "emb_dim", "n_embed")
VOCAB = ("vocab_size", "padded_vocab_size")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "experts_per_token",
    "num_experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_k",
    "moe_top_k",
)
SHARED_EXPERTS = (
    "n_shared_experts",
    "num_shared_experts",
    "moe_num_shared_experts",
    "num_shared_expert",
)
INNER = (
    "intermediate_size",
    "ffn_dim",
    "ffn_hidden_size",
    "n_inner",
    "inner_dim",
    "d_ff",
    "decoder_ffn_dim",
    "moe_intermediate_size",
)
EXPERT_INNER = (
    "moe_intermediate_size",
    "expert_ffn_hidden_size",
    "moe_ffn_hidden_size",
    "ffn_hidden_size",
    "intermediate_size",
)
EXPAND = ("mamba_expand", "expand")
CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "max_target_positions",
    "model_max_length",
    "max_seq_length",
    "max_context_length",
)
_NESTED = ("attn_config", "ffn_config")
"""Nested parts in which MPT and DBRX have some of their numbers."""


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with the fields of nested parts merged into it."""
    inner: dict[str, Any] = {}
    for name in _NESTED:
        nested = config.get(name)
        if isinstance(nested, dict):
            inner |= cast("dict[str, Any]", nested)
    inner.pop("model_type", None)
    return {**inner, **config}


def first(config: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of the fields that is a positive integer."""
    return next((number for name in names if (number := positive(config, name))), None)


def positive(config: Mapping[str, Any], name: str) -> int | None:
    """Return the field where it is a positive integer, else None."""
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def numbers_at(config: Mapping[str, Any], name: str) -> list[int] | None:
    """Return the field where it is a list of integers, one per layer, else None."""
    value = config.get(name)
    if not isinstance(value, list) or not value:
        return None
    listed = cast("list[object]", value)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in listed):
        return None
    return cast("list[int]", listed)


def mapping_at(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the field where it is an object, else an empty one."""
    value = config.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_at(config: Mapping[str, Any], name: str) -> list[object]:
    """Return the field where it is a list, else an empty one."""
    value = config.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


_TIED = {"tie_word_embeddings": True}
_GEMMA3 = {
    **_TIED,
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"vocab_size": 32_000, "max_position_embeddings": 2048},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2": {"num_key_value_heads": 32, "use_sliding_window": False},
    "qwen2_moe": {"use_sliding_window": False, "qkv_bias": True},
    "qwen3": {"head_dim": 128, "use_sliding_window": False},
    "qwen3_moe": {"num_key_value_heads": 4, "use_sliding_window": False},
    "qwen3_next": {
        "num_key_value_heads": 2,
        "head_dim": 256,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
    "gemma": {**_TIED, "head_dim": 256},
    "gemma2": {**_TIED, "head_dim": 256, "sliding_window": 4096, "sliding_window_pattern": 2},
    "gemma3_text": _GEMMA3,
    "gemma3": _GEMMA3,
    "phi3": {"num_key_value_heads": None},
    "phi": {"partial_rotary_factor": 0.5},
    "granite": {"tie_word_embeddings": False},
    "gpt2": {**_TIED, "vocab_size": 50_257, "n_positions": 1024},
    "opt": {**_TIED, "vocab_size": 50_272, "max_position_embeddings": 2048},
    "falcon": {**_TIED, "max_position_embeddings": 2048},
    "gpt_oss": {"head_dim": 64, "num_key_value_heads": 8},
    "smollm3": _TIED,
    "chatglm": {"add_qkv_bias": True, "multi_query_attention": True},
    "minicpm": _TIED,
    "phi3_v": {"num_key_value_heads": None},
    "qwen": {"vocab_size": 151_936},
    "internlm": {"bias": True},
    "llama4_text": {"attention_chunk_size": 8192, "sliding_window_pattern": 4, "head_dim": 128},
}


def defaults_of(model_type: str) -> Mapping[str, Any]:
    """Return the defaults of a model type."""
    return _DEFAULTS.get(model_type, {})


def is_known(model_type: str) -> bool:
    """Return whether the defaults of a model type are known, or it needs none."""
    return model_type in _DEFAULTS or model_type in _ONE_KEY_A_HEAD


# Every head has its own key in these, and an even share of the hidden state.
_ONE_KEY_A_HEAD = frozenset(
    {"bloom", "gpt_neox", "gptj", "codegen", "gpt_neo", "xglm", "biogpt", "baichuan", "xverse"}
    | {"exaone", "internlm", "internlm2", "minicpm", "deepseek", "dbrx", "Yi", "mimo"}
    | {"aquila", "orion", "mpt", "bart", "mbart", "whisper", "t5", "mt5", "pegasus", "marian"}
)
