"""Check what needs no test: `make check`. Lint, formatting, types, and all of the TypeScript.

Two checks at a time. One that passed is not run again until something that it reads changes.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT

BIN = Path(sys.executable).parent
TOOLS = ("pyproject.toml", "constraints.txt", "scripts/*.py")
PASSED = Path(sys.prefix) / "passed-checks"


@dataclass(frozen=True)
class Check:
    """A program, and the files of the project that it reads."""

    title: str
    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    """Patterns; without any it runs every time."""


CHECKS = (
    Check(
        "types of Python",
        (sys.executable, "scripts/type_checks.py"),
        ("conduit_nb/**/*.py", "tests/typing/cases/*.py"),
    ),
    Check(
        "TypeScript",
        (sys.executable, "scripts/extension.py", "check"),
        ("extension/*.*", "extension/[st]*/**/*.*", "conduit_nb/notebook/panels/bundles/*"),
    ),
    Check("lint", (str(BIN / "ruff"), "check", ".")),
    Check("formatting", (str(BIN / "ruff"), "format", "--check", ".")),
)


def main() -> int:
    """Run all checks, the longest first; return the exit code."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = list(pool.map(check, CHECKS))
    return 0 if all(passed) else 1


def check(one: Check) -> bool:
    """Run a check, or find that it has passed; print what it says, in one piece."""
    stamp = PASSED / one.title.replace(" ", "-")
    wanted = digest(one) if one.reads else ""
    if wanted and stamp.is_file() and stamp.read_text() == wanted:
        print(f"check: {one.title}: passed before, nothing changed since", flush=True)
        return True
    began = time.monotonic()
    done = subprocess.run(
        one.words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    word = "FAILED" if done.returncode else "passed"
    took_s = time.monotonic() - began
    print(f"{done.stdout}check: {one.title}: {word} in {took_s:.0f} s", flush=True)
    if wanted and not done.returncode and "left out" not in done.stdout:
        PASSED.mkdir(exist_ok=True)
        stamp.write_text(wanted)
    return not done.returncode


def digest(one: Check) -> str:
    """Return what tells the files that a check reads, and its tools, from others."""
    summed = hashlib.sha256(" ".join(one.words).encode())
    for path in sorted(set(_files(*TOOLS, *one.reads))):
        summed.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        summed.update(hashlib.sha256(path.read_bytes()).digest())
    return summed.hexdigest()


def _files(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in ROOT.glob(pattern) if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
