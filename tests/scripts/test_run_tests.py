"""scripts/run_tests.py: the summary tells the truth."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.system

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(SCRIPTS)
    import run_tests

    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # two seconds of imports
    return run_tests


def test_a_run_is_counted_case_by_case_with_the_reasons_of_skips(
    runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2\n"
        "def test_not_here(): pytest.skip('no browser')\n"
        "def test_nor_here(): pytest.skip('no browser')\n"
    )

    outcome = runner.run("some", sys.executable, ["-p", "no:cacheprovider", "test_it.py"])
    runner.summarize([outcome], ["Python 3.99: none found"], runner.Taken())

    said = capfd.readouterr().out
    assert outcome.code == 1
    assert dict(outcome.counts) == {"passed": 1, "failed": 1, "skipped": 2}
    assert "1 failed, 1 passed, 2 skipped" in outcome.closing_line
    assert "skipped   2 (some): no browser" in said
    assert "skipped, Python 3.99: none found" in said
    assert said.splitlines()[-1] == "total: 1 passed, 1 failed, 2 skipped"


def test_the_slowest_tests_of_all_runs_are_named_and_each_part_says_what_it_took(
    runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(12))\n"
        "def test_takes(n, record_property): record_property('cpu_s', f'{n}.5')\n"
    )

    outcome = runner.run("some", sys.executable, ["-p", "no:cacheprovider", "test_it.py"])
    failed = runner.command("a check", [sys.executable, "-c", "raise SystemExit(3)"])
    runner.summarize([outcome, failed], [], runner.Taken(wall_s=90.0, cpu_s=60.0))

    said = capfd.readouterr().out
    assert re.findall(r"^ +([0-9.]+) s  test_it::test_takes\[(\d+)\]", said, re.MULTILINE) == [
        (f"{n}.5", str(n)) for n in range(11, 1, -1)
    ]
    assert re.search(r"^  some: wall 0\.\d min, CPU 0\.\d min", said, re.MULTILINE)
    assert re.search(r"^  a check: wall .*\n    failed$", said, re.MULTILINE)
    assert re.search(r"^  in all: wall 1\.5 min, CPU 1\.0 min", said, re.MULTILINE)
    assert outcome.taken.cpu_s > 0
    assert said.splitlines()[-1] == "total: 12 passed, 1 failed, 0 skipped"


def test_a_run_that_found_nothing_to_run_has_failed(runner, tmp_path: Path):
    outcome = runner.run("none", sys.executable, ["-p", "no:cacheprovider", "-q"])

    assert outcome.code == 5
    assert outcome.counts["failed"] == 1


def test_a_run_that_crashed_has_failed(runner, tmp_path: Path):
    (tmp_path / "test_it.py").write_text("import os\ndef test_dies(): os._exit(7)\n")

    outcome = runner.run("crash", sys.executable, ["-p", "no:cacheprovider", "test_it.py"])

    assert outcome.code == 7
    assert outcome.counts["failed"] == 1


def test_what_a_crashed_run_left_running_is_ended(
    runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "test_it.py").write_text(
        "import os, subprocess, sys\n"
        "def test_dies():\n"
        "    subprocess.Popen(\n"
        "        [sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "        start_new_session=True, stdout=subprocess.DEVNULL)\n"
        "    os._exit(7)\n"
    )

    runner.run("crash", sys.executable, ["-p", "no:cacheprovider", "test_it.py"])

    left = re.findall(r"left running and ended now: (\d+)", capfd.readouterr().out)
    assert len(left) == 1
    assert not psutil.pid_exists(int(left[0]))


def test_a_file_that_was_skipped_whole_says_why(runner, tmp_path: Path):
    (tmp_path / "test_it.py").write_text("import pytest\npytest.importorskip('no_such_thing')\n")

    outcome = runner.run("some", sys.executable, ["-p", "no:cacheprovider", "test_it.py"])

    assert list(outcome.skipped) == [
        "could not import 'no_such_thing': No module named 'no_such_thing'"
    ]
