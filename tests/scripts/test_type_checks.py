"""scripts/type_checks.py: what the checkers flag is held against what is marked as wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests/typing/cases"


@pytest.fixture
def type_checks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import type_checks

    return type_checks


def says(text: str) -> tuple[str, ...]:
    """Return a program that prints `text`, as a checker does that found something."""
    return (sys.executable, "-c", f"print({text!r}); raise SystemExit(1)")


def test_a_line_that_is_flagged_and_should_not_be_is_a_problem_and_so_is_the_reverse(
    type_checks: ModuleType,
):
    flagged = {("a.py", 1): "no such name", ("a.py", 3): "wrong type"}

    problems = type_checks.differences("mypy", flagged, {("a.py", 3), ("b.py", 7)})

    assert problems == ["a.py:1: mypy: no such name", "b.py:7: mypy lets a wrong line pass"]


def test_both_checkers_are_understood(type_checks: ModuleType, monkeypatch: pytest.MonkeyPatch):
    found = [
        {"file": str(CASES / "a.py"), "severity": severity, "message": "bad"}
        | {"range": {"start": {"line": line}}}
        for line, severity in ((4, "error"), (6, "warning"))
    ]
    said = json.dumps({"generalDiagnostics": found})
    monkeypatch.setattr(type_checks, "PYRIGHT", says(said))
    monkeypatch.setattr(type_checks, "MYPY", says("tests/typing/cases/a.py:5: error: bad  [arg]"))

    assert type_checks.pyright_flags() == {("tests/typing/cases/a.py", 5): "bad"}
    assert type_checks.mypy_flags() == {("tests/typing/cases/a.py", 5): "bad  [arg]"}


@pytest.mark.parametrize("checker", ["pyright", "mypy"])
def test_a_checker_that_crashed_is_an_error(
    type_checks: ModuleType, monkeypatch: pytest.MonkeyPatch, checker: str
):
    monkeypatch.setattr(
        type_checks, checker.upper(), (sys.executable, "-c", "print('out of memory'); exit(2)")
    )

    with pytest.raises(type_checks.TypeCheckError, match="out of memory"):
        getattr(type_checks, f"{checker}_flags")()


def test_the_cases_hold_wrong_lines_and_the_good_ones_none(type_checks: ModuleType):
    files = [file for file, _ in type_checks.marked_lines(ROOT, CASES)]

    assert len(files) > 30
    assert {Path(file).name for file in files} == {"wrong.py"}
