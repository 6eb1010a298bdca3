"""What is kept of a benchmark: a line of JSON for each figure, with what it was measured on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

FOLDER = Path(__file__).parents[1] / "results"
PACKAGES = ("torch", "transformers", "llguidance")


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Return the least, the median and the greatest of interleaved runs."""
    return {
        "ratio_min": round(min(ratios), 3),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }


def append(file: str, **figures: Any) -> None:
    """Append a line to `benchmarks/results/{file}.jsonl`."""
    FOLDER.mkdir(exist_ok=True)
    line = {**figures, **_context()}
    with (FOLDER / f"{file}.jsonl").open("a") as out:
        out.write(json.dumps(line) + "\n")


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time that a program and all it started have taken."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def memory_gib(process: psutil.Process) -> float:
    """Return the resident memory of a program; what it shares with others counts in part."""
    family = (process, *process.children(recursive=True))
    return sum(one.memory_full_info().pss for one in family) / 2**30


def _context() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": {
            "cpu": _cpu(),
            "cores": psutil.cpu_count(logical=False),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "load": round(os.getloadavg()[0], 1),
        },
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=FOLDER.parent,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
