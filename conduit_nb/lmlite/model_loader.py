"""Loads a model's folder, or raises an error that says what is wrong with it.

Reads safetensors only and runs no code from the folder.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
from transformers.utils.logging import disable_progress_bar

from conduit_nb.errors import ArgumentError, ModelError, ModelFilesError
from conduit_nb.lmlite.blocked_linear import block_weights
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.quantization import quantize_weights

DEFAULT_CONTEXT_TOKENS = 2048
STABLE_ROPE_TYPES = ("default", "linear", "llama3", "yarn", "proportional", "dynamic")
"""Rotations that depend on a token's own position only, up to the model's own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What the files of a model become. `end_tokens` end a reply.

    Up to `stable_rope_tokens` of its `context_tokens`, a token's key does not depend on how long
    the text becomes.
    """

    model: PreTrainedModel
    architecture: str
    tokenizer: PreTrainedTokenizerFast
    grammar_tokenizer: LLTokenizer
    vocab_size: int
    context_tokens: int
    stable_rope_tokens: int
    end_tokens: frozenset[int]
    device: torch.device
    dtype: torch.dtype
    is_quantized: bool = False


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
    if config.quantization is None:
        block_weights(model)
    else:
        quantize_weights(model)
    end_tokens = _end_tokens(model, tokenizer)
    text_config = _text_config(model_config)
    vocab_size = int(text_config.vocab_size)
    context_tokens = int(
        getattr(text_config, "max_position_embeddings", None) or DEFAULT_CONTEXT_TOKENS
    )
    if len(tokenizer) > vocab_size:
        raise ModelFilesError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens, the model {vocab_size}.",
            hint="Fetch the model again; its files do not belong together.",
        )
    return LoadedModel(
        model=model,
        architecture=_architecture(model_config),
        tokenizer=tokenizer,
        grammar_tokenizer=from_tokenizer(
            tokenizer, n_vocab=vocab_size, eos_token=sorted(end_tokens)
        ),
        vocab_size=vocab_size,
        context_tokens=context_tokens,
        stable_rope_tokens=min(_stable_rope_tokens(text_config), context_tokens),
        end_tokens=end_tokens,
        device=device,
        dtype=dtype,
        is_quantized=config.quantization is not None,
    )


def first_line(err: Exception) -> str:
    """Return the first line of another library's error."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


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
        if not (folder / name).exists():
            raise ModelFilesError(
                f"{folder} has no {name}.", hint="Fetch the model again, all of its files."
            )
        _check_object(folder / name)
    if (folder / "tokenizer_config.json").exists():
        _check_object(folder / "tokenizer_config.json")
    if not list(folder.glob("*.safetensors")):
        others = sorted(path.name for path in folder.glob("*.bin"))
        found = f" ({', '.join(others[:3])} could run code and is not read)" if others else ""
        raise ModelFilesError(
            f"{folder} has no safetensors{found}.", hint="Use a model that has safetensors files."
        )


def _check_object(path: Path) -> None:
    """Refuse a file that is no JSON object: transformers would fail in ways of its own."""
    try:
        content: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err}.", hint="Fetch the model again."
        ) from err
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} is no JSON object.", hint="Fetch the model again.")


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
            param="device",
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
        described: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
        named = described.get("architectures")
        raise ModelError(
            f"What {folder} holds{f' ({named[0]})' if named else ''} is not known here:"
            f" {first_line(err)}",
            hint="Upgrade transformers, or choose a model that needs no code of its own.",
        ) from err


def _check_family(config: PreTrainedConfig) -> None:
    """Refuse what does not write text after text."""
    if config.is_encoder_decoder:
        raise _unsupported(config, "it has an encoder (is_encoder_decoder)")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise _unsupported(
            config, "transformers has no form of it that writes text (AutoModelForCausalLM)"
        )
    if not isinstance(getattr(_text_config(config), "vocab_size", None), int):
        raise _unsupported(config, "its configuration has no vocab_size")
    quantization = _quantization(config)
    if quantization and quantization.get("quant_method") not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        method = quantization.get("quant_method")
        raise _unsupported(config, f"its weights are quantized by {method!r}, which is not known")


def _quantization(config: PreTrainedConfig) -> dict[str, Any] | None:
    """Return how the weights are quantized; None where they are not."""
    return getattr(config, "quantization_config", None)


def _text_config(config: Any) -> Any:
    """Return the part of the configuration that is about text, which may be all of it."""
    return config.get_text_config(decoder=True)


def _architecture(config: PreTrainedConfig) -> str:
    """Return the name of the model's class where the files say it, else its type."""
    named: Any = getattr(config, "architectures", None)
    return str(cast("list[Any]", named)[0]) if named else config.model_type


def _stable_rope_tokens(config: Any) -> int:
    """Return up to how many tokens a text may grow before its keys are rotated differently."""
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    nested = [cast("dict[str, Any]", one) for one in rope.values() if isinstance(one, dict)]
    limits = [
        int(kind.get("original_max_position_embeddings") or 0)
        for kind in [rope, *nested]
        if kind.get("rope_type", "default") not in STABLE_ROPE_TYPES
    ]
    return min(limits, default=sys.maxsize)


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
    auto: Any = AutoModelForCausalLM
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except ImportError as err:
        raise _unsupported(config, f"what reads its weights is not installed: {err}") from err
    except (OSError, SafetensorError, RuntimeError, ValueError) as err:
        reason = first_line(err)
        if _quantization(config) is not None:
            raise _unsupported(config, f"its weights are quantized: {reason}") from err
        raise ModelFilesError(
            f"The weights in {folder} cannot be read: {reason}", hint="Fetch the model again."
        ) from err
    lacking = sorted(map(str, report["missing_keys"]))
    if lacking:
        raise ModelFilesError(
            f"{folder} lacks {len(lacking)} of the model's tensors, {lacking[0]} for one.",
            hint="Fetch the model again, all of its files.",
        )
    return model.eval().to(device)


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    ends: Any = getattr(model.generation_config, "eos_token_id", None)
    named: list[Any] = [*ends] if isinstance(ends, list) else [ends]
    named.append(tokenizer.eos_token_id)
    return frozenset(token for token in named if isinstance(token, int))


def _unsupported(config: PreTrainedConfig, why: str) -> ModelError:
    return ModelError(
        f"A model of the architecture {_architecture(config)!r} cannot be served: {why}.",
        hint="Choose a language model with unquantized weights (most chat models are), or another"
        " runtime.",
    )
