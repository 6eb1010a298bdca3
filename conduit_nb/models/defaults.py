"""What a config.json means where it is silent: the defaults of each family's configuration class.

Read from transformers 5.23 (`configuration_<family>.py`), as older files rely on them: gemma-3-4b
names neither its heads nor its vocabulary, and files that tie their embeddings often do not say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """Return what a configuration of that type means where it says nothing."""
    return _DEFAULTS.get(model_type, {})


def is_known(model_type: str) -> bool:
    """Return whether the defaults of that type stand here, or it needs none."""
    return model_type in _DEFAULTS or model_type in _ONE_KEY_A_HEAD


# Every head has its own key in these, and an even share of the hidden state.
_ONE_KEY_A_HEAD = frozenset(
    {"bloom", "gpt_neox", "gptj", "codegen", "gpt_neo", "xglm", "biogpt", "baichuan", "xverse"}
    | {"exaone", "internlm", "internlm2", "minicpm", "deepseek", "dbrx", "Yi", "mimo"}
    | {"aquila", "orion", "mpt", "bart", "mbart", "whisper", "t5", "mt5", "pegasus", "marian"}
)
