"""models/cache.py: whole or not at all, once, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conduit_nb.errors import ModelFilesError, StorageError
from conduit_nb.models.cache import (
    converted_folder,
    made_once,
    require_space,
    slug,
    storage_error,
)
from conduit_nb.models.files import ModelFiles, silent

MOUNTED = """
import sys
from pathlib import Path
from conduit_nb.errors import StorageError
from conduit_nb.models.cache import made_once
target = Path(sys.argv[1]) / "thing"
try:
    with made_once(target, lambda folder: None, progress=print) as making:
        (making / "file").write_bytes(b"x")
except StorageError as err:
    print(err, "|", err.hint)
print(sorted(path.name for path in Path(sys.argv[1]).iterdir()))
"""
IN_ITS_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


def whole(folder: Path) -> None:
    if not (folder / "file").is_file():
        raise ModelFilesError("no file")


def make(target: Path, content: bytes = b"x") -> None:
    with made_once(target, whole, progress=silent) as making:
        if making is not None:
            (making / "file").write_bytes(content)


def test_what_is_made_stands_under_its_name(tmp_path):
    make(tmp_path / "thing")

    assert (tmp_path / "thing" / "file").read_bytes() == b"x"


def test_it_is_made_once(tmp_path):
    make(tmp_path / "thing", b"first")
    make(tmp_path / "thing", b"second")

    assert (tmp_path / "thing" / "file").read_bytes() == b"first"


def test_a_failure_leaves_nothing(tmp_path):
    def fail(making: Path | None) -> None:
        assert making is not None
        (making / "file").write_bytes(b"half")
        raise RuntimeError

    with (
        pytest.raises(RuntimeError),
        made_once(tmp_path / "thing", whole, progress=silent) as making,
    ):
        fail(making)

    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_what_does_not_pass_its_check_does_not_get_the_name(tmp_path):
    with (
        pytest.raises(ModelFilesError),
        made_once(tmp_path / "thing", whole, progress=silent),
    ):
        pass

    assert not (tmp_path / "thing").exists()


def test_a_broken_one_is_made_anew(tmp_path):
    (tmp_path / "thing").mkdir()

    make(tmp_path / "thing")

    assert (tmp_path / "thing" / "file").is_file()


def test_what_a_killed_maker_left_is_removed(tmp_path):
    killed = "import os, sys\n" + MOUNTED.replace(
        '(making / "file").write_bytes(b"x")', "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert list(tmp_path.glob(".making-*"))

    make(tmp_path / "another")

    assert not list(tmp_path.glob(".making-*"))


def test_the_second_waits_and_takes_what_the_first_made(tmp_path):
    lines: list[str] = []
    waits = threading.Event()

    def tell(line: str) -> None:
        lines.append(line)
        waits.set()

    results: list[Path | None] = []

    def second() -> None:
        with made_once(tmp_path / "thing", whole, progress=tell) as making:
            results.append(making)

    with made_once(tmp_path / "thing", whole, progress=silent) as making:
        assert making is not None
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        (making / "file").write_bytes(b"x")
    thread.join(10)

    assert results == [None]
    assert lines == ["waiting for another process that makes thing"]


@pytest.mark.needs("mount")
def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(tmp_path):
    lines = mounted(tmp_path, "ro,size=1m")

    assert "Read-only file system" in lines
    assert "CONDUIT_CACHE_DIR" in lines
    assert lines.endswith("[]")


def mounted(folder: Path, options: str) -> str:
    """Return what MOUNTED says with a small file system of its own at `folder`."""
    script = f'mount -t tmpfs -o {options} tmpfs "$1" && exec "$2" -c "$3" "$1"'
    ran = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, "sh", "-c", script, "sh", str(folder), sys.executable, MOUNTED],
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def test_too_little_space_is_an_error_with_both_numbers(tmp_path):
    with pytest.raises(StorageError, match=r"1048576\.00 GiB.*\d\.\d\d GiB") as caught:
        require_space(tmp_path, 2**50, what="It")

    assert "CONDUIT_CACHE_DIR" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "fact"),
    [
        (errno.ENOSPC, "GiB"),
        (errno.EDQUOT, "GiB"),
        (errno.EACCES, os.strerror(errno.EACCES)),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_system_refuses_becomes_an_error_to_act_on(tmp_path, number, fact):
    folder = tmp_path / "not" / "there"

    error = storage_error(OSError(number, os.strerror(number)), folder)

    assert str(folder) in str(error)
    assert fact in str(error)
    assert "CONDUIT_CACHE_DIR" in error.hint


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [("owner/name", "owner--name"), ("/home/me/My Model", "home--me--My--Model"), ("…", "model")],
)
def test_an_id_becomes_a_part_of_a_file_name(model_id, expected):
    assert slug(model_id) == expected


def test_another_content_is_another_conversion(tmp_path):
    def folder(fingerprint: str) -> Path:
        return converted_folder(
            ModelFiles(
                model_id="a/b",
                revision=None,
                folder=tmp_path,
                format="gguf",
                gguf_name="m.gguf",
                fingerprint=fingerprint,
            )
        )

    assert folder("1") == folder("1")
    assert folder("1") != folder("2")
