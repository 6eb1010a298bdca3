"""__main__.py: `python -m conduit_nb` is the program `conduit`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from conduit_nb.cli import main
from tests.plans.model_folders import config_folder


def test_the_module_answers_as_the_program_does(tmp_path: Path):
    folder = config_folder(tmp_path, "Qwen3-8B")
    command = [sys.executable, "-m", "conduit_nb", "plan", str(folder), "--json"]

    ran = subprocess.run(command, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["models"][0]["model_id"] == str(folder)


def test_an_error_is_the_exit_code():
    command = [sys.executable, "-m", "conduit_nb", "plan", "/nowhere/at/all"]

    ran = subprocess.run(command, capture_output=True, text=True)

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 2


def test_the_installed_program_is_the_same():
    [program] = entry_points(group="console_scripts", name="conduit")

    assert program.load() is main
