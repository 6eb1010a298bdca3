#!/usr/bin/env python3
"""Make a virtual environment of this project, once: `environment.py full | light [VERSION]`.

full    .venv with everything: torch, LmLite, JupyterLab, the test tools
light   .venv-light-VERSION with what needs no torch, and the tools to test that
pin     write constraints.txt anew from what a fresh environment resolves to

Knows how to find a Python, what to install in which order, and what to say when that fails. Runs
before anything is installed, under any Python 3.8 or newer: the standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT, CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"
VERSIONS = ("3.11", "3.12", "3.13")
NEEDED_GIB = {"full": 4.0, "light": 1.0}
PROBE = "import ensurepip, sqlite3, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
FREEZE_HEADER = """\
# What a fresh environment on Python 3.11 resolved to; `scripts/environment.py pin` writes it.
# Every install in the Makefile obeys it, so that a clone of today works tomorrow.
"""


class SetupError(Exception):
    """Something is missing; the message says what, and what to do."""


def main() -> int:
    """Do what the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description="Make a virtual environment, once.")
    parser.add_argument("kind", choices=("full", "light", "pin"))
    parser.add_argument("version", nargs="?", help="a Python version, e.g. 3.13")
    arguments = parser.parse_args()
    try:
        if arguments.kind == "full":
            make_full()
        elif arguments.kind == "light":
            make_light(arguments.version or VERSIONS[-1])
        else:
            pin()
    except SetupError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    return 0


def make_full() -> None:
    """Make .venv with all that the demo, the tests and JupyterLab need."""
    torch_index = os.environ.get("TORCH_INDEX")
    steps = [
        # Apart and first, so that a build of torch chosen by the user or the machine is kept.
        ("PyTorch", [_pinned("torch")]),
        (
            "Conduit, LmLite, JupyterLab, test tools",
            ["-e", ".[gpu,lmlite,notebook]", "--group", "dev"],
        ),
    ]
    if torch_index:
        steps[0][1].extend(["--extra-index-url", torch_index])
    _make(ROOT / ".venv", "full", VERSIONS, steps)


def make_light(version: str) -> None:
    """Make .venv-light-VERSION with Conduit as it is without its extras."""
    steps = [("Conduit without torch, test tools", ["-e", ".", "--group", "test"])]
    _make(ROOT / f".venv-light-{version}", "light", (version,), steps)


def pin() -> None:
    """Resolve everything anew and write constraints.txt. Keeps the version of torch and pip."""
    kept = [_pinned("pip"), _pinned("torch")]
    folder = ROOT / ".venv-pin"
    shutil.rmtree(folder, ignore_errors=True)
    python = _new_venv(folder, _find_python_or_explain(VERSIONS[:1]))
    _pip(python, kept, "pip and PyTorch")
    _pip(python, ["-e", ".[gpu,lmlite,notebook]", "--group", "dev"], "everything else")
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze", "--all", "--exclude-editable"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # A local label ("+cpu") names one machine's build; others have the same release without it.
    lines = [re.sub(r"\+\w+$", "", line) for line in frozen.splitlines() if "==" in line]
    CONSTRAINTS.write_text(FREEZE_HEADER + "\n".join(lines) + "\n")
    shutil.rmtree(folder)


def find_python(version: str) -> str | None:
    """Return a Python of `version` that can make environments: on PATH, of pyenv or of uv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        shutil.which(f"python{version}"),
        shutil.which("python3"),
        f"{sys.base_prefix}/bin/python{version}",
        *sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")), reverse=True),
    ]
    for candidate in candidates:
        if candidate and _version_of(candidate) == version:
            return candidate
    if shutil.which("uv"):
        asked = ["uv", "python", "find", "--no-project", "--offline", version]
        found = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        if found and _version_of(found) == version:
            return found
    return None


def _version_of(python: str) -> str | None:
    """Return a Python's version ("3.11"), None where it cannot make environments."""
    if ROOT in Path(python).absolute().parents:
        return None  # one of the environments that are to be made
    try:
        probed = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return probed.stdout.strip() or None


def _find_python_or_explain(versions: tuple[str, ...]) -> str:
    named = os.environ.get("PYTHON", "python3")
    if named != "python3" and versions == VERSIONS:
        version = _version_of(named)
        if version and tuple(map(int, version.split("."))) >= (3, 11):
            return named
        raise SetupError(
            f"PYTHON={named} is {version or 'no Python that can make environments'}; "
            f"Conduit needs Python 3.11 or newer."
        )
    for version in versions:
        python = find_python(version)
        if python:
            return python
    wanted = versions[0]
    broken = shutil.which(f"python{wanted}")
    if broken:
        raise SetupError(
            f"{broken} cannot make environments (its modules venv, ensurepip, ssl or sqlite3 are "
            f"missing, or it does not start).\n"
            f"  On Debian and Ubuntu: apt-get install python{wanted}-venv\n"
            f"  Or name another Python: make setup PYTHON=/path/to/python{wanted}"
        )
    raise SetupError(
        f"No Python {' or '.join(versions)} found on PATH, in pyenv or in uv.\n"
        f"  On Debian and Ubuntu: apt-get install python3.11 python3.11-venv\n"
        f"  On macOS: brew install python@{wanted}\n"
        f"  Or: uv python install {wanted}, or pyenv install {wanted}\n"
        f"  Or name one: make setup PYTHON=/path/to/python{wanted}"
    )


def _make(
    folder: Path, kind: str, versions: tuple[str, ...], steps: list[tuple[str, list[str]]]
) -> None:
    """Make `folder` unless it stands already, made from the same files by the same steps."""
    stamp, wanted = folder / "conduit-setup", _fingerprint(steps)
    python = folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted and _runs(python):
        return
    started = time.monotonic()
    _check_space(kind)
    if not _runs(python):
        shutil.rmtree(folder, ignore_errors=True)
        base = _find_python_or_explain(versions)
        print(f"setup: {folder.name} with {base}", flush=True)
        _new_venv(folder, base)
    _pip(str(python), [_pinned("pip")], "pip")  # the one that knows --group and build constraints
    obey = ["--constraint", str(CONSTRAINTS), "--build-constraint", str(CONSTRAINTS)]
    for number, (title, arguments) in enumerate(steps, start=1):
        print(f"setup: [{number}/{len(steps)}] {title} …", flush=True)
        _pip(str(python), [*arguments, *obey], title)
    stamp.write_text(wanted)  # last: an install that was cut off is done again
    print(f"setup: {folder.name} is ready ({time.monotonic() - started:.0f} s)", flush=True)


def _fingerprint(steps: list[tuple[str, list[str]]]) -> str:
    digest = hashlib.sha256(repr(steps).encode())
    for path in (PYPROJECT, CONSTRAINTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _runs(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", ""], capture_output=True).returncode == 0


def _check_space(kind: str) -> None:
    free_gib = shutil.disk_usage(ROOT).free / 2**30
    if free_gib < NEEDED_GIB[kind]:
        raise SetupError(
            f"{free_gib:.1f} GiB are free in {ROOT}; this environment needs about "
            f"{NEEDED_GIB[kind]:.0f} GiB.\n  Free some space and run the same command again."
        )


def _new_venv(folder: Path, base: str) -> str:
    made = subprocess.run([base, "-m", "venv", str(folder)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise SetupError(f"{base} -m venv failed:\n{made.stdout}{made.stderr}")
    return str(folder / "bin" / "python")


def _pip(python: str, arguments: list[str], title: str) -> None:
    """Install; on a terminal pip shows its own progress, in a log only what goes wrong."""
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *arguments]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise SetupError(
            f"pip could not install {title}; its own lines above say why.\n"
            f"  No network: a proxy or another package index is set in pip's own configuration.\n"
            f"  No matching distribution: PyTorch may have no build for this Python and platform\n"
            f"  ({platform.python_version()}, {platform.platform()}); Python 3.11 is the safest.\n"
            f"  Then run the same command again: it goes on where it stopped."
        )


def _pinned(package: str) -> str:
    found = re.search(rf"^{package}==\S+$", CONSTRAINTS.read_text(), re.MULTILINE)
    if not found:
        raise SetupError(f"{CONSTRAINTS} does not pin {package}; take the file from git again.")
    return found.group()


if __name__ == "__main__":
    sys.exit(main())
