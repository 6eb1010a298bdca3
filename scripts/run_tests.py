"""Run every test and close with one summary: what `make test` does.

First the checks (scripts/check.py). Then two runs of pytest side by side, which fill two cores: all
tests on this Python, three at a time, as they wait for containers and pages; and where a Python
3.13 is found, in an environment without torch, those that could differ there (no model, and no
system test), one at a time. What the second says is shown when it has ended.

`make soak` (CONDUIT_SOAK=1) takes full counts, and on Python 3.13 the system tests as well, after
the others.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import system_packages
from environment import ROOT, find_python

OTHER_VERSION = "3.13"
MARK = "CONDUIT_TEST_RUN"  # a variable that every process of a run inherits
IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
PARALLEL = ["--dist", "loadgroup", "--no-loadscope-reorder", "-p", "no:nbval"]
ON_OTHER_VERSION = "not model" if IS_SOAK else "not model and not system"
SLOWEST = 10


@dataclass(frozen=True)
class Taken:
    """Wall time and CPU time; `machine_s` is that of all processes of the machine, if known."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    machine_s: float = 0.0

    def __sub__(self, other: Taken) -> Taken:
        return Taken(
            self.wall_s - other.wall_s, self.cpu_s - other.cpu_s, self.machine_s - other.machine_s
        )

    def __str__(self) -> str:
        text = f"wall {self.wall_s / 60:.1f} min, CPU {self.cpu_s / 60:.1f} min"
        whole = f" (all of the machine: {self.machine_s / 60:.1f} min)"
        return text + (whole if self.machine_s else "")


@dataclass(kw_only=True)
class Outcome:
    """What one part of the tests came to, and what it took."""

    title: str
    code: int
    closing_line: str
    counts: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])
    """Of each test, as tests/cpu_time.py counts it."""
    taken: Taken = field(default_factory=Taken)


def main() -> int:
    """Run everything, print the summary, return the exit code."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of interpreters start, all with us
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of two engines, and two cores
    outcomes: list[Outcome] = []
    not_run: list[str] = []
    began = times_now()
    code = run_all(outcomes, not_run)
    summarize(outcomes, not_run, times_now() - began)
    return code or int(any(outcome.code for outcome in outcomes))


def run_all(outcomes: list[Outcome], not_run: list[str]) -> int:
    """Run part after part into `outcomes`; return 1 where one could not even be begun."""
    seed = random.randrange(2**32)
    system_packages.main()
    outcomes.append(command("the checks", [sys.executable, str(ROOT / "scripts/check.py")]))
    if outcomes[0].code:
        return 1
    print(f"tests: random seed {seed} (again: pytest --hypothesis-seed={seed})", flush=True)
    common = [f"--hypothesis-seed={seed}", *PARALLEL]
    if not IS_SOAK:  # a test that hangs says where, and the run goes on without it
        common += ["-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true"]
    fetch = [sys.executable, "-m", "conduit_nb.lmlite.convert", "--embedded"]
    outcomes.append(command("the embedded model", fetch, is_quiet=True))
    if outcomes[-1].code:
        return 1  # what happened stands above
    version = ".".join(map(str, sys.version_info[:2]))
    title = f"all tests, Python {version}"
    has_other = find_python(OTHER_VERSION) is not None
    with ThreadPoolExecutor(max_workers=1) as beside:
        is_beside = has_other and not IS_SOAK  # where system tests run on both, they would meet
        other = beside.submit(run_other_version, common) if is_beside else None
        outcomes.append(run(title, sys.executable, ["-n", "3", *common]))
    if other is not None:
        outcomes += other.result()
    elif has_other:
        outcomes += run_other_version(common)
    else:
        not_run.append(f"Python {OTHER_VERSION}: none found on PATH, in pyenv or in uv")
    return 0


def run_other_version(common: list[str]) -> list[Outcome]:
    """Make the environment of the other Python, and run there what could differ."""
    make = [sys.executable, str(ROOT / "scripts/environment.py"), "light", OTHER_VERSION]
    made = command(f"the environment for Python {OTHER_VERSION}", make, is_quiet=True)
    if made.code:
        return [made]
    python = str(ROOT / f".venv-light-{OTHER_VERSION}/bin/python")
    less = ["-n", "1", "--assert=plain", "-m", ON_OTHER_VERSION]
    title = f"{ON_OTHER_VERSION}, Python {OTHER_VERSION}"
    profile = {"CONDUIT_TEST_PROFILE": os.environ.get("CONDUIT_TEST_PROFILE", "again")}
    return [made, run(title, python, [*common, *less], more=profile, is_held=True)]


def command(title: str, words: list[str], *, is_quiet: bool = False) -> Outcome:
    """Run a program that is no pytest; what it says is shown where it is not quiet."""
    began = time.monotonic()
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL if is_quiet else None)
    code, cpu_s = ended(process)
    outcome = Outcome(title=title, code=code, closing_line="failed" if code else "passed")
    outcome.counts["failed"] = int(bool(code))
    outcome.taken = Taken(wall_s=time.monotonic() - began, cpu_s=cpu_s)
    return outcome


def run(
    title: str,
    python: str,
    arguments: list[str],
    *,
    more: Mapping[str, str] | None = None,
    is_held: bool = False,
) -> Outcome:
    """Run pytest, with `more` in its environment; show its output as it comes, or held, at once."""
    began = time.monotonic()
    heading = f"\ntests: {title}\n".encode()
    if not is_held:
        show(heading)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [python, "-m", "pytest", f"--junitxml={report}", *arguments]
        mark = uuid.uuid4().hex
        environment = {**os.environ, **(more or {}), MARK: mark}
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = b""
        with process.stdout as output:
            while chunk := os.read(output.fileno(), 65536):
                said += chunk
                if not is_held:
                    show(chunk)
        code, cpu_s = ended(process)
        if is_held:
            show(heading + said)
        lines = said.decode(errors="replace").rstrip().splitlines()
        outcome = Outcome(title=title, code=code, closing_line=lines[-1] if lines else "no output")
        if report.exists():
            count(report, outcome)
    if end_leftovers(mark):
        outcome.code = outcome.code or 1
    if outcome.code and not outcome.counts["failed"]:
        outcome.counts["failed"] = 1  # the run itself: it crashed, or found nothing to run
    outcome.taken = Taken(wall_s=time.monotonic() - began, cpu_s=cpu_s)
    return outcome


def show(said: bytes) -> None:
    """Pass on what a run of pytest says, whole."""
    with _shown_by_one:
        sys.stdout.flush()
        sys.stdout.buffer.write(said)
        sys.stdout.flush()


_shown_by_one = threading.Lock()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Wait for a program; return its exit code, and its CPU time with that of its children."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def times_now() -> Taken:
    """Return the times so far: of our children those that have ended, of the machine all."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    machine = psutil.cpu_times()
    return Taken(
        wall_s=time.monotonic(),
        cpu_s=children.ru_utime + children.ru_stime,
        machine_s=machine.user + machine.system + getattr(machine, "nice", 0.0),
    )


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
        for noted in case.iter("property"):
            if noted.get("name") == "cpu_s":
                test = f"{case.get('classname')}::{case.get('name')}"
                outcome.cpu_s[test] = float(noted.get("value", "0"))


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


def summarize(outcomes: list[Outcome], not_run: list[str], taken: Taken) -> None:
    """Print the slowest tests, what was skipped and why, and what each part and all have taken."""
    print(f"\ntests: the {SLOWEST} slowest by their own CPU time")
    slow = [(cpu_s, name, one.title) for one in outcomes for name, cpu_s in one.cpu_s.items()]
    for cpu_s, name, title in sorted(slow, reverse=True)[:SLOWEST]:
        print(f"  {cpu_s:6.1f} s  {name} ({title})")
    print("\ntests: summary")
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total += outcome.counts
        for reason, times in outcome.skipped.most_common():
            print(f"  skipped {times:>3} ({outcome.title}): {reason}")
    for line in not_run:
        print(f"  skipped, {line}")
    for outcome in outcomes:
        print(f"  {outcome.title}: {outcome.taken}\n    {outcome.closing_line}")
    print(f"  in all: {taken}")
    print(
        f"total: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
