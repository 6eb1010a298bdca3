"""scripts/test_gpu.py: what it does where there is no GPU, and that all it names is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def test_without_a_gpu_it_says_so_and_runs_nothing():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here: make test-gpu")

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "test_gpu.py"], capture_output=True, text=True
    )

    assert done.returncode == 3
    assert "torch sees no CUDA device" in done.stderr
    assert done.stdout == ""


def test_all_files_that_it_runs_are_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import test_gpu

    for name in test_gpu.EQUALITY:
        assert (ROOT / "tests" / "lmlite" / name).is_file()
    for name, *_ in test_gpu.BENCHMARKS:
        assert (ROOT / name).is_file()
