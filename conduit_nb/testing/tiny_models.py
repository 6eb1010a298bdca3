"""Language models of a few kilobytes with random weights: nonsense, but by every rule.

A tiny model has the files of a real one (config, safetensors, tokenizer, chat template), so
whatever serves models can be tested in milliseconds and without a download.
Layer 6: torch, transformers, tokenizers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils.logging import disable_progress_bar

Family = Literal["llama", "qwen2", "qwen3", "mistral"]

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
_CONFIGS: dict[Family, type[Any]] = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}


def make_tiny_model(
    folder: Path,
    *,
    family: Family = "llama",
    seed: int = 0,
    context_tokens: int = 512,
    **config: Any,
) -> Path:
    """Write a random model of `family` into `folder` and return it; the same seed, the same model.

    `config` are arguments of the family's own configuration class, beside or instead of ours.
    """
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
    if family == "mistral":
        sizes["sliding_window"] = None
    auto: Any = AutoModelForCausalLM  # transformers types its models in part only
    chance: Any = torch.random
    with chance.fork_rng(devices=[]):
        chance.manual_seed(seed)
        model = auto.from_config(_CONFIGS[family](**{**sizes, **config}), dtype=torch.float32)
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
