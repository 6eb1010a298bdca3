"""Language models of a few kilobytes with random weights: nonsense, but by every rule.

A tiny model has the files of a real one (config, safetensors, tokenizer, chat template), so
whatever serves models can be tested in milliseconds and without a download.
Layer 6: torch, transformers, tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from conduit_nb.errors import ArgumentError

VOCAB_SIZE = 512
"""Tokens that a tiny model can write; some have no text, as in real models with a padded table."""

START, END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_TEXT = (
    "The quick brown fox jumps over the lazy dog. It is true that the reply is the best of all.",
    '{"name":"value","count":12,"flag":true,"items":["one","two","three"],"note":null}',
    "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich. 日本語のテキスト 🎉🎈",
    "system user assistant positive negative neutral true false",
)
_EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
_LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
_LATENT = {
    "num_key_value_heads": 6,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
_TURNING = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.5,
    "original_max_position_embeddings": 256,
    "short_factor": [1.0, 1.1],
    "long_factor": [2.0, 3.0],
}

FAMILIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bloom": {},
        "cohere": {},
        "cohere2": {"sliding_window": 16, "num_hidden_layers": 4},
        "deepseek_v3": {**_EXPERTS, **_LATENT},
        "ernie4_5": {},
        "exaone4": {"sliding_window": 16, "num_hidden_layers": 4},
        "falcon": {"new_decoder_architecture": True, "num_kv_heads": 2, "alibi": False},
        "gemma": {},
        "gemma2": {"sliding_window": 16, "query_pre_attn_scalar": 16},
        "gemma3": {},
        "gemma3_text": {
            "sliding_window": 16,
            "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "glm4": {},
        "gpt2": {"n_positions": 512, "n_embd": 48, "n_layer": 3, "n_head": 6},
        "gpt_neox": {},
        "gpt_oss": {**_EXPERTS, "sliding_window": 16},
        "granite": {},
        "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
        "llama": {},
        "llama4_text": {**_EXPERTS, "attention_chunk_size": 16, "intermediate_size_mlp": 96},
        "mamba": {"state_size": 8},
        "mistral": {"sliding_window": 16},
        "mixtral": {**_EXPERTS, "sliding_window": None},
        "olmo2": {},
        "olmo3": {"sliding_window": 16, "num_hidden_layers": 4},
        "olmoe": _EXPERTS,
        "opt": {"ffn_dim": 96, "word_embed_proj_dim": 48},
        "phi": {},
        "phi3": {
            "sliding_window": 16,
            "rope_parameters": _TURNING,
            "original_max_position_embeddings": 256,
        },
        "qwen2": {},
        "qwen2_moe": _EXPERTS,
        "qwen3": {},
        "qwen3_5_text": _LINEAR,
        "qwen3_moe": _EXPERTS,
        "qwen3_next": {**_EXPERTS, **_LINEAR},
        "recurrent_gemma": {"lru_width": 48, "attention_window_size": 16},
        "seed_oss": {},
        "smollm3": {"no_rope_layers": [1, 0, 1]},
        "stablelm": {},
        "starcoder2": {"sliding_window": 16},
    }
)
"""Families that a tiny model can be of (transformers' `model_type`), and what is special of each.

Windows are short, so that a short text shows them.
"""


def make_tiny_model(
    folder: Path,
    *,
    family: str = "llama",
    seed: int = 0,
    context_tokens: int = 512,
    **config: Any,
) -> Path:
    """Write a random model of `family` into `folder` and return it; the same seed, the same model.

    `config` are arguments of the family's own configuration class, beside or instead of ours.
    Raises ArgumentError for a family that is not one of `FAMILIES`.
    """
    if family not in FAMILIES:
        raise ArgumentError(
            f"family={family!r} is not known.", hint=f"Use one of {', '.join(sorted(FAMILIES))}."
        )
    tokenizer = make_tiny_tokenizer()
    sizes: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": context_tokens,
        "initializer_range": 0.3,  # spreads the logits, so that the likeliest token is no tie
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.convert_tokens_to_ids(START),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    auto: Any = AutoModelForCausalLM  # transformers types its models in part only
    chance: Any = torch.random
    with chance.fork_rng(devices=[]):
        chance.manual_seed(seed)
        model = auto.from_config(_config(family, sizes, config), dtype=torch.float32)
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(family: str, sizes: dict[str, Any], config: dict[str, Any]) -> Any:
    auto: Any = AutoConfig
    if family == "gemma3":  # the one with a text part of its own, and eyes that we do not use
        text = _config("gemma3_text", sizes, config)
        seeing = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        seeing |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
        ends = {name: sizes[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return auto.for_model(
            family, text_config=text.to_dict(), vision_config=seeing, mm_tokens_per_image=1, **ends
        )
    usual = auto.for_model(family)
    known = {name: value for name, value in sizes.items() if _has(usual, name)}
    return auto.for_model(family, **{**known, **FAMILIES[family], **config})


def _has(config: Any, name: str) -> bool:
    """Whether the configuration has that setting, as one that can be set."""
    is_computed = isinstance(getattr(config.__class__, name, None), property)
    return hasattr(config, name) and not is_computed


def make_tiny_tokenizer() -> Any:
    """Return a byte-level BPE tokenizer with chat tokens and a chat template."""
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer
    tokenizer.train_from_iterator(
        _TEXT,
        trainer(
            vocab_size=VOCAB_SIZE - 32,
            special_tokens=[PADDING, START, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PADDING,
        bos_token=START,
        chat_template=CHAT_TEMPLATE,
    )
