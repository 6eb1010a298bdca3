"""Read the facts of a model from its config.json. No torch, no network.

The context length is derived as vLLM derives it (`config/model.py`, `_get_and_verify_max_len`):
scaled rotations multiply the positions that the model was trained on, except where the file counts
them already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.fields import (
    CONTEXT,
    EXPERT_INNER,
    EXPERTS,
    EXPERTS_PER_TOKEN,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    INNER,
    KV_HEADS,
    VOCAB,
    defaults_of,
    first,
    flat,
    is_known,
    numbers_at,
    positive,
)
from conduit_nb.models.layer_caches import (
    CachePart,
    Kind,
    head_dim_of,
    is_encoder,
    kv_heads_of,
    layer_caches,
    window_of,
)
from conduit_nb.models.quantization import Quantization
from conduit_nb.models.quantization_configs import FP8_KV_REMARK, quantization_of

AttentionKind = Kind
ModelDtype = Literal["float32", "bfloat16", "float16"]

# Where models of several parts keep the language model's numbers, from the outside in.
_TEXT_PARTS = (
    *("thinker_config", "text_config", "llm_config", "language_config", "decoder"),
    "decoder_config",
)
# Kinds of scaling whose factor `max_position_embeddings` holds already.
_COUNTED = frozenset({"su", "longrope", "llama3"})
# The first positions of these are never used: a text of 514 positions has 512 tokens.
_PADDED = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod"}
    | {"data2vec-text", "mpnet", "longformer", "ibert"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The facts in a config.json. Missing ones are None.

    `attention` has the kind of each layer, `caches` what each layer stores per request.
    `window_tokens` is the size of a sliding window. `latent_dim` is the number of values that a
    layer with latent attention (MLA) stores per token, instead of keys and values.
    `experts_per_token` of `experts` are active. `positions` is the length in the file,
    `context_tokens` the length with scaled rotations. `config` is the language model's part of the
    file, completed with the defaults of the family. `lacks` names values whose defaults are unknown
    here; `needs_defaults`: transformers may know them. `remarks` are the assumptions made.
    """

    model_type: str
    architectures: tuple[str, ...]
    context_tokens: int | None
    vocab_tokens: int | None
    hidden_size: int | None = None
    attention: tuple[AttentionKind, ...] = ()
    caches: tuple[tuple[CachePart, ...], ...] = ()
    positions: int | None = None
    inner_size: int | None = None
    expert_size: int | None = None
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
    is_encoder: bool = False
    lacks: tuple[str, ...] = ()
    needs_defaults: bool = False
    remarks: tuple[str, ...] = ()
    is_multimodal: bool = False
    vision: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def layers(self) -> int:
        """The number of layers of the language model."""
        return len(self.attention)


def read_spec(folder: Path) -> ModelSpec:
    """Return the facts of the model in `folder`.

    Raises ModelFilesError where config.json is missing or is no model's.
    """
    return spec_of(read_config(folder / "config.json"))


def context_tokens(folder: Path) -> int | None:
    """Return the context length in tokens, None where the file has none."""
    return read_spec(folder).context_tokens


def spec_of(whole: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None) -> ModelSpec:
    """Return the facts in a config.json.

    `defaults` is the same configuration as completed by transformers, None where it was not used.
    """
    text = text_part(whole)
    model_type = str(whole.get("model_type", ""))
    text_type = str(text.get("model_type", model_type))
    config = flat({**_completed(text, text_type, defaults), "model_type": text_type})
    if text is not whole:
        for name in ("tie_word_embeddings", "is_encoder_decoder"):
            if name in whole:
                config[name] = whole[name]
    vision = _vision(whole)
    if cross := _image_tokens(config, vision):
        config["cross_tokens"] = cross
    heads = first(config, *HEADS)
    kept = layer_caches(config)
    length = context_length(config)
    experts = first(config, *EXPERTS)
    lacks = _lacks(config, kept.kinds) if defaults is None else ()
    architectures = whole.get("architectures")
    quantization = quantization_of(whole) or quantization_of(text)
    return ModelSpec(
        model_type=model_type,
        architectures=tuple(str(name) for name in cast("list[object]", architectures))
        if isinstance(architectures, list)
        else (),
        context_tokens=length.tokens,
        positions=length.positions,
        vocab_tokens=first(config, *VOCAB),
        hidden_size=first(config, *HIDDEN),
        attention=kept.kinds,
        caches=kept.parts,
        heads=heads or max(numbers_at(config, "num_query_heads") or (), default=None),
        kv_heads=kv_heads_of(config),
        head_dim=head_dim_of(config),
        window_tokens=window_of(config),
        latent_dim=_latent_dim(config, kept.parts),
        inner_size=first(config, *INNER),
        expert_size=first(config, *EXPERT_INNER),
        experts=experts,
        experts_per_token=first(config, *EXPERTS_PER_TOKEN) if experts else None,
        dtype=_dtype(whole, text),
        quantization=quantization,
        has_tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        is_encoder=is_encoder(config),
        is_multimodal=text is not whole or "vision_config" in whole or "audio_config" in whole,
        vision=vision,
        config=config,
        lacks=lacks,
        needs_defaults=defaults is None and bool(lacks or kept.remarks),
        remarks=(
            *kept.remarks,
            *length.remarks,
            *((FP8_KV_REMARK,) if quantization and quantization.has_fp8_kv else ()),
        ),
    )


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in a config.json. Raises ModelFilesError where there is none."""
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


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language model's part of a config.json, which multimodal models nest."""
    for name in _TEXT_PARTS:
        nested = config.get(name)
        if isinstance(nested, dict):
            return text_part(cast("dict[str, Any]", nested))
    return config


def _completed(
    text: Mapping[str, Any], text_type: str, defaults: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the configuration, completed with defaults.

    With only the table of this package, a null is a value ("sliding_window": null); transformers
    has resolved nulls itself.
    """
    ours = defaults_of(text_type)
    if defaults is None:
        return {**ours, **text}
    given = {name: value for name, value in text.items() if value is not None}
    return {**ours, **text_part(defaults), **given}


def _lacks(config: Mapping[str, Any], kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    """Return the values that a plan needs and neither the file nor the table of defaults has."""
    has_heads = bool(first(config, *HEADS)) or "num_query_heads" in config
    lacking: list[str] = []
    if not kinds:
        lacking.append("layers")
    if not has_heads and any(kind != "linear" for kind in kinds):
        lacking.append("attention heads")
    if not first(config, *HIDDEN):
        lacking.append("hidden size")
    if not first(config, *VOCAB):
        lacking.append("vocabulary")
    keeps_tokens = any(kind not in ("linear", "none") for kind in kinds)
    if keeps_tokens and not is_known(str(config.get("model_type", ""))):
        if not any(name in config for name in (*KV_HEADS, "kv_lora_rank", "block_configs")):
            lacking.append("KV heads")
        if not any(name in config for name in (*HEAD_DIM, "kv_lora_rank", "block_configs")):
            lacking.append("head size")
    return tuple(lacking)


def _vision(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    vision: object = whole.get("vision_config")
    return cast("dict[str, Any]", vision) if isinstance(vision, dict) else {}


def _image_tokens(config: Mapping[str, Any], vision: Mapping[str, Any]) -> int | None:
    """Return the number of image tokens that Llama 3.2 Vision's cross attention caches."""
    if "cross_attention_layers" not in config:
        return None
    side = (positive(vision, "image_size") or 448) // (positive(vision, "patch_size") or 14)
    return (side * side + 1) * (positive(vision, "max_num_tiles") or 4)


def _latent_dim(config: Mapping[str, Any], parts: tuple[tuple[CachePart, ...], ...]) -> int | None:
    if not positive(config, "kv_lora_rank"):
        return None
    return next((part.numbers for layer in parts for part in layer if part.is_shared), None)


def _dtype(*configs: Mapping[str, Any]) -> ModelDtype | None:
    for config in configs:
        for name in ("dtype", "torch_dtype"):
            dtype = str(config.get(name, "")).removeprefix("torch.")
            if dtype in ("float32", "bfloat16", "float16"):
                return dtype
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLength:
    """The context length in `tokens`, and the `positions` in the file; None where it has none."""

    tokens: int | None
    positions: int | None
    remarks: tuple[str, ...] = ()


def context_length(config: Mapping[str, Any]) -> ContextLength:
    """Return the context length of the language model in `config`."""
    positions = _positions(config)
    tokens, remarks = positions, ()
    if config.get("model_type") in _PADDED and positions and _is_power_of_two(positions - 2):
        tokens = positions - 2
    for scaling in rope_scalings(config):
        kind, factor = scaling_kind(scaling), _factor(scaling)
        original = positive(scaling, "original_max_position_embeddings") or positive(
            config, "original_max_position_embeddings"
        )
        if kind == "yarn" and not _is_gemma3(config):
            base = original or positions
            tokens = int(base * factor) if base else None
        elif kind == "longrope" and original and positions and original < positions:
            remarks = (
                f"vLLM serves {original:,} tokens of this model unless max_model_len is set.",
            )
        elif kind not in _COUNTED and kind != "longrope" and not _is_gemma3(config) and positions:
            tokens = max(tokens or 0, int(positions * factor))
    return ContextLength(tokens=tokens, positions=positions, remarks=remarks)


def rope_scalings(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the scaling of positions: once, or for each kind of layer."""
    for name in ("rope_scaling", "rope_parameters"):
        value = config.get(name)
        if not isinstance(value, dict) or not value:
            continue
        fields = cast("dict[str, Any]", value)
        nested = [cast("dict[str, Any]", one) for one in fields.values() if isinstance(one, dict)]
        yield from nested or [fields]
        return


def scaling_kind(scaling: Mapping[str, Any]) -> str:
    """Return the kind of a scaling, which has two names."""
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    return "longrope" if kind == "su" else kind


def _factor(scaling: Mapping[str, Any]) -> float:
    factor = scaling.get("factor")
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
    return float(cast("float", factor)) if is_number else 1.0


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _is_gemma3(config: Mapping[str, Any]) -> bool:
    return "gemma3" in str(config.get("model_type", ""))


def _positions(config: Mapping[str, Any]) -> int | None:
    """Return the number of positions; of Whisper that of its decoder."""
    if config.get("model_type") == "whisper":
        return positive(config, "max_target_positions")
    return first(config, *CONTEXT)
