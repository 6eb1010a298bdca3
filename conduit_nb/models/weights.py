"""A model's weights by the best source at hand: its files' headers, a count, or arithmetic.

Layer 1.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from conduit_nb.errors import ArgumentError, MissingExtraError, ModelError
from conduit_nb.models.gguf import gguf_tensors, mixed
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.quantization import Quantization, quantized
from conduit_nb.models.safetensors_headers import HubHeaders, folder_index, folder_tensors
from conduit_nb.models.spec import ModelSpec, read_config, spec_of
from conduit_nb.models.tensors import FLOATS, Tensor, TensorDtype

Source = Literal[
    "safetensors headers", "GGUF header", "meta device", "arithmetic", "safetensors index"
]
Count = Callable[[Path], tuple[Tensor, ...]]
"""Counts the parameters of the model in a folder; `lmlite.count_parameters.counted_tensors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a model's weights are, and how that is known.

    `tensors` are as stored where `is_stored`, else in full and without a precision of their own:
    the quantization of the spec is still to be applied. An index alone says only how many bytes
    there are: they stand as evenly spread over the layers.
    """

    tensors: tuple[Tensor, ...]
    source: Source
    is_stored: bool


def read_model(folder: Path, *, count: Count | None = None) -> tuple[ModelSpec, Weights]:
    """Return the facts and weights of the model in `folder`, which may hold only a config.json.

    `count` is asked where no safetensors are there; without it, or where torch is not installed or
    does not know the model, it is arithmetic. A `.gguf` file takes the folder's place.

    Raises ModelFilesError where the files are broken, or nothing can tell the weights.
    """
    spec = spec_of(read_config(folder / "config.json"))
    stored = folder_tensors(folder)
    if stored is not None:
        return spec, _stored(spec, stored, "safetensors headers")
    ggufs = sorted(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return spec, _stored(spec, gguf_tensors(ggufs[0]), "GGUF header")
    return spec, _told(spec, folder, count)


def read_hub_model(
    model_id: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    count: Count | None = None,
) -> tuple[ModelSpec, Weights]:
    """Return the facts and weights of a model on the hub, reading nothing but headers.

    `count` is asked where it has no safetensors.

    Raises ModelNotFoundError where the hub has none of that name or cannot be reached,
    ModelFilesError where it has no safetensors and its family is not known.
    """
    with HubHeaders(model_id, revision=revision, endpoint=endpoint) as hub:
        config = hub.config()
        stored = hub.tensors()
    spec = spec_of(config)
    if stored is not None:
        return spec, _stored(spec, stored, "safetensors headers")
    with tempfile.TemporaryDirectory(prefix="conduit-config-") as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        return spec, _told(spec, Path(folder), count)


def served_tensors(
    spec: ModelSpec,
    weights: Weights,
    *,
    dtype: TensorDtype,
    quantization: Quantization | None,
) -> tuple[Tensor, ...]:
    """Return the weights as a runtime holds them, each with its precision.

    `dtype` is what is not stored in fewer bits is served in. `quantization` is asked of the runtime
    beside what the files have; None serves them as they are.

    Raises ArgumentError where the files are stored in fewer bits already, in another way.
    """
    own = spec.quantization
    if own is not None and quantization is not None and own.method != quantization.method:
        raise ArgumentError(
            f"The files are {own.method}; they cannot be served as {quantization.method}.",
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
    """Leave out what no runtime loads: layers behind the last, and a tied head's copy."""
    kept = tuple(
        tensor
        for tensor in tensors
        if (tensor.layer is None or tensor.layer < spec.layers)
        and not (tensor.role == "head" and spec.has_tied_embeddings)
        and not tensor.name.endswith(("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"))
    )
    return Weights(tensors=kept, source=source, is_stored=True)


def _told(spec: ModelSpec, folder: Path, count: Count | None) -> Weights:
    refused: ModelError | None = None
    if count is not None:
        try:
            return Weights(tensors=count(folder), source="meta device", is_stored=False)
        except MissingExtraError:
            pass  # no torch here: arithmetic it is
        except ModelError as err:
            refused = err
    try:
        return Weights(tensors=tensors_of(spec), source="arithmetic", is_stored=False)
    except ModelError as err:
        index = folder_index(folder)
        if index is None or index.total_bytes is None or not spec.layers:
            raise err from refused
        return _spread(spec, index.total_bytes)


def _spread(spec: ModelSpec, total_bytes: int) -> Weights:
    """Return that many bytes, as much in each layer."""
    share = -(-total_bytes // spec.layers)
    tensors = tuple(
        Tensor(name=f"model.layers.{layer}.stored", shape=(share,), dtype="uint8")
        for layer in range(spec.layers)
    )
    return Weights(tensors=tensors, source="safetensors index", is_stored=True)


def _served(tensor: Tensor, dtype: TensorDtype) -> Tensor:
    """Return `tensor` with a precision: scales keep theirs, other numbers take the chosen one."""
    is_scale = "scale" in tensor.name or "absmax" in tensor.name or "quant_map" in tensor.name
    keeps = tensor.dtype is not None and (tensor.dtype not in FLOATS or is_scale)
    return tensor if keeps else replace(tensor, dtype=dtype)
