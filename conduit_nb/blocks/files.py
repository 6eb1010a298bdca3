"""Blocks that read and write one file. A write is there as a whole or not at all.

Layer 3.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Protocol, TypeVar

from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.checks import require_positive, require_text_field
from conduit_nb.blocks.records import FileReadResult, FileWriteResult
from conduit_nb.errors import ArgumentError

READ_MODES = ("r", "rb")
WRITE_MODES = ("w", "wb", "a", "ab", "x", "xb")


class HasFileContent(Protocol):
    """A record with what is to be written."""

    @property
    def file_content(self) -> str | bytes:
        """Return the content; bytes only for a block in binary mode."""
        ...


ContentIn = TypeVar("ContentIn", bound=HasFileContent, contravariant=True)


class FileSystemReadBlock(Block[None, FileReadResult]):
    """Read the file at `path`; call it without a record. In a pipeline it can only come first.

    Mode "r" gives UTF-8 text (other bytes become U+FFFD, and `reason` says so), "rb" base64. A
    file above `max_bytes` is not read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        max_bytes: int = 64 * 2**20,
        name: str | None = None,
    ) -> None:
        super().__init__(type(None), FileReadResult, name=name)
        self._path = _known_path(path)
        self._is_binary = _known_mode(mode, READ_MODES).endswith("b")
        self._max_bytes = require_positive("max_bytes", max_bytes)

    async def _run(self, record: None, call: Call) -> FileReadResult:  # noqa: ARG002  # no tokens to tell of
        path = _absolute(self._path)
        try:
            content = await asyncio.to_thread(_read, path, self._max_bytes)
        except OSError as error:
            return FileReadResult(
                success=False, error_code=_name_of(error), data="", reason=_said(error), path=path
            )
        data, reason = _as_base64(content), None
        if not self._is_binary:
            data, reason = _as_text(content)
        return FileReadResult(
            success=True,
            error_code=None,
            data=data,
            reason=reason,
            path=path,
            is_base64=self._is_binary,
        )


class FileSystemWriteBlock(Block[ContentIn, FileWriteResult]):
    """Write the record's `file_content` to `path`. It has effects.

    Mode "w" replaces the file in one step and keeps its permissions, "a" appends, "x" refuses
    where a file stands already; with "b" the content may be bytes. Text is written as UTF-8.
    A write that fails leaves the file as it was.
    """

    def __init__(
        self,
        input_type: type[ContentIn],
        path: str | os.PathLike[str],
        mode: str = "w",
        *,
        name: str | None = None,
        trusted: bool = False,
    ) -> None:
        super().__init__(input_type, FileWriteResult, name=name, has_effects=True, trusted=trusted)
        self._path = _known_path(path)
        self._mode = _known_mode(mode, WRITE_MODES)
        require_text_field(
            self.name, self.input_port, "file_content", or_bytes=self._mode.endswith("b")
        )

    async def _run(self, record: ContentIn, call: Call) -> FileWriteResult:  # noqa: ARG002  # no tokens to tell of
        path = _absolute(self._path)
        content = record.file_content
        try:
            raw = content.encode() if isinstance(content, str) else content
            # The thread goes on when the call is cancelled: the file is never half-written.
            await asyncio.to_thread(_write, path, raw, self._mode[0])
        except OSError as error:
            return FileWriteResult(
                success=False, error_code=_name_of(error), data="", reason=_said(error), path=path
            )
        return FileWriteResult(
            success=True,
            error_code=None,
            data=content if isinstance(content, str) else _as_base64(content),
            reason=None,
            path=path,
            is_base64=isinstance(content, bytes),
        )


def _known_path(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ArgumentError(f"path={text!r} is no path.", param="path", hint="Name a file.")
    return Path(text)


def _known_mode(mode: str, modes: tuple[str, ...]) -> str:
    if mode in ("rt", "wt", "at", "xt"):
        mode = mode[0]
    if mode not in modes:
        raise ArgumentError(
            f"mode={mode!r} is not known here.", param="mode", hint=f"Use {', '.join(modes)}."
        )
    return mode


def _absolute(path: Path) -> str:
    try:
        return str(path.expanduser().absolute())
    except RuntimeError:  # `~name` of nobody
        return str(path.absolute())


def _read(path: str, max_bytes: int) -> bytes:
    # Not waiting: a FIFO would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "Not a regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"Larger than max_bytes={max_bytes}")
    return content


def _write(path: str, content: bytes, mode: str) -> None:
    target = Path(os.path.realpath(path))  # a link stays one, what it points at is written
    if mode == "a" or (mode == "w" and target.exists() and not target.is_file()):
        _write_at_end(target, content)  # devices and pipes have nothing that could be replaced
    else:
        _replace(target, content, is_new=mode == "x")


def _replace(target: Path, content: bytes, *, is_new: bool) -> None:
    """Write beside the target, then take its place in one step."""
    earlier = None if is_new else _writable_stat(target)
    beside = target.with_name(f".conduit-{secrets.token_hex(8)}.tmp")
    try:
        _write_new(beside, content, None if earlier is None else earlier.st_mode)
        if is_new:
            _claim(target)
        try:
            beside.replace(target)
        except OSError:
            if is_new:
                target.unlink(missing_ok=True)
            raise
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _writable_stat(target: Path) -> os.stat_result | None:
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes, mode: int | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        if mode is not None:
            os.fchmod(file.fileno(), stat.S_IMODE(mode))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _claim(target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))


def _write_at_end(target: Path, content: bytes) -> None:
    """Append; what a failed write has added is cut off again."""
    # Not waiting: a FIFO without a reader would wait for one.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(target, flags, 0o666), "wb", buffering=0) as file:
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if is_regular:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # one appender of ours at a time
        before = os.fstat(file.fileno()).st_size
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) or 0 :]
            if is_regular:
                os.fsync(file.fileno())
        except OSError:
            if is_regular:
                file.truncate(before)
            raise


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is safe
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_text(content: bytes) -> tuple[str, str | None]:
    try:
        return content.decode(), None
    except UnicodeDecodeError as error:
        text = content.decode(errors="replace")
        return text, f"not UTF-8 from byte {error.start} on; such bytes became U+FFFD"


def _as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "EIO")


def _said(error: OSError) -> str:
    return error.strerror or str(error)
