"""Private files are whole or not there."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from conduit_nb.errors import StorageError
from conduit_nb.private_files import to_storage_error, write_private_file


def test_a_file_is_private_and_so_is_the_folder_made_for_it(tmp_path: Path):
    path = tmp_path / "new" / "file"
    write_private_file(path, b"x", knob="KNOB")

    assert path.read_bytes() == b"x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    write_private_file(path, b"old", knob="KNOB")

    def no_space(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match=re.escape(os.strerror(errno.ENOSPC))) as caught:
        write_private_file(path, b"new", knob="KNOB")

    assert "KNOB" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_the_system_refused_is_said():
    refused = os.strerror(errno.EACCES)

    error = to_storage_error(PermissionError(errno.EACCES, refused), Path("/a"), knob="K")

    assert refused in str(error)
    assert "K" in error.hint
