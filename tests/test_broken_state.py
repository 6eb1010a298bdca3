"""What costs ends where the state is of no use: corrupt, full, read only, locked, or newer."""

from __future__ import annotations

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
from conduit_nb.errors import ConduitError, StorageError
from conduit_nb.notebook import commands, deploy_lines
from tests.broken_state import broken_session
from tests.small_disk import run_on_small_disk

pytestmark = pytest.mark.system  # each command is a process

ROOT = Path(__file__).resolve().parent.parent
HOWS = ["corrupt", "torn", "newer", "strange", "nonsense"]
SHELL: Any = SimpleNamespace(user_ns={})
IN_ALL_WAYS: dict[str, Callable[[], object]] = {
    "terminate all in a shell": lambda: main(["terminate", "all"]),
    "stop all in a shell": lambda: main(["stop", "all"]),
    "terminate all in a cell": lambda: deploy_lines.terminate(SHELL, ["all"], ""),
    "stop all in a cell": lambda: commands.stop(SHELL, ["all"], ""),
    "terminate all in Python": lambda: conduit_nb.terminate("all"),
    "stop all in Python": lambda: conduit_nb.stop("all"),
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
        assert f"{left}: terminate is refused" in str(raised.value)


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
    "word", [conduit_nb.ps, conduit_nb.cost, lambda: conduit_nb.stop("a"), conduit_nb.gc]
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
