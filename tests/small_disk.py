"""A disk of its own, small enough to fill, for a Python module that a test runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_on_small_disk(
    folder: Path, size: str, module: str, *words: object
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module words…` with a file system of `size` ("1m") mounted at `folder`."""
    folder.mkdir()
    told = " ".join(map(str, words))
    script = f"mount -t tmpfs -o size={size} tmpfs {folder} && {sys.executable} -m {module} {told}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
