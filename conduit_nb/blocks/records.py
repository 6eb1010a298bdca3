"""What the blocks answer: public dataclasses that are schemas themselves, so that they chain.

In all of them (`RESULTS`) `success` is True only where everything asked for is there, whole;
`reason` says what went wrong, or what is worth knowing about a success. An `error_code` is an
errno's name, such as "ENOENT". The docstrings are short because models read them.
Layer 3.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a shell command did."""

    success: bool
    command: str
    return_code: int | None  # None where it was not run to its end: a timeout, a syntax error
    stdout: str
    stderr: str
    reason: str | None
    syntax_ok: bool


@dataclass(frozen=True, kw_only=True)
class HttpResult:
    """What a web server answered."""

    success: bool
    status_code: int | None  # None where it did not answer
    data: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class FileReadResult:
    """What a file holds."""

    success: bool
    error_code: str | None
    data: str
    reason: str | None
    path: str
    is_base64: bool = False  # data of a file read in binary mode; content() gives the bytes

    def content(self) -> bytes:
        """Return the data as bytes, whatever the mode."""
        return base64.b64decode(self.data) if self.is_base64 else self.data.encode()


@dataclass(frozen=True, kw_only=True)
class FileWriteResult:
    """What was written to a file."""

    success: bool
    error_code: str | None
    data: str  # what was written, "" where nothing was
    reason: str | None
    path: str
    is_base64: bool = False  # data that was given as bytes


@dataclass(frozen=True, kw_only=True)
class SqlResult:
    """What a database answered."""

    success: bool
    reason: str | None
    rows: list[dict[str, str | int | float | bytes | None]] = field(
        default_factory=list[dict[str, str | int | float | bytes | None]]
    )


Result = CommandResult | HttpResult | FileReadResult | FileWriteResult | SqlResult
RESULTS = (CommandResult, HttpResult, FileReadResult, FileWriteResult, SqlResult)
