"""Run every test and close with one summary: what `make test` does once `check` has passed.

Three runs of pytest: what needs no model, two files at a time; the model and the notebooks, one
after another, as two engines at once would only slow each other down; and on Python 3.13 what
needs no torch, in an environment of its own, where such a Python is found.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
import uuid
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import system_packages
from environment import ROOT, find_python

OTHER_VERSION = "3.13"
MARK = "CONDUIT_TEST_RUN"  # a variable that every process of a run inherits
IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
PARALLEL = ["-n", "2", "--dist", "loadfile"]


@dataclass(kw_only=True)
class Outcome:
    """What one run of pytest came to."""

    title: str
    code: int
    closing_line: str
    counts: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])


def main() -> int:
    """Run everything, print the summary, return the exit code."""
    seed = random.randrange(2**32)
    system_packages.main()
    print(f"tests: random seed {seed} (again: pytest --hypothesis-seed={seed})", flush=True)
    common = [f"--hypothesis-seed={seed}"]
    if not IS_SOAK:  # a test that hangs says where, and the run goes on without it
        common += ["-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true"]
    outcomes = [run("without the model", sys.executable, [*common, "-m", "not model", *PARALLEL])]
    fetch = [sys.executable, "-m", "conduit_nb.lmlite.convert", "--embedded"]
    if subprocess.run(fetch, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
        return 1  # what happened stands above
    outcomes.append(run("the model, the notebooks", sys.executable, [*common, "-m", "model"]))
    not_run: list[str] = []
    if find_python(OTHER_VERSION) is None:
        not_run.append(f"Python {OTHER_VERSION}: none found on PATH, in pyenv or in uv")
    else:
        environment = [sys.executable, str(ROOT / "scripts/environment.py"), "light", OTHER_VERSION]
        if subprocess.run(environment).returncode:
            return 1
        python = str(ROOT / f".venv-light-{OTHER_VERSION}/bin/python")
        title = f"without torch, Python {OTHER_VERSION}"
        outcomes.append(run(title, python, [*common, "-m", "not model", *PARALLEL]))
    summarize(outcomes, not_run)
    return 1 if any(outcome.code for outcome in outcomes) else 0


def run(title: str, python: str, arguments: list[str]) -> Outcome:
    """Run pytest, its output shown as it comes."""
    print(f"\ntests: {title}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", f"--junitxml={report}", *arguments]
        mark = uuid.uuid4().hex
        environment = {**os.environ, MARK: mark}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            said = b""
            while chunk := os.read(process.stdout.fileno(), 65536):
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
                said = (said + chunk)[-10_000:]
        lines = said.decode(errors="replace").rstrip().splitlines()
        outcome = Outcome(
            title=title, code=process.returncode, closing_line=lines[-1] if lines else "no output"
        )
        if report.exists():
            count(report, outcome)
    if end_leftovers(mark):
        outcome.code = outcome.code or 1
    if outcome.code and not outcome.counts["failed"]:
        outcome.counts["failed"] = 1  # the run itself: it crashed, or found nothing to run
    return outcome


def count(report: Path, outcome: Outcome) -> None:
    """Add what pytest reported, case by case, to `outcome`."""
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            outcome.counts["failed"] += 1
        elif "skipped" in kinds:
            outcome.counts["skipped"] += 1
            skipped = case.find("skipped")
            assert skipped is not None
            outcome.skipped[reason_of(skipped)] += 1
        else:
            outcome.counts["passed"] += 1


def reason_of(skipped: ElementTree.Element) -> str:
    """Return why a test was skipped; of a whole file pytest tells it in the text only."""
    in_text = re.search(r"Skipped: (.+?)[\"']\)$", skipped.text or "")
    return in_text[1] if in_text else skipped.get("message", "no reason")


def end_leftovers(mark: str) -> int:
    """End what a run of pytest that crashed has left running; return how many that were."""
    left: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                left.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or somebody else's
    for process in left:
        print(f"tests: left running and ended now: {process.pid}", flush=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    return len(left)


def summarize(outcomes: list[Outcome], not_run: list[str]) -> None:
    """Print what was skipped and why, each run's closing line, and the sums."""
    print("\ntests: summary")
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total += outcome.counts
        for reason, times in outcome.skipped.most_common():
            print(f"  skipped {times:>3} ({outcome.title}): {reason}")
    for line in not_run:
        print(f"  skipped, {line}")
    for outcome in outcomes:
        print(f"  {outcome.title}:\n{outcome.closing_line}")
    print(
        f"total: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
