"""notebook/deploy_lines.py: `%conduit deploy` and its like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook import deploy_lines
from conduit_nb.session import Session
from tests.notebook.fleet_session import fleet_session

SHELL: Any = SimpleNamespace(user_ns={})


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with fleet_session(tmp_path, monkeypatch) as session:
        yield session


def test_the_words_do_what_they_say():
    line = ["m/one", "--runtime", "fake", "--name", "mine", "--max-model-len", "100"]
    (info,) = deploy_lines.deploy(SHELL, line, "")
    deploy_lines.extend(SHELL, ["mine", "--hours", "2"], "")
    costs = deploy_lines.cost(SHELL, [], "")
    restarted = deploy_lines.terminate(SHELL, ["mine"], "")

    assert info.status == "running"
    assert costs[0].name == "mine"
    assert restarted[0].status == "terminated"


@pytest.mark.parametrize(
    ("word", "line", "what"),
    [
        ("deploy", [], "ID"),
        ("deploy", ["m", "--maxusd", "3"], "--maxusd"),
        ("terminate", [], "NAME"),
        ("extend", ["x", "--hours", "soon"], "--hours"),
        ("start", ["nobody"], "'nobody'"),
        ("restart", ["nobody"], "'nobody'"),
        ("adopt", ["conduit-nobody"], "conduit-nobody"),
        ("gc", ["now"], "'now'"),
        ("cost", ["now"], "'now'"),
        ("doctor", ["now"], "'now'"),
    ],
)
def test_a_mistake_is_told_with_how_it_is_written(word: str, line: list[str], what: str):
    with pytest.raises(ArgumentError, match=what):
        getattr(deploy_lines, word)(SHELL, line, "")
