"""notebook/deploying.py: the words in Python, with real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import conduit_nb
from conduit_nb.cli import main
from conduit_nb.errors import ArgumentError
from conduit_nb.session import Session
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


def test_a_model_is_deployed_told_extended_and_ended():
    (info,) = conduit_nb.deploy("m/one", runtime="fake", name="mine", hours=2)
    (extended,) = conduit_nb.extend("mine", 5)
    listed = conduit_nb.ps()
    (ended,) = conduit_nb.terminate("mine")

    assert (info.name, info.status) == ("mine", "running")
    assert extended.lease_until > info.lease_until  # type: ignore[operator]  # both are there
    assert [one.name for one in listed] == ["mine"]
    assert ended.status == "terminated"
    assert conduit_nb.ps() == []


def test_lmlite_here_is_the_server_that_is_shared_already():
    conduit_nb.deploy("m/one")

    (info,) = conduit_nb.ps()
    assert info.id is None
    assert "m/one" in [model.id for model in conduit_nb.list_models()]


def test_the_sum_stands_under_the_costs():
    conduit_nb.deploy("m/one", runtime="fake", name="mine")

    rows = conduit_nb.cost()

    assert [row.name for row in rows] == ["mine", "all, today"]
    assert rows[-1].may_spend_usd == 10
    assert "mine" in repr(rows)


@pytest.mark.parametrize(
    ("wrong", "param", "fact"),
    [
        (lambda: conduit_nb.deploy(), "models", ""),
        (lambda: conduit_nb.extend("mine", 0), "hours", "0"),
        (lambda: conduit_nb.terminate("nobody"), "name", "'nobody'"),
        (lambda: conduit_nb.start("nobody"), "name", "'nobody'"),
        (lambda: conduit_nb.restart("nobody"), "name", "'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_an_error(wrong: object, param: str, fact: str):
    with pytest.raises(ArgumentError) as caught:
        wrong()  # type: ignore[operator]  # they are functions
    assert caught.value.param == param
    assert fact in str(caught.value)


def test_the_shell_has_the_same_words(capsys: pytest.CaptureFixture[str]):
    def run(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    deployed = json.loads(run("deploy", "m/one", "--runtime", "fake", "--name", "x", "--json"))
    assert deployed[0]["status"] == "running"
    assert "x" in run("ps")
    assert "fake LmLite begins" in run("logs", "x")
    assert any("fake LmLite begins" in line for line in json.loads(run("logs", "x", "--json")))
    assert json.loads(run("extend", "x", "--hours", "3", "--json"))[0]["name"] == "x"
    assert json.loads(run("cost", "--json"))[-1]["name"] == "all, today"
    assert main(["stop", "x"]) == 1  # a process of this machine is not stopped, only ended
    assert "terminate" in capsys.readouterr().err
    assert json.loads(run("terminate", "x", "--json"))[0]["status"] == "terminated"


NOT_MEANT = ("nan", "inf", "-inf", "0", "-0", "-1", "1e9", "1e300", "1e-320")


def refused_in_a_shell(*words: str) -> bool:
    return main(words) in (1, 2)


@pytest.mark.parametrize("number", NOT_MEANT)
def test_a_number_that_nobody_means_is_refused_wherever_it_enters(
    number: str, cells: Cells, capsys: pytest.CaptureFixture[str]
):
    value, model = float(number), ["m/one", "--runtime", "fake"]
    wrong: list[Callable[[], object]] = [
        lambda: conduit_nb.extend("mine", value),
        lambda: conduit_nb.deploy("m/one", runtime="fake", hours=value),
    ]
    if number != "1e9":  # a cap of a billion dollars is a number
        wrong += [
            lambda: conduit_nb.deploy("m/one", runtime="fake", max_usd=value),
        ]
    for call in wrong:
        with pytest.raises(ArgumentError) as raised:
            call()
        assert raised.value.param in ("hours", "max_usd")
        assert raised.value.hint
    for line in (f"extend mine --hours={number}", f"deploy {' '.join(model)} --hours={number}"):
        assert cells.fail(f"%conduit {line}", ArgumentError).param == "hours"
    assert refused_in_a_shell("extend", "mine", f"--hours={number}")
    assert refused_in_a_shell("deploy", *model, f"--hours={number}")
    assert refused_in_a_shell("deploy", *model, f"--hours={number}", "--dry-run")
    assert "Traceback" not in capsys.readouterr().err
    assert conduit_nb.ps() == []


@pytest.mark.parametrize("replicas", [0, -1, 101, 10**20, "some", "4-1", (1, 2, 3)])
def test_replicas_that_nobody_means_are_refused(replicas: Any):
    with pytest.raises(ArgumentError) as caught:
        conduit_nb.deploy("m/one", runtime="fake", replicas=replicas)
    assert caught.value.param == "replicas"


@pytest.mark.parametrize("tail", [-1, 10**30])
def test_a_log_has_no_such_tail(tail: int):
    with pytest.raises(ArgumentError) as caught:
        conduit_nb.logs("mine", tail=tail)
    assert caught.value.param == "tail"


@pytest.mark.parametrize("asked", [{"name": "mine"}, {"hours": 2.0}])
def test_the_server_that_all_share_has_no_name_and_no_lease_of_ones_own(asked: dict[str, Any]):
    with pytest.raises(ArgumentError, match="LmLite") as caught:
        conduit_nb.deploy("HuggingFaceTB/SmolLM2-135M-Instruct", **asked)

    assert caught.value.param == next(iter(asked))
    assert next(iter(asked)) in caught.value.hint
