"""Models by id or folder, read as far as a plan needs: config.json and headers, never weights.

Layer 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from conduit_nb.compute.vram import KvDtype, PlanDtype, PlannedModel
from conduit_nb.errors import ArgumentError, ModelFilesError, ModelNotFoundError
from conduit_nb.lmlite.convert import converted
from conduit_nb.lmlite.count_parameters import completed_config, counted_tensors
from conduit_nb.models.config import split_revision
from conduit_nb.models.embedded import EMBEDDED_MODEL_ID
from conduit_nb.models.files import Progress, silent
from conduit_nb.models.hub import HUB_ID, find_model, is_local, local_path, with_alternatives
from conduit_nb.models.huggingface import cached_snapshot, is_offline
from conduit_nb.models.safetensors_headers import folder_tensors
from conduit_nb.models.spec import ModelSpec
from conduit_nb.models.weights import Weights, read_hub_model, read_model
from conduit_nb.plans.options import DTYPE_ALIASES, DTYPES, KV_DTYPES
from conduit_nb.spelling import nearest


def read_planned(
    model_id: str,
    *,
    dtype: str = "auto",
    kv_dtype: str = "auto",
    quantization: str | None = None,
    max_model_len: int | None = None,
    max_model_concurrency: int = 1,
    revision: str | None = None,
    progress: Progress = silent,
) -> PlannedModel:
    """Return the model as it is to be served; of a model on the hub only headers are read.

    A folder may hold nothing but a config.json. A model of the hub may be `owner/name@revision`.
    `dtype` "fp8" is the quantization of that name.

    Raises ModelNotFoundError, ModelFilesError, and ArgumentError where a value is not known.
    """
    dtype, kv_dtype = _known("dtype", dtype, DTYPES), _known("kv_dtype", kv_dtype, KV_DTYPES)
    if dtype == "fp8":
        if quantization not in (None, "fp8"):
            raise ArgumentError(
                f"dtype='fp8' and quantization={quantization!r} exclude each other.",
                param="dtype",
                hint="Leave dtype out.",
            )
        dtype, quantization = "auto", "fp8"
    if not local_path(model_id).is_dir():
        model_id, revision = split_revision(model_id, revision)
    spec, weights = _read(model_id, revision, progress)
    return PlannedModel(
        model_id=f"{model_id}@{revision}" if revision else model_id,
        spec=spec,
        weights=weights,
        dtype=cast("PlanDtype", dtype),
        kv_dtype=cast("KvDtype", kv_dtype),
        quantization=quantization,
        max_model_len=max_model_len,
        max_model_concurrency=max_model_concurrency,
    )


def _known(name: str, value: str, known: tuple[str, ...]) -> str:
    value = DTYPE_ALIASES.get(value, value)
    if value not in known:
        raise ArgumentError(
            f"{name}={value!r} is not known.",
            param=name,
            hint=nearest(str(value), known, then=f"Use one of {', '.join(known)}."),
        )
    return value


def _read(model_id: str, revision: str | None, progress: Progress) -> tuple[ModelSpec, Weights]:
    path = local_path(model_id)
    # A folder that is there is meant, whether or not it is written as one.
    if path.is_dir():
        return _read_folder(path)
    if is_local(model_id) or path.suffix == ".gguf":
        return _read_gguf(path)
    if model_id == EMBEDDED_MODEL_ID and revision is None:
        files = find_model(model_id, progress=progress)
        return _read_folder(converted(files, progress=progress))
    cached = cached_snapshot(model_id, revision)  # a plan needs no tokenizer, and can do with less
    if cached is not None and folder_tensors(cached) is not None:
        return _read_folder(cached)
    if HUB_ID.fullmatch(model_id) and not is_offline():
        try:
            return _read_hub(model_id, revision)
        except ModelNotFoundError as err:
            if cached is None:
                raise with_alternatives(err, model_id) from err
    if cached is not None:
        return _read_folder(cached)
    # It has the words.
    return _read_folder(find_model(model_id, revision=revision, progress=progress).folder)


def _read_gguf(path: Path) -> tuple[ModelSpec, Weights]:
    """Read the one file of its kind in a folder that has its config.json as well."""
    if not path.is_file():
        raise ModelNotFoundError(
            f"{path.absolute()} is not there.",
            reason="missing",
            hint="Name a folder with a config.json, or a model of the hub as owner/name.",
        )
    others = [other for other in path.parent.glob("*.gguf") if other.name != path.name]
    if path.suffix != ".gguf" or others or not (path.parent / "config.json").is_file():
        raise ModelFilesError(
            f"{path} is not a model's folder, and not the only GGUF beside a config.json.",
            hint="Put it and the model's config.json into a folder of their own, and name that.",
        )
    return _read_folder(path.parent)


def _read_folder(folder: Path) -> tuple[ModelSpec, Weights]:
    """Read headers, else compute; only a family that no layout knows is counted, which takes long.

    A layout gives what counting does, for every family that it knows (the tests compare them).
    """
    try:
        return read_model(folder, complete=completed_config)
    except ModelFilesError:
        return read_model(folder, count=counted_tensors, complete=completed_config)


def _read_hub(model_id: str, revision: str | None) -> tuple[ModelSpec, Weights]:
    try:
        return read_hub_model(model_id, revision=revision, complete=completed_config)
    except ModelFilesError:
        return read_hub_model(
            model_id, revision=revision, count=counted_tensors, complete=completed_config
        )
