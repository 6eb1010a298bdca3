"""Log files of nodes: opened for appending, bounded, read from their end, followed.

Layer 3.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

LARGEST_BYTES = 4 * 1024 * 1024
READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """Some whole lines of a log, what follows the last of them, and where that begins."""

    lines: list[str]
    rest: str
    position: int


def open_log(path: Path, *, largest_bytes: int = LARGEST_BYTES) -> FileIO:
    """Open a 0600 log for appending; one that has grown large is put aside as `.1` first.

    Unbuffered: what a full disk refuses is refused at once, not when the file is closed.
    """
    try:
        if path.stat().st_size > largest_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
    except FileNotFoundError:
        pass
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return os.fdopen(handle, "ab", buffering=0)


def read_tail(path: Path, lines: int) -> LogPart:
    """Return the last lines; no file is no lines."""
    try:
        with path.open("rb") as file:
            start = end = file.seek(0, os.SEEK_END)
            content = b""
            while start > 0 and content.count(b"\n") <= lines:
                size = min(READ_BYTES, start)
                start = file.seek(start - size)
                content = file.read(size) + content
    except FileNotFoundError:
        return LogPart(lines=[], rest="", position=0)
    whole, rest = _split(content)
    kept = whole[-lines:] if lines > 0 else []
    return LogPart(lines=kept, rest=rest.decode(errors="replace"), position=end - len(rest))


def read_on(path: Path, position: int) -> LogPart:
    """Return what was written since `position`; from its begin where the file is a new one."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < position:
                position = 0
            file.seek(position)
            content = file.read()
    except FileNotFoundError:
        return LogPart(lines=[], rest="", position=0)
    whole, rest = _split(content)
    return LogPart(
        lines=whole,
        rest=rest.decode(errors="replace"),
        position=position + len(content) - len(rest),
    )


def _split(content: bytes) -> tuple[list[str], bytes]:
    *whole, rest = content.split(b"\n")
    return [line.decode(errors="replace").rstrip("\r") for line in whole], rest
