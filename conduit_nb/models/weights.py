"""Find a model's weights from the best available source: file headers, a count, or arithmetic."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from conduit_nb.errors import ArgumentError, MissingExtraError, ModelError
from conduit_nb.models.gguf import gguf_tensors, mixed
from conduit_nb.models.layouts import FAMILIES, assumed_tensors, tensors_of
from conduit_nb.models.quantization import Quantization, quantized
from conduit_nb.models.quantization_configs import MODELOPT_FILE, with_modelopt_file
from conduit_nb.models.safetensors_headers import HubHeaders, folder_index, folder_tensors
from conduit_nb.models.spec import ModelSpec, read_config, spec_of
from conduit_nb.models.tensors import FLOATS, Tensor, TensorDtype

_STACK = re.compile(
    r"(?:(?:model|language_model|text_model|transformer|backbone|thinker|llm|gpt_neox)\.)*"
    r"(?:layers|h)\.(\d+)\."
)
_AHEAD = re.compile(r"(^|\.)mtp(_\w+)?\.")
Source = Literal[
    "safetensors headers", "GGUF header", "meta device", "arithmetic", "safetensors index"
]
Count = Callable[[Path], tuple[Tensor, ...]]
"""Counts the parameters of the model in a folder; `lmlite.count_parameters.counted_tensors`."""
Complete = Callable[[Path], Mapping[str, Any] | None]
"""Completes a config.json with the defaults of its class; `lmlite.count_parameters`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's weights, and their source.

    `tensors` are as stored where `is_stored`; else they are unquantized and without a precision:
    the quantization of the spec is still to be applied. An index alone has only the total bytes,
    which are spread evenly over the layers. `remarks` are the assumptions made.
    """

    tensors: tuple[Tensor, ...]
    source: Source
    is_stored: bool
    remarks: tuple[str, ...] = ()


def read_model(
    folder: Path, *, count: Count | None = None, complete: Complete | None = None
) -> tuple[ModelSpec, Weights]:
    """Return the facts and weights of the model in `folder`, which may hold only a config.json.

    `complete` is called where the file relies on defaults that are unknown here. The weights come
    from the safetensors' headers, from a `.gguf` file in their place, or from arithmetic; `count`
    is called first where there are no headers. Where both fail, an index gives the total bytes.

    Raises ModelFilesError where the files are broken, or the weights cannot be determined.
    """
    spec = spec_of(_read_config(folder))
    if complete is not None and spec.needs_defaults:
        spec = _completed(spec, _read_config(folder), complete(folder))
    stored = folder_tensors(folder)
    if stored is not None:
        return spec, _stored(spec, stored, "safetensors headers")
    ggufs = sorted(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return spec, _stored(spec, gguf_tensors(ggufs[0]), "GGUF header")
    return spec, _computed(spec, folder, count)


def read_hub_model(
    model_id: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    count: Count | None = None,
    complete: Complete | None = None,
) -> tuple[ModelSpec, Weights]:
    """Return the facts and weights of a model on the hub, reading nothing but headers.

    `count` and `complete` as in `read_model`.

    Raises ModelNotFoundError where the hub has none of that name or cannot be reached,
    ModelFilesError where it has no safetensors and its family is not known.
    """
    with HubHeaders(model_id, revision=revision, endpoint=endpoint) as hub:
        config = hub.config()
        if not config.get("quantization_config"):
            config = with_modelopt_file(config, hub.json_file(MODELOPT_FILE))
        stored = hub.tensors()
    spec = spec_of(config)
    if stored is not None and (complete is None or not spec.needs_defaults):
        return spec, _stored(spec, stored, "safetensors headers")
    with tempfile.TemporaryDirectory(prefix="conduit-config-") as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if complete is not None and spec.needs_defaults:
            spec = _completed(spec, config, complete(folder))
        if stored is not None:
            return spec, _stored(spec, stored, "safetensors headers")
        return spec, _computed(spec, folder, count)


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Return config.json, merged with ModelOpt's own file where that exists."""
    config = read_config(folder / "config.json")
    path = folder / MODELOPT_FILE
    return with_modelopt_file(config, read_config(path)) if path.is_file() else config


def _completed(
    spec: ModelSpec, config: Mapping[str, Any], defaults: Mapping[str, Any] | None
) -> ModelSpec:
    return spec if defaults is None else spec_of(config, defaults=defaults)


def served_tensors(
    spec: ModelSpec,
    weights: Weights,
    *,
    dtype: TensorDtype,
    quantization: Quantization | None,
) -> tuple[Tensor, ...]:
    """Return the weights as a runtime holds them, each with its precision.

    `dtype` is the precision of unquantized weights. `quantization` is applied by the runtime; None
    serves the files as they are.

    Raises ArgumentError where the files are already quantized with another method.
    """
    own = spec.quantization
    if own is not None and quantization is not None and own.method != quantization.method:
        raise ArgumentError(
            f"The files are {own.label}; they cannot be served as {quantization.method}.",
            param="quantization",
            hint="Leave quantization out, or choose the model's unquantized form.",
        )
    chosen = own or quantization
    tensors = weights.tensors
    if chosen is not None and not (weights.is_stored and own is not None):
        tensors = (
            mixed(tensors, chosen.level, layers=spec.layers)
            if chosen.method == "gguf"
            else quantized(tensors, chosen)
        )
    return tuple(_served(tensor, dtype) for tensor in tensors)


def _stored(spec: ModelSpec, tensors: tuple[Tensor, ...], source: Source) -> Weights:
    """Return the weights without those that no runtime loads: MTP layers, copies of a tied head."""
    kept = tuple(
        tensor
        for tensor in tensors
        if not _predicts_ahead(spec, tensor)
        and not (tensor.role == "head" and spec.has_tied_embeddings)
        and not tensor.name.endswith(("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"))
    )
    return Weights(tensors=kept, source=source, is_stored=True)


def _predicts_ahead(spec: ModelSpec, tensor: Tensor) -> bool:
    """Return whether it belongs to a layer after the language model's last, or an MTP module.

    An encoder may have more layers than the decoder, so that only its own stack is measured.
    """
    if _AHEAD.search(tensor.name):
        return True
    found = _STACK.match(tensor.name)
    return found is not None and int(found[1]) >= spec.layers > 0


def _unknown_remark(spec: ModelSpec) -> tuple[str, ...]:
    quantization = spec.quantization
    if quantization is None or quantization.method != "unknown":
        return ()
    return (
        f"Quantization {quantization.name!r} is not known: the weights are planned in full"
        " precision. Put the safetensors files beside config.json to plan with their sizes.",
    )


def _computed(spec: ModelSpec, folder: Path, count: Count | None) -> Weights:
    refused: ModelError | None = None
    if count is not None:
        try:
            counted = count(folder)
            return Weights(
                tensors=counted,
                source="meta device",
                is_stored=False,
                remarks=_unknown_remark(spec),
            )
        except MissingExtraError:
            pass  # no torch here: arithmetic it is
        except ModelError as err:
            refused = err
    try:
        return Weights(
            tensors=tensors_of(spec),
            source="arithmetic",
            is_stored=False,
            remarks=_unknown_remark(spec),
        )
    except ModelError as err:
        index = folder_index(folder)
        if index is not None and index.total_bytes is not None and spec.layers:
            return _spread(spec, index.total_bytes)
        if refused is None:
            raise
        return _assumed(spec, err, refused)


def _assumed(spec: ModelSpec, unknown: ModelError, refused: ModelError) -> Weights:
    """Return the approximate weights of a model unknown to the layouts and to transformers."""
    try:
        tensors = assumed_tensors(spec)
    except ModelError:
        raise unknown from refused
    text_type = str(spec.config.get("model_type"))
    language = f"a {text_type}" if text_type in FAMILIES else "a Llama-like model"
    has_vision = any(tensor.role == "vision" for tensor in tensors)
    parts = f"its weights are those of {language} of the same sizes"
    if has_vision:
        parts += ", and of a plain vision tower"
    elif spec.is_multimodal:
        parts += ", without its other parts, which config.json does not size"
    return Weights(
        tensors=tensors,
        source="arithmetic",
        is_stored=False,
        remarks=(
            f"The layout of model type {spec.model_type!r} is not known: {parts}."
            " Put its safetensors files beside config.json.",
            *_unknown_remark(spec),
        ),
    )


def _spread(spec: ModelSpec, total_bytes: int) -> Weights:
    """Return weights of that many bytes, spread evenly over the layers."""
    share = -(-total_bytes // spec.layers)
    tensors = tuple(
        Tensor(name=f"model.layers.{layer}.stored", shape=(share,), dtype="uint8")
        for layer in range(spec.layers)
    )
    return Weights(tensors=tensors, source="safetensors index", is_stored=True)


def _served(tensor: Tensor, dtype: TensorDtype) -> Tensor:
    """Return `tensor` with a precision: scales and integers keep theirs, others get `dtype`."""
    is_scale = "scale" in tensor.name or "absmax" in tensor.name or "quant_map" in tensor.name
    keeps = tensor.dtype is not None and (tensor.dtype not in FLOATS or is_scale)
    return tensor if keeps else replace(tensor, dtype=dtype)
