"""Find a model's files: a local folder or GGUF, the embedded model, the Hugging Face hub.

Only safetensors and GGUF are accepted; code that comes with a model is never run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from conduit_nb.errors import ConduitError, ModelFilesError, ModelNotFoundError
from conduit_nb.models import embedded, huggingface
from conduit_nb.models.cache import converted_folder, is_whole
from conduit_nb.models.config import is_local, split_revision
from conduit_nb.models.embedded import EMBEDDED_MODEL_ID
from conduit_nb.models.files import (
    ModelFiles,
    Progress,
    check_gguf,
    check_model_folder,
    silent,
)
from conduit_nb.spelling import nearest

__all__ = [
    "EMBEDDED_MODEL_ID",
    "ModelFiles",
    "Progress",
    "available_offline",
    "find_model",
    "folder_here",
    "is_local",
    "is_open",
    "resolved_id",
    "with_alternatives",
]

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
MAX_HUB_ID_CHARACTERS = 96


def find_model(
    model_id: str, *, revision: str | None = None, progress: Progress = silent
) -> ModelFiles:
    """Return the files of `model_id`; download what is not on this machine, which takes minutes.

    An id that begins with `/`, `./`, `../` or `~` is a folder, or a GGUF file; one of the hub may
    be written with its revision, as `owner/name@revision`. The embedded model's id means the
    embedded form, unless a `revision` asks for the hub's.

    Raises ModelNotFoundError, whose hint lists the models on this machine; ModelFilesError where
    the files are broken or unsafe; StorageError where they cannot be stored.
    """
    model_id, revision = split_revision(model_id, revision)
    try:
        return _find(model_id, revision, progress)
    except ModelNotFoundError as err:
        raise with_alternatives(err, model_id) from err


def available_offline() -> list[str]:
    """Return the ids of the models that are available without a network."""
    found = huggingface.cached_ids()
    if EMBEDDED_MODEL_ID not in found and _has_embedded():
        found.insert(0, EMBEDDED_MODEL_ID)
    return found


def folder_here(model_id: str, revision: str | None = None) -> Path | None:
    """Return the folder with a model's safetensors on this machine, None where it has none.

    Of a GGUF it is that of its conversion.
    """
    try:
        files = _embedded_or_cached(model_id, revision)
    except ConduitError:
        return None
    if files is None or files.format == "safetensors":
        return files.folder if files is not None else None
    converted = converted_folder(files)
    return converted if is_whole(converted, check_model_folder) else None


def is_open(model_id: str, revision: str | None = None) -> bool | None:
    """Return whether the model is public, None where that is unknown."""
    if is_local(model_id) or (model_id == EMBEDDED_MODEL_ID and revision is None):
        return True
    return huggingface.is_open(model_id, revision)


def resolved_id(model_id: str) -> str:
    """Return a path as an absolute one, valid in other processes too; else the id."""
    return str(local_path(model_id)) if is_local(model_id) else model_id


def local_path(model_id: str) -> Path:
    """Return the absolute path; `~` of an unknown user is left as it is."""
    try:
        return Path(model_id).expanduser().absolute()
    except RuntimeError:  # "~nobody"
        return Path(model_id).absolute()


def _embedded_or_cached(model_id: str, revision: str | None) -> ModelFiles | None:
    if is_local(model_id):
        return _local_files(model_id)
    if model_id == EMBEDDED_MODEL_ID and revision is None:
        return _embedded_files(silent) if _has_embedded() else None
    return huggingface.cached_files(model_id, revision)


def _find(model_id: str, revision: str | None, progress: Progress) -> ModelFiles:
    if is_local(model_id):
        return _local_files(model_id)
    if model_id == EMBEDDED_MODEL_ID and revision is None:
        return _embedded_files(progress)
    if not HUB_ID.fullmatch(model_id) or len(model_id) > MAX_HUB_ID_CHARACTERS:
        raise ModelNotFoundError(
            f"{model_id[:MAX_HUB_ID_CHARACTERS]!r} is no model id.",
            reason="invalid",
            hint="An id looks like owner/name or owner/name@revision; a folder begins with / or ./",
        )
    cached = huggingface.cached_files(model_id, revision)
    if cached is not None:
        return cached
    if huggingface.is_offline():
        raise ModelNotFoundError(
            f"{_shown(model_id, revision)} is not on this machine, and the hub must not be asked.",
            reason="offline",
            hint="Unset CONDUIT_OFFLINE (and HF_HUB_OFFLINE) to fetch it.",
        )
    return huggingface.fetched_files(model_id, revision, progress=progress)


def _local_files(model_id: str) -> ModelFiles:
    path = local_path(model_id)
    if path.is_file() and path.suffix == ".gguf":
        return _gguf_files(path)
    if not path.is_dir():
        raise ModelNotFoundError(
            f"{path} is {'a file, not a folder' if path.exists() else 'not there'}.",
            reason="invalid" if path.exists() else "missing",
            hint="Name a model's folder or a .gguf file, or a model of the hub as owner/name.",
        )
    ggufs = sorted(path.glob("*.gguf"))
    if not ggufs or any(path.glob("*.safetensors")):
        check_model_folder(path)
        return ModelFiles(model_id=str(path), revision=None, folder=path, format="safetensors")
    if len(ggufs) > 1:
        raise ModelFilesError(
            f"{path} holds {len(ggufs)} GGUF files.",
            hint=f"Name one of them, for example {ggufs[0]}.",
        )
    return _gguf_files(ggufs[0])


def _gguf_files(path: Path) -> ModelFiles:
    check_gguf(path)
    stat = path.stat()
    return ModelFiles(
        model_id=str(path),
        revision=None,
        folder=path.parent,
        format="gguf",
        gguf_name=path.name,
        fingerprint=f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}",
    )


def _embedded_files(progress: Progress) -> ModelFiles:
    files = _embedded_gguf(Path())
    converted = converted_folder(files)
    if is_whole(converted, check_model_folder):
        return ModelFiles(
            model_id=EMBEDDED_MODEL_ID, revision=None, folder=converted, format="safetensors"
        )
    return _embedded_gguf(embedded.gguf_folder(progress=progress))


def _embedded_gguf(folder: Path) -> ModelFiles:
    return ModelFiles(
        model_id=EMBEDDED_MODEL_ID,
        revision=None,
        folder=folder,
        format="gguf",
        gguf_name=embedded.GGUF_NAME,
        fingerprint=embedded.GGUF_SHA256,
    )


def _has_embedded() -> bool:
    return embedded.is_at_hand() or converted_folder(_embedded_gguf(Path())).is_dir()


def with_alternatives(error: ModelNotFoundError, model_id: str) -> ModelNotFoundError:
    """Return the error with a similar name and the models on this machine in its hint."""
    here: list[str] = []
    hint = error.hint
    with contextlib.suppress(ConduitError):  # a broken setting has its own error elsewhere
        here = available_offline()
        meant = nearest(model_id, {*here, EMBEDDED_MODEL_ID})
        hint = " ".join(part for part in (meant, error.hint, _what_is_here(here)) if part)
    return ModelNotFoundError(str(error), reason=error.reason, available=tuple(here), hint=hint)


def _what_is_here(here: Sequence[str]) -> str:
    if not here:
        return f"Nothing is on this machine yet; {EMBEDDED_MODEL_ID} needs no hub, only pip."
    more = f" and {len(here) - 10} more" if len(here) > 10 else ""
    return f"On this machine: {', '.join(here[:10])}{more}."


def _shown(model_id: str, revision: str | None) -> str:
    return f"{model_id} at {revision!r}" if revision else model_id
