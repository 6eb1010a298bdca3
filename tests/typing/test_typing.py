"""Both type checkers flag every wrong chain and call, and nothing that is right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CASES = HERE / "cases"
ROOT = HERE.parent.parent


def wrong_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that are marked as wrong."""
    lines = path.read_text().splitlines()
    return {number for number, line in enumerate(lines, start=1) if line.endswith("# wrong")}


@pytest.fixture(scope="module")
def mypy_flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """What mypy --strict flags in the cases: file name -> lines."""
    pytest.importorskip("mypy")
    cache = tmp_path_factory.mktemp("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    options = [f"--cache-dir={cache}", "--no-error-summary", "--no-color-output", str(CASES)]
    said = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode in (0, 1), said.stdout + said.stderr
    flags: dict[str, set[int]] = {}
    for name, number in re.findall(r"(\w+\.py):(\d+): error:", said.stdout):
        flags.setdefault(name, set()).add(int(number))
    return flags


@pytest.fixture(scope="module")
def pyright_flags() -> dict[str, set[int]]:
    """What pyright's strict mode flags in the cases: file name -> lines."""
    program = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which(
        "pyright"
    )
    if program is None:
        pytest.skip("pyright is not installed")
    command = [program, "--outputjson", "--pythonpath", sys.executable, str(CASES)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode in (0, 1), said.stdout + said.stderr
    flags: dict[str, set[int]] = {}
    for found in json.loads(said.stdout)["generalDiagnostics"]:
        if found["severity"] == "error":
            name = Path(found["file"]).name
            flags.setdefault(name, set()).add(found["range"]["start"]["line"] + 1)
    return flags


@pytest.mark.parametrize("name", ["good.py", "wrong.py"])
def test_mypy_flags_what_is_wrong_and_nothing_else(name: str, mypy_flags: dict[str, set[int]]):
    assert mypy_flags.get(name, set()) == wrong_lines(CASES / name)


@pytest.mark.parametrize("name", ["good.py", "wrong.py"])
def test_pyright_flags_what_is_wrong_and_nothing_else(
    name: str, pyright_flags: dict[str, set[int]]
):
    assert pyright_flags.get(name, set()) == wrong_lines(CASES / name)


def test_the_cases_hold_wrong_lines_and_the_good_ones_none():
    assert len(wrong_lines(CASES / "wrong.py")) > 30
    assert not wrong_lines(CASES / "good.py")
