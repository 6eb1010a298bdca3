"""Deploys to a cloud in this process, breaks the state, and does as a user: `python -m … JSON`.

Prints what the words came to and what the cloud has left. A disk that is full, or read only, needs
a mount of its own, so that a test runs this in a process that has one.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conduit_nb import session as session_module
from conduit_nb.session import Session
from tests.deployments.faulty_cloud import FaultyCloud, answering_server
from tests.deployments.test_failures import wanted, world


def corrupt(path: Path) -> None:
    path.write_bytes(b"no database at all, " * 500)


def torn(path: Path) -> None:
    """Keep the header, as a disk does that loses pages."""
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"\xff" * (len(content) - 200))


def newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE conduit_meta SET value = 99 WHERE name = 'version'")


def strange(path: Path) -> None:
    """Let a newer Conduit have renamed what this one reads."""
    newer(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE conduit_deployments RENAME COLUMN name TO title")


def nonsense(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE conduit_deployments SET created_at = 'long ago'")


def full(path: Path) -> None:
    with contextlib.suppress(OSError), (path.parent / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 65536):
            pass
    with contextlib.suppress(OSError), (path.parent / "filler2").open("wb", buffering=0) as file:
        while file.write(b"x"):
            pass


def read_only(path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)


BREAKS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda _: None,
    **{one.__name__: one for one in (corrupt, torn, newer, strange, nonsense, full, read_only)},
}


@contextlib.contextmanager
def broken_session(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> Iterator[tuple[Session, FaultyCloud]]:
    """Yield a client of deployments `a` (two nodes) and `other`, whose state is broken."""
    with answering_server() as server:
        cloud = FaultyCloud(server.url)
        with world(folder, cloud, monkeypatch) as before:
            before.deployed(wanted("a", 2), wanted("other"))
        path = folder / "data/state.sqlite3"
        for left in (f"{path}-wal", f"{path}-shm"):
            assert not Path(left).exists(), "the last who closes it leaves nothing"
        BREAKS[how](path)
        with world(folder, cloud, monkeypatch) as after:
            monkeypatch.setattr(session_module, "_made", lambda: after.session)
            yield after.session, cloud


def main() -> None:
    from conduit_nb.cli import main as conduit

    folder, how, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        broken_session(folder, monkeypatch, how) as (_, cloud),
    ):
        exit_code = conduit(words)
        print(json.dumps({"exit_code": exit_code, "left": cloud.names()}))


if __name__ == "__main__":
    main()
