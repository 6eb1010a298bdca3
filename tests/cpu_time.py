"""What a test costs: the CPU time of its process, and of the children that it started.

Every test reports it as the property `cpu_s` of the run's report. A test that takes more than
LIMIT_S of its own fails, unless it is marked `slow`. A fixture that several tests share counts for
none of them. CPU time, not wall time: a loaded machine changes it little.

Not seen: detached processes whose parent has ended (they belong to init), and containers.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = float(os.environ.get("CONDUIT_TEST_CPU_LIMIT_S", "20"))
IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STARTED_AT = pytest.StashKey[float]()
SHARED = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note the CPU time before anything of the test runs."""
    item.stash[SHARED] = 0.0
    item.stash[STARTED_AT] = cpu_time_s()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Take the making of a shared fixture off the test that happens to be the first."""
    if fixturedef.scope == "function":
        return (yield)
    item = request._pyfuncitem  # pyright: ignore[reportPrivateUsage]  # of a shared one too
    shared, began = item.stash.get(SHARED, 0.0), cpu_time_s()
    try:
        return (yield)
    finally:  # what another shared fixture took inside this one is in it already
        item.stash[SHARED] = shared + cpu_time_s() - began


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the sum into the last report of the test; fail it where that is too much."""
    report = yield
    if call.when != "teardown" or STARTED_AT not in item.stash:
        return report
    own_s = cpu_time_s() - item.stash[STARTED_AT] - item.stash[SHARED]
    report.user_properties.append(("cpu_s", f"{own_s:.3f}"))
    if own_s > LIMIT_S and not IS_SOAK and not item.get_closest_marker("slow"):
        report.outcome = "failed"
        report.longrepr = (
            f"The test took {own_s:.1f} s of CPU time, more than {LIMIT_S:g} s. Make it cheaper, "
            f"or mark it with @pytest.mark.slow and say why it has to take that long."
        )
    return report


def cpu_time_s() -> float:
    """Return the CPU time of this process and of every child so far, ended or alive."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    times_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    return times_s + sum(map(_live_s, _children(os.getpid())))


def _live_s(pid: int) -> float:
    """Return the CPU time of a live process, of its ended children, and of its live ones."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # ended meanwhile
    return sum(map(int, fields[11:15])) / TICKS_PER_S + sum(map(_live_s, _children(pid)))


def _children(pid: int) -> list[int]:
    """Return the live children of a process; nothing where the system has no /proc."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []  # the process ended meanwhile
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # that thread ended meanwhile
    return found
