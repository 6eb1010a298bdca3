"""notebook/deploy_estimate.py: what a deployment would cost, before it is created."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.cli import main
from conduit_nb.errors import ArgumentError, SpendCapError
from conduit_nb.session import Session
from tests.notebook.echo_session import PricedProvider, echo_session

RATE = 0.5


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch, provider=PricedProvider(RATE)) as session:
        yield session


def dry_run(*words: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["deploy", "m/one", "--runtime", "fake", *words, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_says_what_would_start_until_when_and_for_how_much(
    session: Session, capsys: pytest.CaptureFixture[str]
):
    server, total = dry_run("--hours", "2", "--replicas", "3", capsys=capsys)

    assert (server["starts"], server["provider"], server["device"]) == ("m/one", "local", "cpu")
    assert (server["nodes"], server["usd_per_hour"], server["usd"]) == (3, 1.5, 3.0)
    assert total["starts"] == "in all"
    assert total["may_spend_usd"] == 5
    assert total["lasts_hours"] == pytest.approx(5 / 1.5)
    assert conduit_nb.ps() == []


def test_what_others_may_still_spend_cannot_be_spent_again(capsys: pytest.CaptureFixture[str]):
    conduit_nb.deploy("m/two", runtime="fake", max_usd=8)

    *_, total = dry_run(capsys=capsys)

    assert total["may_spend_usd"] == pytest.approx(2, abs=0.01)


def test_what_runs_already_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]):
    conduit_nb.deploy("m/one", runtime="fake", name="mine")

    (found,) = dry_run(capsys=capsys)

    assert (found["name"], found["status"]) == ("mine", "running")


def test_a_lease_that_costs_more_than_may_be_spent_is_refused(session: Session):
    with pytest.raises(SpendCapError, match=r"\$0\.50/h.* 24 h.* \$12\.00") as refused:
        conduit_nb.deploy("m/one", runtime="fake", hours=24)

    assert "--max-usd" in refused.value.hint
    assert conduit_nb.ps() == []
    (info,) = conduit_nb.deploy("m/one", runtime="fake", hours=9)
    assert info.status == "running"


@pytest.mark.parametrize(
    "words",
    [
        ("--hours", "20"),
        ("--hours", "1", "--replicas", "11"),
        ("--max-usd", "0.01"),
        ("--max-usd", "0.01", "--hours", "0.01"),
        ("--name", "taken"),
    ],
)
def test_a_dry_run_is_refused_as_the_deployment_would_be(
    session: Session, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    if "taken" in words:
        conduit_nb.deploy("m/two", runtime="fake", name="taken")
    before = conduit_nb.ps()
    line = ["deploy", "m/one", "--runtime", "fake", *words, "--json"]

    assert main([*line, "--dry-run"]) == 1
    said = json.loads(capsys.readouterr().out)["error"]
    assert [one.name for one in conduit_nb.ps()] == [one.name for one in before]
    assert main(line) == 1
    assert json.loads(capsys.readouterr().out)["error"] == said
    assert said["code"] in ("spend_cap", "argument")


@pytest.mark.parametrize("is_dry", [True, False])
def test_who_holds_the_day_is_named_with_how_much(is_dry: bool, capsys: pytest.CaptureFixture[str]):
    conduit_nb.deploy("m/two", runtime="fake", name="holder", max_usd=8)
    with pytest.raises(SpendCapError) as raised:
        conduit_nb.deploy("m/one", runtime="fake", hours=5)
    assert list(raised.value.held_by) == ["holder"]
    assert raised.value.held_by["holder"] == pytest.approx(8, abs=0.01)
    dry = ["--dry-run"] if is_dry else []

    assert main(["deploy", "m/one", "--runtime", "fake", "--hours", "5", *dry]) == 1

    said = capsys.readouterr().err
    assert "holder $8.00" in said
    assert "$10.00" in said
    assert "conduit terminate holder" in said


def test_ones_own_cap_names_nobody_else():
    conduit_nb.deploy("m/two", runtime="fake", name="other", max_usd=2)
    with pytest.raises(SpendCapError) as raised:
        conduit_nb.deploy("m/one", runtime="fake", hours=20)

    assert raised.value.held_by == {}


def test_a_command_reaches_what_decides_whether_it_is_followed():
    with pytest.raises(ArgumentError, match=r"--command.*\bcustom\b.*\blocal\b"):
        conduit_nb.deploy("m/one", runtime="custom", image="i", command="run {port}")
