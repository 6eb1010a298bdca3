from __future__ import annotations

import base64
import errno
import os
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conduit_nb.blocks.files import FileSystemReadBlock, FileSystemWriteBlock
from conduit_nb.blocks.records import FileReadResult, FileWriteResult
from conduit_nb.errors import ArgumentError, SchemaError, ValidationError
from tests.loop_host import LoopHost


@dataclass
class Text:
    file_content: str


@dataclass
class Raw:
    file_content: bytes


def write(path: Path | str, content: str, mode: str = "w") -> FileWriteResult:
    return FileSystemWriteBlock(Text, path, mode)(Text(file_content=content))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Make writes beyond a size fail in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_text_file_is_read_without_a_record(host: LoopHost, tmp_path: Path):
    (tmp_path / "a.txt").write_text("Grüße\r\n", newline="")

    result = FileSystemReadBlock(tmp_path / "a.txt", "r")()

    assert result == FileReadResult(
        success=True,
        error_code=None,
        data="Grüße\r\n",
        reason=None,
        path=str(tmp_path / "a.txt"),
    )
    assert result.content() == "Grüße\r\n".encode()


def test_a_binary_file_is_read_as_base64(host: LoopHost, tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"\x00\xff")

    result = FileSystemReadBlock(tmp_path / "a.bin", "rb")()

    assert (result.data, result.is_base64) == (base64.b64encode(b"\x00\xff").decode(), True)
    assert result.content() == b"\x00\xff"


def test_text_that_is_no_utf8_is_read_and_said(host: LoopHost, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"ab\xffc")

    result = FileSystemReadBlock(tmp_path / "a.txt")()

    assert (result.success, result.data) == (True, "ab\ufffdc")
    assert "byte 2" in (result.reason or "")


@pytest.mark.parametrize(("name", "code"), [("gone", "ENOENT"), ("folder", "EISDIR")])
def test_what_cannot_be_read_has_an_error_code(
    host: LoopHost, tmp_path: Path, name: str, code: str
):
    (tmp_path / "folder").mkdir()

    result = FileSystemReadBlock(tmp_path / name)()

    assert (result.success, result.error_code, result.data) == (False, code, "")
    assert result.reason


def test_a_pipe_is_not_waited_for(host: LoopHost, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    assert FileSystemReadBlock(tmp_path / "pipe")().error_code == "EINVAL"
    assert write(tmp_path / "pipe", "x").error_code == "ENXIO"


def test_a_file_beyond_the_limit_is_not_read(host: LoopHost, tmp_path: Path):
    (tmp_path / "a.txt").write_text("12345")

    assert FileSystemReadBlock(tmp_path / "a.txt", max_bytes=5)().data == "12345"
    result = FileSystemReadBlock(tmp_path / "a.txt", max_bytes=4)()
    assert (result.success, result.error_code) == (False, "EFBIG")
    assert "max_bytes=4" in (result.reason or "")


def test_a_file_is_written(host: LoopHost, tmp_path: Path):
    result = write(tmp_path / "a.txt", "Grüße\n")

    assert (tmp_path / "a.txt").read_bytes() == "Grüße\n".encode()
    assert result == FileWriteResult(
        success=True,
        error_code=None,
        data="Grüße\n",
        reason=None,
        path=str(tmp_path / "a.txt"),
    )


def test_bytes_are_written_in_binary_mode(host: LoopHost, tmp_path: Path):
    result = FileSystemWriteBlock(Raw, tmp_path / "a.bin", "wb")(Raw(file_content=b"\x00\xff"))

    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (result.is_base64, base64.b64decode(result.data)) == (True, b"\x00\xff")


def test_a_home_folder_is_understood(
    host: LoopHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert write("~/a.txt", "x").path == str(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("mode", ["w", "a"])
def test_a_write_that_fails_in_the_middle_leaves_the_file_as_it_was(
    host: LoopHost, tmp_path: Path, mode: str
):
    path = tmp_path / "a.txt"
    path.write_text("before")

    with file_size_limit(50_000):
        result = write(path, "x" * 1_000_000, mode)

    assert (result.success, result.error_code, result.data) == (False, "EFBIG", "")
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("mode", ["w", "x"])
def test_a_new_file_that_fails_in_the_middle_is_not_there(
    host: LoopHost, tmp_path: Path, mode: str
):
    with file_size_limit(50_000):
        assert not write(tmp_path / "a.txt", "x" * 1_000_000, mode).success

    assert names(tmp_path) == []


def test_text_that_cannot_be_encoded_is_refused_before_the_file_is_touched(
    host: LoopHost, tmp_path: Path
):
    (tmp_path / "a.txt").write_text("before")

    with pytest.raises(ValidationError, match="surrogate"):
        write(tmp_path / "a.txt", "\ud800")

    assert (tmp_path / "a.txt").read_text() == "before"


def test_permissions_are_kept(host: LoopHost, tmp_path: Path):
    path = tmp_path / "run.sh"
    path.write_text("before")
    path.chmod(0o750)

    write(path, "after")

    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_new_file_has_the_permissions_that_the_user_gives_new_files(
    host: LoopHost, tmp_path: Path
):
    (tmp_path / "other").touch()

    write(tmp_path / "a.txt", "x")

    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_stays_a_link(host: LoopHost, tmp_path: Path):
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")

    write(tmp_path / "link", "after")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


def test_a_device_is_written_to_and_not_replaced(host: LoopHost):
    assert write("/dev/null", "x").success
    assert Path("/dev/null").is_char_device()


def test_appending_adds_at_the_end(host: LoopHost, tmp_path: Path):
    for line in ("one\n", "two\n"):
        assert write(tmp_path / "log", line, "a").success

    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_lines_appended_at_once_are_all_there(host: LoopHost, tmp_path: Path):
    block = FileSystemWriteBlock(Text, tmp_path / "log", "a")

    block.batch([Text(file_content=f"{number:04}\n") for number in range(100)])

    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == [f"{number:04}" for number in range(100)]


def test_readers_see_the_old_file_or_the_new_one_and_nothing_between(
    host: LoopHost, tmp_path: Path
):
    path = tmp_path / "a.txt"
    path.write_text("a" * 100_000)
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            text = path.read_text()
            seen.add(f"{len(text)}{''.join(sorted(set(text)))}")

    reader = threading.Thread(target=look)
    reader.start()
    block = FileSystemWriteBlock(Text, path)
    block.batch([Text(file_content=letter * 100_000) for letter in "ab" * 10])
    ended.set()
    reader.join()

    assert seen <= {"100000a", "100000b"}


def test_exclusive_mode_refuses_a_file_that_is_there(host: LoopHost, tmp_path: Path):
    assert write(tmp_path / "a.txt", "first", "x").success
    result = write(tmp_path / "a.txt", "second", "x")

    assert (result.success, result.error_code) == (False, "EEXIST")
    assert (tmp_path / "a.txt").read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("path", "code"), [("gone/a.txt", "ENOENT"), (".", "EISDIR"), ("file/a.txt", "ENOTDIR")]
)
def test_what_cannot_be_written_has_an_error_code(
    host: LoopHost, tmp_path: Path, path: str, code: str
):
    (tmp_path / "file").touch()

    result = write(tmp_path / path, "x")

    assert (result.success, result.error_code) == (False, code)
    assert result.reason == os.strerror(getattr(errno, code))


@pytest.mark.parametrize("mode", ["w", "r+", "", "rw", None, "rbt"])
def test_a_mode_that_does_not_read_is_refused(mode: str):
    with pytest.raises(ArgumentError) as caught:
        FileSystemReadBlock("a.txt", mode)
    assert caught.value.param == "mode"


@pytest.mark.parametrize("mode", ["r", "w+", "", "wa", None])
def test_a_mode_that_does_not_write_is_refused(mode: str):
    with pytest.raises(ArgumentError) as caught:
        FileSystemWriteBlock(Text, "a.txt", mode)
    assert caught.value.param == "mode"


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused(path: str):
    with pytest.raises(ArgumentError) as caught:
        FileSystemReadBlock(path)
    assert caught.value.param == "path"


def test_bytes_need_binary_mode():
    with pytest.raises(SchemaError) as caught:
        FileSystemWriteBlock(Raw, "a.bin", "w")
    assert caught.value.path == "$.file_content"


def test_a_record_without_content_is_refused():
    @dataclass
    class Empty:
        content: str

    with pytest.raises(SchemaError, match=r"Empty.*'file_content'") as caught:
        FileSystemWriteBlock(Empty, "a.txt")  # type: ignore[type-var]  # the mistake under test
    assert "`file_content: str`" in caught.value.hint
