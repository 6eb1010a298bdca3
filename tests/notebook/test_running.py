"""notebook/running.py: a command of the table, as a magic runs it and shows what it returns."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import split_line
from conduit_nb.notebook.display import Text
from conduit_nb.notebook.running import run_command
from conduit_nb.session import Session
from conduit_nb.spelling import did_you_mean

SHELL: Any = SimpleNamespace(user_ns={})


def run(line: str, body: str | None = None) -> Any:
    word, *rest = split_line(line)
    return run_command(SHELL, word, rest, body)


@pytest.mark.parametrize(
    ("line", "param", "facts", "hint"),
    [
        ("map", "rows", "ROWS", "%%conduit map ROWS"),
        ("map df --max-eror 3", "max_eror", "--max-eror", did_you_mean("--max-errors")),
        ("map df --max-eror=3", "max_eror", "--max-eror", did_you_mean("--max-errors")),
        ("map df --max 3", "max", r"--max\b", ""),
        ("map df -x", "x", r"-x\b", "%%conduit map ROWS"),
        ("map df other", None, "'other'", "%%conduit map ROWS"),
        ("map df --max-errors few", "max_errors", "--max-errors.*'few'", "%%conduit map ROWS"),
        ("map df --max-errors -1", "max_errors", "--max-errors.*-1", "%%conduit map ROWS"),
        ("map df --max-errors", "max_errors", "--max-errors", "%%conduit map ROWS"),
        ("map df --max-tokens 0", "max_tokens", "--max-tokens.*0", "%%conduit map ROWS"),
        ("map df --temperature nan", "temperature", "--temp.*nan", "%%conduit map ROWS"),
        ("map df --temperature inf", "temperature", "--temp.*inf", "%%conduit map ROWS"),
        ("map df --seed x", "seed", "--seed.*'x'", "%%conduit map ROWS"),
        ("map df --background=yes", "background", "--background", "%%conduit map ROWS"),
        ("map df --on-length kep", "on_length", "'kep'", did_you_mean("keep")),
        ("map df --replicas 4-1", "replicas", "--replicas.*'4-1'", "1-4"),
        ('map df --command "serve \'x"', "command", "--command", ""),
        ("block judge --input In", "output", "--output", "NAME --input In --output Out"),
    ],
)
def test_a_mistake_over_a_cell_says_what_to_write(
    line: str, param: str | None, facts: str, hint: str
):
    with pytest.raises(ArgumentError, match=facts) as caught:
        run(line, "class A: ...")

    assert caught.value.param == param
    assert hint in caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "too_many", "cure"),
    [
        ("map df --columns a, b", "b", "--columns a,b"),
        ("map df --columns a b", "b", "--columns a,b"),
        ("map df --model my model", "model", '--model "my model"'),
        ("map df --confidence x", "x", "%%conduit map ROWS"),
        ("map --background df other", "other", "%%conduit map ROWS"),
    ],
)
def test_a_value_that_blanks_have_parted_is_told_how_it_is_written(
    line: str, too_many: str, cure: str
):
    with pytest.raises(ArgumentError, match=f"'{too_many}'") as caught:
        run(line, "class A: ...")

    assert cure in caught.value.hint


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("deploy", "%conduit deploy ID_OR_FOLDER… [OPTIONS]"),
        ("terminate", "%conduit terminate NAME|all [--json]"),
        ("extend x --hours soon", "%conduit extend NAME [--hours H] [--json]"),
        ("cleanup now", "%conduit cleanup [--force] [--json]"),
        ("cost now", "%conduit cost [--json]"),
        ("doctor now", "%conduit doctor [--json]"),
        ("image push", "%conduit image push NAME"),
        ("debug a b", "%conduit debug [ERROR|OUT] [--limit N]"),
    ],
)
def test_a_mistake_on_a_line_shows_how_the_command_is_written(line: str, usage: str):
    with pytest.raises(ArgumentError) as caught:
        run(line)

    assert usage in caught.value.hint
    command = re.split(r" (?=[A-Z\[])", usage)[0].removeprefix("%conduit ")
    assert f"%conduit help {command}" in caught.value.hint


@pytest.mark.usefixtures("own_session")
def test_json_is_printed_and_nothing_is_shown(capsys: pytest.CaptureFixture[str]):
    assert run("ps --json") is None

    assert json.loads(capsys.readouterr().out) == []


def test_lines_of_a_log_are_printed(own_session: Session, capsys: pytest.CaptureFixture[str]):
    assert run("logs") is None
    capsys.readouterr()

    assert run("logs --json") is None
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.usefixtures("own_session")
def test_where_nothing_runs_that_is_said():
    assert repr(run("ps")) == "Nothing runs."
    assert repr(run("stop")) == "Nothing ran."
    assert repr(run("stop all")) == "Nothing ran."
    assert all(model.state == "available" for model in run("models"))


@pytest.mark.usefixtures("own_session")
@pytest.mark.parametrize(
    "line", ["stop zebra", "logs zebra", "start zebra", "restart zebra", "attach conduit-zebra"]
)
def test_a_name_that_nothing_has_is_an_error(line: str):
    with pytest.raises(ArgumentError, match="zebra") as caught:
        run(line)

    assert caught.value.hint


def test_help_is_a_text_on_a_line_and_over_a_cell():
    on_a_line, over_a_cell = run("help map"), run("help map", "class A: ...")

    assert isinstance(on_a_line, Text)
    assert repr(on_a_line) == repr(over_a_cell)
