"""A folder to a model that is ready to serve, or an error that says what is wrong with it.

Reads safetensors only and runs no code from the folder.
Layer 3: torch, transformers.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from safetensors import SafetensorError
from transformers import (
    AttentionInterface,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from conduit_nb.errors import ArgumentError, ModelError, ModelFilesError
from conduit_nb.lmlite.attention import NAME, pack_attention
from conduit_nb.lmlite.blocked_linear import block_weights
from conduit_nb.lmlite.config import EngineConfig

DEFAULT_CONTEXT_TOKENS = 2048
FULL_ATTENTION = "full_attention"
STEADY_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotations that depend on a token's own position only, not on the longest row of the pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What the files of a model become. `end_tokens` end a reply."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    grammar_tokenizer: LLTokenizer
    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    context_tokens: int
    end_tokens: frozenset[int]
    device: torch.device
    dtype: torch.dtype


def load_model(folder: Path, config: EngineConfig) -> LoadedModel:
    """Load what is in `folder`; takes seconds.

    Raises ModelFilesError where files are missing, broken or of an unsafe kind, ModelError where
    the model is of a kind that cannot be served, ArgumentError for a device that is not there.
    """
    disable_progress_bar()
    _check_files(folder)
    device = chosen_device(config.device)
    if device.type == "cpu":
        torch.set_num_threads(config.threads or default_threads())
    model_config = _read_config(folder)
    _check_family(model_config)
    dtype = _dtype(config, model_config, device)
    tokenizer = _read_tokenizer(folder)
    model = _read_weights(folder, model_config, dtype, device)
    end_tokens = _end_tokens(model, tokenizer)
    heads = int(model_config.num_attention_heads)
    vocab_size = int(model_config.vocab_size)
    if len(tokenizer) > vocab_size:
        raise ModelFilesError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens, the model {vocab_size}.",
            hint="Fetch the model again; its files do not belong together.",
        )
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        grammar_tokenizer=from_tokenizer(
            tokenizer, n_vocab=vocab_size, eos_token=sorted(end_tokens)
        ),
        layers=int(model_config.num_hidden_layers),
        kv_heads=int(getattr(model_config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(model_config, "head_dim", None) or model_config.hidden_size // heads),
        vocab_size=vocab_size,
        context_tokens=int(
            getattr(model_config, "max_position_embeddings", None) or DEFAULT_CONTEXT_TOKENS
        ),
        end_tokens=end_tokens,
        device=device,
        dtype=dtype,
    )


def default_threads() -> int:
    """Return the physical cores that this process may use: more threads than those collapse."""
    cores = psutil.cpu_count(logical=False) or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(cores, 1)


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelFilesError(
            f"{folder} is not a folder.", hint="Name a model's id or a folder that holds one."
        )
    for name in ("config.json", "tokenizer.json"):
        path = folder / name
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError as err:
            raise ModelFilesError(
                f"{folder} has no {name}.", hint="Fetch the model again, all of its files."
            ) from err
        except (OSError, ValueError) as err:
            raise ModelFilesError(
                f"{path} cannot be read: {err}.", hint="Fetch the model again."
            ) from err
    if not list(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.glob("*.bin"))
        found = f" ({', '.join(others[:3])} could run code and is not read)" if others else ""
        raise ModelFilesError(
            f"{folder} has no safetensors{found}.", hint="Use a model that has safetensors files."
        )


def chosen_device(name: str | None) -> torch.device:
    """Return the device of that name, or the best that is there; ArgumentError where it is not."""
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as err:  # AssertionError: a build without CUDA
        reason = str(err).splitlines()[0]
        raise ArgumentError(
            f"device={name!r} cannot be used here: {reason}",
            hint="Leave device out to take what is there.",
        ) from err
    return device


def _read_config(folder: Path) -> PreTrainedConfig:
    auto: Any = AutoConfig
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, KeyError, TypeError) as err:
        raise ModelFilesError(
            f"{folder / 'config.json'} does not describe a model: {err}",
            hint="Fetch the model again.",
        ) from err
    except ValueError as err:
        raise ModelError(
            f"The kind of model in {folder} is not known here: {str(err).splitlines()[0]}",
            hint="Upgrade transformers, or choose a model that needs no code of its own.",
        ) from err


def _check_family(config: PreTrainedConfig) -> None:
    """Refuse what the pack attention would answer with wrong text."""
    kinds = set(getattr(config, "layer_types", None) or ())
    rope: Any = getattr(config, "rope_parameters", None) or {}
    rope_type = rope.get("rope_type", "default")
    if config.is_encoder_decoder:
        raise _unserved(config, "it has an encoder")
    if getattr(config, "kv_lora_rank", None):
        raise _unserved(config, "its attention is latent (MLA)")
    if kinds - {FULL_ATTENTION}:
        raise _unserved(config, f"its layers are {', '.join(sorted(map(str, kinds)))}")
    if not kinds and getattr(config, "sliding_window", None):
        raise _unserved(config, f"its attention slides over {config.sliding_window} tokens")
    if rope_type not in STEADY_ROPE:
        raise _unserved(config, f"its positions are of the kind {rope_type!r}")
    for name in ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"):
        if not isinstance(getattr(config, name, None), int):
            raise _unserved(config, f"its configuration has no {name}")


def _dtype(config: EngineConfig, model: PreTrainedConfig, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }[config.dtype]
    own = getattr(model, "dtype", None)
    if device.type == "cpu" or not isinstance(own, torch.dtype):
        return torch.float32
    return own


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    auto: Any = AutoTokenizer
    try:
        tokenizer = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelFilesError(
            f"The tokenizer in {folder} cannot be read: {str(err).splitlines()[0]}",
            hint="Fetch the model again.",
        ) from err
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"The tokenizer in {folder} has no fast form.",
            hint="Choose a model with a tokenizer.json.",
        )
    return tokenizer


def _read_weights(
    folder: Path, config: PreTrainedConfig, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    interface: Any = AttentionInterface
    interface.register(NAME, pack_attention)
    auto: Any = AutoModelForCausalLM
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=NAME,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except KeyError as err:
        raise _unserved(config, f"its attention cannot be replaced ({err} is not known)") from err
    except (OSError, SafetensorError, RuntimeError, ValueError) as err:
        raise ModelFilesError(
            f"The weights in {folder} cannot be read: {str(err).splitlines()[0]}",
            hint="Fetch the model again.",
        ) from err
    lacking = sorted(map(str, report["missing_keys"]))
    if lacking:
        raise ModelFilesError(
            f"{folder} lacks {len(lacking)} of the model's tensors, {lacking[0]} for one.",
            hint="Fetch the model again, all of its files.",
        )
    if not model._supports_attention_backend:
        raise _unserved(config, "its attention cannot be replaced")
    model = model.eval().to(device)
    block_weights(model)
    return model


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    ends: Any = getattr(model.generation_config, "eos_token_id", None)
    named: list[Any] = [*ends] if isinstance(ends, list) else [ends]
    named.append(tokenizer.eos_token_id)
    return frozenset(token for token in named if isinstance(token, int))


def _unserved(config: PreTrainedConfig, why: str) -> ModelError:
    return ModelError(
        f"A model of type {config.model_type!r} cannot be served yet: {why}.",
        hint="Choose a Llama-like model with full attention, or another runtime.",
    )
