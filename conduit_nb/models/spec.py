"""The facts of a model, read from its config.json. Pure: files in, facts out, no torch.

Layer 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.defaults import defaults_of
from conduit_nb.models.quantization import Quantization
from conduit_nb.models.quantization_configs import quantization_of

AttentionKind = Literal["full", "sliding", "linear"]
ModelDtype = Literal["float32", "bfloat16", "float16"]

# How the architectures call the longest text that they were made for, the usual name first.
CONTEXT_FIELDS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
KINDS: Mapping[str, AttentionKind] = {
    "full_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "linear_attention": "linear",
    "mamba": "linear",
    "conv": "linear",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What config.json says. None is what it does not say.

    `attention` has one kind for each layer; `window_tokens` is how far back a sliding layer looks.
    `latent_dim` is what a layer with latent attention (MLA) keeps for one token, instead of keys
    and values. `experts_per_token` of `experts` work for one token. `config` is the language
    model's part of the file, with the family's defaults where the file is silent.
    """

    model_type: str
    architectures: tuple[str, ...]
    context_tokens: int | None
    vocab_tokens: int | None
    hidden_size: int | None = None
    attention: tuple[AttentionKind, ...] = ()
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    window_tokens: int | None = None
    latent_dim: int | None = None
    experts: int | None = None
    experts_per_token: int | None = None
    dtype: ModelDtype | None = None
    quantization: Quantization | None = None
    has_tied_embeddings: bool = False
    is_multimodal: bool = False
    vision: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def layers(self) -> int:
        """Return how many layers the language model has."""
        return len(self.attention)


def read_spec(folder: Path) -> ModelSpec:
    """Return the facts of the model in `folder`.

    Raises ModelFilesError where config.json is missing or is no model's.
    """
    return spec_of(read_config(folder / "config.json"))


def context_tokens(folder: Path) -> int | None:
    """Return how many tokens the model reads and writes at most, None where it does not say."""
    return read_spec(folder).context_tokens


def spec_of(whole: Mapping[str, Any]) -> ModelSpec:
    """Return the facts that a config.json holds."""
    said = _text_part(whole)
    model_type = str(whole.get("model_type", ""))
    config: dict[str, Any] = {**defaults_of(str(said.get("model_type", model_type))), **said}
    if said is not whole and "tie_word_embeddings" in whole:
        config["tie_word_embeddings"] = whole["tie_word_embeddings"]
    heads = _first(config, "num_attention_heads", "n_head", "num_heads")
    hidden_size = _first(config, "hidden_size", "n_embd", "d_model")
    architectures = whole.get("architectures")
    vision: object = whole.get("vision_config")
    experts = _first(config, "num_local_experts", "num_experts", "n_routed_experts")
    return ModelSpec(
        model_type=model_type,
        architectures=tuple(str(name) for name in cast("list[object]", architectures))
        if isinstance(architectures, list)
        else (),
        context_tokens=_first(config, *CONTEXT_FIELDS),
        vocab_tokens=_first(config, "vocab_size"),
        hidden_size=hidden_size,
        attention=_attention(config),
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=_first(config, "head_dim", "kv_channels")
        or (hidden_size // heads if hidden_size and heads else None),
        window_tokens=_first(config, "sliding_window", "attention_chunk_size"),
        latent_dim=_latent_dim(config),
        experts=experts,
        experts_per_token=_first(config, "num_experts_per_tok", "experts_per_token")
        if experts
        else None,
        dtype=_dtype(whole, said),
        quantization=quantization_of(whole) or quantization_of(said),
        has_tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        is_multimodal="vision_config" in whole or "audio_config" in whole,
        vision=cast("dict[str, Any]", vision) if isinstance(vision, dict) else {},
        config=config,
    )


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in a config.json; ModelFilesError where there is none."""
    try:
        config: object = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise ModelFilesError(
            f"{path.parent} has no config.json.", hint="Name a folder that holds a whole model."
        ) from err
    except (ValueError, RecursionError) as err:
        raise ModelFilesError(
            f"{path} is not JSON: {err}.", hint="Fetch the model again, or repair the file."
        ) from err
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.", hint="Check its permissions."
        ) from err
    if not isinstance(config, dict):
        raise ModelFilesError(
            f"{path} holds no JSON object.", hint="Fetch the model again, or repair the file."
        )
    return cast("dict[str, Any]", config)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the language model's numbers stand: models that also see nest them."""
    nested = config.get("text_config")
    return cast("dict[str, Any]", nested) if isinstance(nested, dict) else config


def _kv_heads(config: Mapping[str, Any], heads: int | None) -> int | None:
    if config.get("model_type") == "falcon" and not config.get("new_decoder_architecture"):
        return 1 if config.get("multi_query", True) else heads
    return _first(config, "num_key_value_heads", "num_kv_heads") or heads


def _latent_dim(config: Mapping[str, Any]) -> int | None:
    rank, rope = _positive(config, "kv_lora_rank"), _positive(config, "qk_rope_head_dim")
    return rank + rope if rank and rope else None


def _attention(config: Mapping[str, Any]) -> tuple[AttentionKind, ...]:
    layers = _first(config, "num_hidden_layers", "n_layer", "num_layers") or 0
    named = config.get("layer_types")
    if isinstance(named, list) and len(cast("list[object]", named)) >= layers:
        return tuple(KINDS.get(str(kind), "full") for kind in cast("list[object]", named)[:layers])
    return tuple(_kind(config, layer) for layer in range(layers))


def _kind(config: Mapping[str, Any], layer: int) -> AttentionKind:
    """Return a layer's kind where no list says it: by the rules of transformers' configurations."""
    if interval := _positive(config, "full_attention_interval"):
        return "full" if (layer + 1) % interval == 0 else "linear"
    window = _first(config, "sliding_window", "attention_chunk_size")
    if window is None or config.get("use_sliding_window") is False:
        return "full"
    letters = config.get("sliding_window_pattern")
    if isinstance(letters, str) and letters:  # "LLLG": local and global
        return "sliding" if letters[layer % len(letters)] == "L" else "full"
    if pattern := _first(config, "sliding_window_pattern", "_sliding_window_pattern"):
        return "sliding" if (layer + 1) % pattern else "full"
    if config.get("use_sliding_window"):
        return "sliding" if layer >= (_positive(config, "max_window_layers") or 0) else "full"
    return "sliding"


def _dtype(*configs: Mapping[str, Any]) -> ModelDtype | None:
    for config in configs:
        for name in ("dtype", "torch_dtype"):
            said = str(config.get(name, "")).removeprefix("torch.")
            if said in ("float32", "bfloat16", "float16"):
                return said
    return None


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    return next((number for name in names if (number := _positive(config, name))), None)


def _positive(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
