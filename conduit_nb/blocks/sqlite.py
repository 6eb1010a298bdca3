"""The block that runs SQL on a SQLite database, on one connection that any thread may use.

Layer 3.
"""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.checks import require_positive, require_text_field
from conduit_nb.blocks.records import SqlResult
from conduit_nb.errors import ArgumentError, StorageError

Value = str | int | float | bytes | None

STEPS_BETWEEN_LOOKS = 10_000
LEADING = re.compile(r"\A(?:\s+|--[^\n]*\n?|/\*.*?\*/)+", re.DOTALL)
OUTSIDE_TRANSACTIONS = frozenset(
    {"ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "PRAGMA", "RELEASE", "ROLLBACK", "SAVEPOINT"}
    | {"VACUUM"}
)


class HasSqlCommand(Protocol):
    """A record with the SQL to run."""

    @property
    def sql_command(self) -> str:
        """Return one or several statements."""
        ...


SqlIn = TypeVar("SqlIn", bound=HasSqlCommand, contravariant=True)


class Sqlite3Block(Block[SqlIn, SqlResult]):
    """Run the record's `sql_command`. It has effects.

    `database_url` is a path, ":memory:" (kept as long as the block) or a `sqlite:///` URL;
    `schema_file` is SQL that is run when the block is made. Several statements are carried out
    all or none, and the rows are those of the last one that gives any. More than `max_rows` rows,
    or more than `timeout_seconds`, is no success, and nothing of it stays.
    """

    def __init__(
        self,
        input_type: type[SqlIn],
        database_url: str = ":memory:",
        schema_file: str | Path | None = None,
        *,
        timeout_seconds: float | None = 60,
        max_rows: int = 100_000,
        name: str | None = None,
        trusted: bool = False,
    ) -> None:
        super().__init__(input_type, SqlResult, name=name, has_effects=True, trusted=trusted)
        require_text_field(self.name, self.input_port, "sql_command")
        self._timeout_s = (
            None
            if timeout_seconds is None
            else require_positive("timeout_seconds", timeout_seconds)
        )
        self._database = _Database(_to_path(database_url), require_positive("max_rows", max_rows))
        if schema_file is not None:
            self._database.execute_file(Path(schema_file).expanduser())

    def close(self) -> None:
        """Close the connection, and with it a database in memory."""
        self._database.close()

    async def _run(self, record: SqlIn, call: Call) -> SqlResult:  # noqa: ARG002  # no tokens
        ticket = _Ticket()
        work = self._database.submit(record.sql_command, ticket)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(work)
        except TimeoutError:
            ticket.is_stopped = True
            result = await work
            late = f"not done after {self._timeout_s:g} s; nothing of it was kept"
            return result if result.success else _failed(late)
        except asyncio.CancelledError:
            ticket.is_stopped = True
            await work
            raise


@dataclass(slots=True)
class _Ticket:
    """One command's place at the connection; stopping it stops no other."""

    is_stopped: bool = False


@dataclass(slots=True)
class _Turn:
    """Whose turn it is. The connection looks here, so that it need not hold the database."""

    ticket: _Ticket = field(default_factory=_Ticket)

    def must_stop(self) -> bool:
        return self.ticket.is_stopped


class _Database:
    """One connection, used by one command at a time, on a thread of its own."""

    def __init__(self, path: str, max_rows: int) -> None:
        self._max_rows = max_rows
        self._turn = _Turn()
        try:
            # Autocommit: transactions are ours to begin and end.
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, uri=path.startswith("file:")
            )
        except sqlite3.Error as error:
            raise StorageError(
                f"SQLite cannot open {path!r}: {error}.",
                hint="Check that the folder of database_url is there and may be written to.",
            ) from error
        self._connection.text_factory = _to_text
        self._connection.set_progress_handler(self._turn.must_stop, STEPS_BETWEEN_LOOKS)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="conduit-sqlite")
        self.close = weakref.finalize(self, _close, self._connection, self._thread)

    def submit(self, command: str, ticket: _Ticket) -> asyncio.Future[SqlResult]:
        """Have `command` carried out after those that came before it."""
        if not self.close.alive:
            raise ArgumentError("The block is closed.", hint="Make a new one.")
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, self.execute, command, ticket)

    def execute(self, command: str, ticket: _Ticket) -> SqlResult:
        """Carry out all of `command` or nothing of it; what goes wrong is in the result."""
        self._turn.ticket = ticket
        try:
            return SqlResult(success=True, reason=None, rows=self._rows(command))
        except (sqlite3.Error, sqlite3.Warning, OverflowError, _NotKeptError) as error:
            return _failed(str(error))
        finally:
            self._turn.ticket = _Ticket()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def execute_file(self, file: Path) -> None:
        """Run the SQL in `file`; ArgumentError where it cannot be read or run."""
        try:
            result = self.execute(file.read_text(encoding="utf-8"), _Ticket())
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(
                f"schema_file={str(file)!r} cannot be read: {error}.",
                param="schema_file",
                hint="Name a file of SQL in UTF-8.",
            ) from error
        if not result.success:
            raise ArgumentError(
                f"The SQL in schema_file={str(file)!r} fails: {result.reason}.",
                param="schema_file",
                hint="Write CREATE TABLE IF NOT EXISTS where the database may have it already.",
            )

    def _rows(self, command: str) -> list[dict[str, Value]]:
        statements = list(_statements(command))
        if not statements:
            raise _NotKeptError("it holds no statement")
        if not any(_keyword(statement) in OUTSIDE_TRANSACTIONS for statement in statements):
            statements = ["BEGIN", *statements, "COMMIT"]
        rows: list[dict[str, Value]] = []
        for statement in statements:
            if self._turn.must_stop():
                raise _NotKeptError("stopped")
            cursor = self._connection.execute(statement)
            if cursor.description:
                rows = self._fetched(cursor)
        if self._connection.in_transaction:
            raise _NotKeptError("it left a transaction open, which was rolled back")
        return rows

    def _fetched(self, cursor: sqlite3.Cursor) -> list[dict[str, Value]]:
        names = _column_names(cursor)
        fetched: list[tuple[Any, ...]] = cursor.fetchmany(self._max_rows + 1)
        cursor.close()
        if len(fetched) > self._max_rows:
            raise _NotKeptError(f"it gives more than max_rows={self._max_rows} rows")
        if any(
            isinstance(cell, float) and not math.isfinite(cell) for row in fetched for cell in row
        ):
            raise _NotKeptError("it gives an infinite number, which JSON cannot hold")
        return [dict(zip(names, row, strict=True)) for row in fetched]


class _NotKeptError(Exception):
    """A command of which nothing is kept. Never leaves this module."""


def _to_path(database_url: str) -> str:
    scheme, separator, rest = database_url.partition("://")
    if not separator:
        return str(Path(database_url).expanduser()) if database_url[:1] == "~" else database_url
    if scheme != "sqlite" or (rest and not rest.startswith("/")):
        raise ArgumentError(
            f"database_url={database_url!r} is no SQLite database.",
            param="database_url",
            hint="Give a path, ':memory:', or a URL like sqlite:///folder/file.db.",
        )
    return unquote(rest[1:]) or ":memory:"


def _to_text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _statements(command: str) -> Iterator[str]:
    """Cut at the semicolons that end a statement: not those in text, comments or triggers."""
    start = 0
    for index, sign in enumerate(command):
        if sign == ";" and sqlite3.complete_statement(command[start : index + 1]):
            yield command[start : index + 1]
            start = index + 1
    if command[start:].strip():
        yield command[start:]


def _keyword(statement: str) -> str:
    return LEADING.sub("", statement).partition(" ")[0].strip(";\n\t").upper()


def _column_names(cursor: sqlite3.Cursor) -> list[str]:
    names: list[str] = []
    for column in cursor.description:
        name, number = column[0], 1
        while name in names:  # a join may give one name twice, a dict may not
            number += 1
            name = f"{column[0]}_{number}"
        names.append(name)
    return names


def _close(connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
    thread.shutdown(wait=False)
    connection.close()


def _failed(reason: str) -> SqlResult:
    return SqlResult(success=False, reason=reason)
