"""Files that only their user may read, written whole or not at all.

Knows how to write them and what to say when that fails; not what stands in them.
Layer 0: imports only errors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from conduit_nb.errors import StorageError


def make_private_folder(folder: Path, *, knob: str) -> Path:
    """Make `folder` where it is missing; `knob` is the variable that names another place."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise to_storage_error(err, folder, knob=knob) from err
    return folder


def write_private_file(path: Path, content: bytes, *, knob: str) -> None:
    """Put a 0600 file in the place of `path` in one step; a failure leaves what was there."""
    make_private_folder(path.parent, knob=knob)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as err:
        raise to_storage_error(err, path, knob=knob) from err
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as err:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise to_storage_error(err, path, knob=knob) from err


def to_storage_error(err: OSError, path: Path, *, knob: str) -> StorageError:
    """Say what the system refused, and which variable names another place."""
    reason = err.strerror or type(err).__name__
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"No space is left for {path} ({reason}).",
            hint=f"Make room, or set {knob} to a folder with more.",
        )
    return StorageError(
        f"{path} cannot be read or written ({reason}).",
        hint=f"Make it readable and writable for you, or set {knob} to a folder of your own.",
    )
