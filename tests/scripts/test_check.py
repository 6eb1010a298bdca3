"""scripts/check.py: what passed is checked again when something that it reads has changed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.system

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    import check

    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "PASSED", tmp_path / "passed")
    return check


@pytest.mark.parametrize("code", [0, 1])
def test_what_passed_is_not_run_again_and_what_failed_is(
    checks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], code: int
):
    (tmp_path / "a.py").write_text("x = 1")
    words = (sys.executable, "-c", f"print('at work'); raise SystemExit({code})")
    one = checks.Check("some", words, ("*.py",))

    assert [checks.check(one), checks.check(one)] == [not code] * 2

    said = capfd.readouterr().out
    assert said.count("at work") == 1 + code
    assert said.count("passed before") == 1 - code


@pytest.mark.parametrize("changed", ["a.py", "b.py", "constraints.txt"])
def test_a_change_of_what_it_reads_or_of_the_tools_is_checked(
    checks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], changed: str
):
    (tmp_path / "a.py").write_text("x = 1")
    one = checks.Check("some", (sys.executable, "-c", "print('at work')"), ("*.py",))
    checks.check(one)
    (tmp_path / changed).write_text("x = 2")

    checks.check(one)

    assert capfd.readouterr().out.count("at work") == 2


def test_one_check_that_failed_fails_all(checks: ModuleType, monkeypatch: pytest.MonkeyPatch):
    codes = [checks.Check(f"{n}", (sys.executable, "-c", f"exit({n})")) for n in (0, 1, 0)]
    monkeypatch.setattr(checks, "CHECKS", codes)

    assert checks.main() == 1
