"""Check the types: the package is right, and of the cases in tests/typing what is marked is wrong.

pyright (strict) sees the package and the cases at once, mypy (strict) the cases. A line of a case
that ends with `# wrong` must be flagged by both, and no other line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from environment import ROOT

CASES = "tests/typing/cases"
PYRIGHT = (str(Path(sys.executable).parent / "pyright"), "--outputjson", "conduit_nb", CASES)
MYPY = (
    *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
    *("--no-error-summary", "--no-color-output", CASES),
)
Line = tuple[str, int]


class TypeCheckError(Exception):
    """A checker ended without an answer; the message is what it said."""


def main() -> int:
    """Run both checkers, print where they and the marks differ; return the exit code."""
    wanted = marked_lines(ROOT, ROOT / CASES)
    problems: list[str] = []
    for name, flagged in (("pyright", pyright_flags()), ("mypy", mypy_flags())):
        problems += differences(name, flagged, wanted)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"types: {len(problems)} problems; {len(wanted)} lines of the cases are rightly refused")
    return 1 if problems else 0


def differences(name: str, flagged: dict[Line, str], wanted: set[Line]) -> list[str]:
    """Return a line for whatever a checker flags and should not, or should flag and does not."""
    extra = [
        f"{file}:{at}: {name}: {flagged[file, at]}" for file, at in sorted({*flagged} - wanted)
    ]
    missed = sorted(wanted - {*flagged})
    return extra + [f"{file}:{at}: {name} lets a wrong line pass" for file, at in missed]


def marked_lines(root: Path, cases: Path) -> set[Line]:
    """Return the lines of the cases that are marked as wrong, each as (file, number)."""
    return {
        (path.relative_to(root).as_posix(), number)
        for path in cases.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if line.endswith("# wrong")
    }


def pyright_flags() -> dict[Line, str]:
    """Return what pyright flags in the package and the cases."""
    said = json.loads(answer_of(PYRIGHT))
    return {
        (_relative(found["file"]), found["range"]["start"]["line"] + 1): found["message"]
        for found in said["generalDiagnostics"]
        if found["severity"] == "error"
    }


def mypy_flags() -> dict[Line, str]:
    """Return what mypy flags in the cases."""
    found = re.findall(r"^(\S+\.py):(\d+): error: (.*)$", answer_of(MYPY), re.MULTILINE)
    return {(_relative(file), int(number)): message for file, number, message in found}


def answer_of(words: tuple[str, ...]) -> str:
    """Return what a checker said. Raises TypeCheckError where it found neither yes nor no."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise TypeCheckError(f"{words[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def _relative(file: str) -> str:
    return (ROOT / file).resolve().relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(main())
