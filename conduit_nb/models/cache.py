"""Conduit's folder of models: layout, locks, and atomic creation of what is in it.

models/NAME/            complete: renamed from the folder below
models/.NAME.lock       held by the process that makes NAME
models/.making-NAME.*   unfinished; whoever holds the lock next removes it
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import filelock

from conduit_nb import settings
from conduit_nb.errors import ModelFilesError, StorageError
from conduit_nb.models.files import ModelFiles, Progress

# Raised when a conversion changes what it writes, so that older results are made again.
CONVERTER_VERSION = 1
CONVERTED = "converted-"
LOCK_POLL_S = 0.2


def models_dir() -> Path:
    """Return Conduit's folder of models; it may not exist yet."""
    return settings.cache_dir() / "models"


def converted_folder(files: ModelFiles) -> Path:
    """Return the folder of the conversion of `files`; it may not exist yet."""
    identity = "\n".join((files.model_id, files.gguf_name or "", files.fingerprint))
    digest = hashlib.sha256(f"{CONVERTER_VERSION}\n{identity}".encode()).hexdigest()[:16]
    return models_dir() / f"{CONVERTED}{slug(files.model_id)}-{digest}"


def slug(model_id: str) -> str:
    """Return a model's id as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "--", model_id).strip("-.")[-80:] or "model"


@contextlib.contextmanager
def made_once(
    target: Path, check: Callable[[Path], None], *, progress: Progress
) -> Generator[Path | None, None, None]:
    """Yield a folder to fill, which is renamed to `target` when the block ends; None if it exists.

    `check` raises ModelFilesError where a folder is incomplete; a broken `target` is made again.
    One process at a time makes a target; the others wait and then find it. When the block raises
    or the process dies, `target` is not created and the unfinished folder is removed, by the next
    process if need be.

    Raises StorageError where there is no space or no permission.
    """
    if is_whole(target, check):
        yield None
        return
    folder = target.parent
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(folder)
    with _locked(target, progress):
        if is_whole(target, check):
            yield None
            return
        with storage_errors(folder):
            if target.exists():
                shutil.rmtree(target)
            making = Path(tempfile.mkdtemp(prefix=f"{_unfinished(target.name)}.", dir=folder))
        try:
            yield making
            check(making)
            with storage_errors(folder):
                _flush(making)
                making.chmod(0o755)
                making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def is_whole(folder: Path, check: Callable[[Path], None]) -> bool:
    """Return whether `folder` exists and passes `check`."""
    if not folder.is_dir():
        return False
    try:
        check(folder)
    except ModelFilesError:
        return False
    return True


@contextlib.contextmanager
def storage_errors(
    folder: Path, *, variable: str = "CONDUIT_CACHE_DIR"
) -> Generator[None, None, None]:
    """Turn an OSError inside the `with` into a StorageError about `folder`."""
    try:
        yield
    except OSError as err:
        raise storage_error(err, folder, variable=variable) from err


def storage_error(
    err: OSError, folder: Path, *, variable: str = "CONDUIT_CACHE_DIR"
) -> StorageError:
    """Return the StorageError for `err`, raised while writing to `folder`; `variable` sets that."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"No space is left in {folder} ({_free_gib(folder)} free).",
            hint=f"Free some space, or set {variable} to a folder on a larger disk.",
        )
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"{err.filename or folder} cannot be written: {err.strerror}.",
            hint=f"Set {variable} to a folder that you may write to.",
        )
    return StorageError(
        f"{err.filename or folder}: {err.strerror or err}.",
        hint=f"Check the disk, or set {variable} to another folder.",
    )


def require_space(
    folder: Path, needed_bytes: int, *, what: str, variable: str = "CONDUIT_CACHE_DIR"
) -> None:
    """Raise StorageError where `folder`, which must exist, lacks the space that `what` needs."""
    with storage_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StorageError(
            f"{what} needs {needed_bytes / 2**30:.2f} GiB in {folder}; "
            f"{free / 2**30:.2f} GiB are free.",
            hint=f"Free some space, or set {variable} to a folder on a larger disk.",
        )


@contextlib.contextmanager
def _locked(target: Path, progress: Progress) -> Generator[None, None, None]:
    lock = _lock(target.name, target.parent)
    with storage_errors(target.parent):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            progress(f"waiting for another process that makes {target.name}")
            lock.acquire(poll_interval=LOCK_POLL_S)
    try:
        yield
    finally:
        lock.release()


def _lock(name: str, folder: Path) -> filelock.BaseFileLock:
    # A new lock for each call, so that threads of one process exclude each other too.
    return filelock.FileLock(folder / f".{name}.lock")


def _unfinished(name: str) -> str:
    return f".making-{name}"


def _remove_unfinished(folder: Path) -> None:
    """Remove unfinished folders of processes that were killed; running ones hold their lock."""
    for path in folder.glob(f"{_unfinished('')}*"):
        name = path.name.removeprefix(_unfinished("")).rpartition(".")[0]
        with contextlib.suppress(filelock.Timeout), _lock(name, folder).acquire(timeout=0):
            shutil.rmtree(path, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Flush every file in `folder` to disk before the rename."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _free_gib(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{shutil.disk_usage(there).free / 2**30:.2f} GiB"
