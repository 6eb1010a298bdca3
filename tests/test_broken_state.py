"""What costs ends where the state is of no use: corrupt, full, read only, locked, or newer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import conduit_nb
from conduit_nb.cli import main
from conduit_nb.commands import run_line
from conduit_nb.desk.desk import Desk
from conduit_nb.desk.wire import Action
from conduit_nb.errors import ConduitError, StorageError
from conduit_nb.session import Session, process_session
from tests import waiting
from tests.broken_state import broken_session, corrupt
from tests.deployments.faulty_cloud import FaultyCloud, answering_server
from tests.deployments.test_failures import wanted, world
from tests.small_disk import run_on_small_disk

pytestmark = pytest.mark.system  # each command is a process

ROOT = Path(__file__).resolve().parent.parent
HOWS = ["corrupt", "torn", "newer", "strange", "nonsense"]
SHELL: Any = SimpleNamespace(user_ns={})


async def in_panel(begin: Callable[[Desk], Action]) -> int:
    """Do as a panel does, and return as a command does: 1 where it is told of the state."""
    desk = Desk(process_session())
    action = await desk.ended(begin(desk).id)
    return int(action.error is not None and action.error["type"] == "StorageError")


IN_ALL_WAYS: dict[str, Callable[[], object]] = {
    "terminate all in a shell": lambda: main(["terminate", "all"]),
    "stop all in a shell": lambda: main(["stop", "all"]),
    "terminate all in a cell": lambda: run_line("line", ["terminate", "all"]),
    "stop all in a cell": lambda: run_line("line", ["stop", "all"]),
    "terminate all in Python": lambda: conduit_nb.terminate("all"),
    "stop all in Python": lambda: conduit_nb.stop("all"),
    "terminate all in a panel": lambda: asyncio.run(
        in_panel(lambda desk: desk.act("all", "terminate"))
    ),
}


@pytest.mark.parametrize("how", HOWS)
def test_a_deployment_ends_by_its_name_before_anything_is_complained_about(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with broken_session(tmp_path, monkeypatch, how) as (_, cloud):
        with pytest.raises(StorageError) as raised:
            conduit_nb.terminate("a")

        assert len(cloud.ended) == 2
        assert len(cloud.names()) == 1
        assert all(name in str(raised.value) for name in cloud.ended)
        assert "conduit terminate all" in raised.value.hint


@pytest.mark.parametrize("word", IN_ALL_WAYS)
def test_everything_ends_whoever_asks_for_it(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with broken_session(tmp_path, monkeypatch, "corrupt") as (_, cloud):
        with contextlib.suppress(StorageError):
            exit_code = IN_ALL_WAYS[word]()
            assert exit_code == 1

        assert cloud.names() == []
        assert "Traceback" not in capsys.readouterr().err


async def each_in_panel(session: Session, path: Path) -> list[Action]:
    """End every row of a panel, one after another, once the state of what it shows is broken."""
    desk = Desk(session)

    async def shown() -> list[str] | None:
        overview = await desk.overview(None)
        return overview["live"] if overview["looked_at"] else None

    keys = await waiting.until(shown)
    corrupt(path)
    actions = [await desk.ended(desk.act(key, "terminate", hours=1).id) for key in keys]
    await desk.close()
    return actions


def test_each_row_of_a_panel_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with answering_server() as server:
        cloud = FaultyCloud(server.url)
        with world(tmp_path, cloud, monkeypatch) as here:
            here.deployed(wanted("a", 2), wanted("other"))
            names = cloud.names()
            path = tmp_path / "data/state.sqlite3"
            actions = asyncio.run(each_in_panel(here.session, path))

    errors = [action.error for action in actions if action.error is not None]
    assert [error["type"] for error in errors] == ["StorageError"] * 2
    assert all(any(name in error["message"] for error in errors) for name in names)
    assert cloud.names() == []


@pytest.mark.parametrize("what", ["summary", "installation", "both"])
def test_nodes_end_by_what_is_left(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with broken_session(tmp_path, monkeypatch, "corrupt") as (_, cloud):
        if what in ("summary", "both"):
            (tmp_path / "state/summary.json").write_text("{")
        if what in ("installation", "both"):
            (tmp_path / "data/installation.json").write_text("{")

        with pytest.raises(StorageError) as raised:
            conduit_nb.terminate("all")

        assert (cloud.names() == []) == (what != "both")
        assert raised.value.hint


def test_an_unknown_name_ends_nothing_and_says_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with broken_session(tmp_path, monkeypatch, "corrupt") as (_, cloud):
        with pytest.raises(StorageError) as raised:
            conduit_nb.terminate("nobody")

        assert cloud.ended == []
        assert all(name in str(raised.value) for name in cloud.names())


def test_what_cannot_be_ended_either_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with broken_session(tmp_path, monkeypatch, "corrupt") as (_, cloud):
        cloud.expect(3)  # the second of those that are terminated

        with pytest.raises(StorageError) as raised:
            conduit_nb.terminate("all")

        (left,) = cloud.names()
        assert f"{left}: terminate" in str(raised.value), "what the cloud said"


def test_a_state_that_somebody_keeps_locked_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "data/state.sqlite3"
    monkeypatch.setenv("CONDUIT_DB_URI", f"sqlite:///{path}?timeout=0.1")
    (tmp_path / "data").mkdir()
    with broken_session(tmp_path, monkeypatch, "nothing") as (session, cloud):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="locked"):
                conduit_nb.terminate("a")
            assert len(cloud.names()) == 1
            with pytest.raises(StorageError, match="locked"):
                conduit_nb.stop("all")
            writer.execute("ROLLBACK")

        assert cloud.names() == []
        session.ps()
        session.ps()
        assert session.ps() == []
        assert session.wait(session.fleet.cost()).usd_per_hour == 0


@pytest.mark.parametrize(
    "word", [conduit_nb.ps, conduit_nb.cost, lambda: conduit_nb.stop("a"), conduit_nb.cleanup]
)
def test_every_other_word_names_the_way_out(
    word: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with broken_session(tmp_path, monkeypatch, "corrupt") as (_, cloud):
        with pytest.raises(ConduitError) as raised:
            word()

        assert "conduit terminate all" in raised.value.hint
        assert len(cloud.names()) == 3


@pytest.mark.needs("mount")
@pytest.mark.parametrize("how", ["full", "read_only"])
@pytest.mark.parametrize("words", [["terminate", "a"], ["stop", "all"]])
def test_a_disk_that_takes_nothing_holds_up_no_end(how: str, words: list[str], tmp_path: Path):
    data = tmp_path / "data"
    done = run_on_small_disk(data, "2m", "tests.broken_state", tmp_path, how, *words)

    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["exit_code"], len(told["left"])) == (1, 1 if words[1] == "a" else 0), done.stderr
    assert "StorageError" in done.stderr
    assert "Traceback" not in done.stderr
