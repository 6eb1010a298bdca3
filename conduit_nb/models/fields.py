"""The names that architectures have for the same numbers, and how a number is read from a config.

`num_hidden_layers` is `n_layer` in GPT-2 and `num_layers` in ChatGLM. The usual name comes first.
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
"""Where MPT and DBRX keep some of their numbers."""


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with the numbers of nested parts of the same layer beside the others."""
    inner: dict[str, Any] = {}
    for name in _NESTED:
        nested = config.get(name)
        if isinstance(nested, dict):
            inner |= cast("dict[str, Any]", nested)
    inner.pop("model_type", None)
    return {**inner, **config}


def first(config: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of the fields that holds a positive whole number."""
    return next((number for name in names if (number := positive(config, name))), None)


def positive(config: Mapping[str, Any], name: str) -> int | None:
    """Return the field where it is a positive whole number."""
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def numbers_at(config: Mapping[str, Any], name: str) -> list[int] | None:
    """Return the field where it is a list of whole numbers: one for each layer."""
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
