"""scripts/environment.py: what a newcomer reads when something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with what an installation reads, and no environment yet."""
    folder = tmp_path / "clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/environment.py", "pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(clone: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        command,
        cwd=clone,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def setup(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(clone, sys.executable, "scripts/environment.py", *arguments, **variables)


def fake_python(folder: Path, says: str) -> str:
    path = folder / "python-of-old"
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_nobody_has_is_named_with_the_ways_to_get_it(clone: Path):
    result = setup(clone, "light", "3.99")

    assert result.returncode == 1
    assert "No Python 3.99 found" in result.stderr
    assert "uv python install 3.99" in result.stderr
    assert not (clone / ".venv-light-3.99").exists()


def test_a_python_that_is_too_old_is_refused_by_name(clone: Path, tmp_path: Path):
    result = setup(clone, "full", PYTHON=fake_python(tmp_path, "3.10"))

    assert result.returncode == 1
    assert "is 3.10; Conduit needs Python 3.11 or newer" in result.stderr


def test_a_python_that_cannot_make_environments_is_refused(clone: Path, tmp_path: Path):
    result = setup(clone, "full", PYTHON=fake_python(tmp_path, ""))

    assert result.returncode == 1
    assert "no Python that can make environments" in result.stderr


def test_make_says_what_to_do_where_the_named_python_is_missing(clone: Path):
    result = run(clone, "make", "setup", "PYTHON=no-such-python")

    assert result.returncode
    assert "no-such-python is missing. Install Python 3.11" in result.stderr


def test_an_install_that_failed_is_explained_and_tried_again_the_next_time(clone: Path):
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}

    first = setup(clone, "full", PYTHON=sys.executable, **offline)
    second = setup(clone, "full", PYTHON=sys.executable, **offline)

    for result in (first, second):
        assert result.returncode == 1
        assert "pip could not install pip; its own lines above say why" in result.stderr
    assert not (clone / ".venv/conduit-setup").exists()


def test_an_environment_that_stands_is_not_made_again(clone: Path):
    bin_folder = clone / ".venv-light-3.99/bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    wanted = run(
        clone,
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, 'scripts')\n"
        "import environment\n"
        "environment._make = lambda folder, kind, versions, steps: "
        "print(environment._fingerprint(steps), end='')\n"
        "environment.make_light('3.99')",
    ).stdout
    (bin_folder.parent / "conduit-setup").write_text(wanted)

    same = setup(clone, "light", "3.99")
    (clone / "constraints.txt").write_text("pip==1\ntorch==1\n")
    changed = setup(clone, "light", "3.99", PIP_NO_INDEX="1", PIP_FIND_LINKS="")

    assert (same.returncode, same.stdout) == (0, "")
    assert changed.returncode == 1


def test_help_names_every_target(clone: Path):
    result = run(clone, "make")

    for target in ("setup", "check", "test", "demo", "lab", "bench", "soak"):
        assert f"make {target} " in result.stdout
