"""tests/cpu_time.py: a test that takes too much CPU time says why, or fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 0.5
TESTS = """
import subprocess, sys, threading, time
import pytest

BUSY = "import time\\nwhile time.process_time() < 0.7: pass\\nprint(flush=True)\\ninput()"
alive = []

def be_busy():
    began = time.process_time()
    while time.process_time() - began < 0.7:
        pass

@pytest.fixture(scope="module")
def shared(): be_busy()

@pytest.fixture
def own(): be_busy()

def test_quick(): ...

def test_waits(): threading.Event().wait(0.7)

def test_first_to_use_a_shared_fixture(shared): ...

@pytest.mark.slow
def test_busy_and_marked(): be_busy()

def test_busy(): be_busy()

def test_busy_in_its_fixture(own): ...

def test_busy_by_a_child():
    subprocess.run([sys.executable, "-c", BUSY], check=True, input=b" ")

def test_busy_by_a_child_that_lives_on():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    alive.append(subprocess.Popen([sys.executable, "-c", BUSY], **pipes))
    alive[0].stdout.readline()

def test_ends_what_another_started(): alive[0].communicate(b" ")
"""
WITHIN = {"quick", "waits", "first_to_use_a_shared_fixture", "ends_what_another_started"}
TOO_LONG = {"busy", "busy_in_its_fixture", "busy_by_a_child", "busy_by_a_child_that_lives_on"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, float]]:
    """Return what pytest said of TESTS, and the CPU time that it noted of each."""
    folder = tmp_path_factory.mktemp("inner")
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: …\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.cpu_time", "-p", "no:cacheprovider"),
            *("-rA", "--junitxml=report.xml", str(folder)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **{name: value for name, value in os.environ.items() if name != "CONDUIT_SOAK"},
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "CONDUIT_TEST_CPU_LIMIT_S": str(LIMIT_S),
        },
        timeout=120,
    )
    noted = {
        str(case.get("name")): float(str(one.get("value")))
        for case in ElementTree.parse(folder / "report.xml").iter("testcase")
        for one in case.iter("property")
    }
    return done.stdout, noted


def test_a_test_that_takes_more_than_the_limit_fails_and_names_the_mark(
    ran: tuple[str, dict[str, float]],
):
    said, _ = ran

    said_of_each = re.findall(
        r"^The test took \S+ s of CPU time, more than 0\.5 s\. Make it cheaper, "
        r"or mark it with @pytest\.mark\.slow and say why",
        said,
        re.MULTILINE,
    )
    assert len(said_of_each) == len(TOO_LONG)
    assert set(re.findall(r"^ERROR \S+::test_(\w+)", said, re.MULTILINE)) == TOO_LONG


def test_every_test_notes_what_it_took_without_what_it_shares(ran: tuple[str, dict[str, float]]):
    _, noted = ran

    taken = {name.removeprefix("test_"): cpu_s for name, cpu_s in noted.items()}
    assert {name for name, cpu_s in taken.items() if cpu_s <= LIMIT_S} == WITHIN
    assert taken.keys() - WITHIN == {*TOO_LONG, "busy_and_marked"}
