"""scripts/journeys.py: a run for real, and what it prints of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MADE: dict[str, Any] = {
    "files": {"notebook/magics.py": 3},
    "functions": 3,
    "calls": 9,
    "hops": 2,
    "handed_over": {"call_soon_threadsafe": 1, "back to who waits": 1},
    "thread_changes": 2,
    "path": [["MainThread", "notebook/magics.py:load"]],
    "imported": [],
    "other_calls": 0,
}


@pytest.mark.system
@pytest.mark.model
@pytest.mark.slow  # a kernel, a model server beside it and one in a pod
def test_three_journeys_are_counted_for_real(tmp_path: Path):
    path = tmp_path / "report.json"

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "journeys.py", "--files", "--json", path],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    journeys = json.loads(path.read_text())["journeys"]
    assert list(journeys) == ["map", "deploy", "click"]
    for name, journey in journeys.items():
        assert journey["imported"] == []
        assert journey["calls"] > journey["functions"] > len(journey["files"]) > 1
        assert all((ROOT / "conduit_nb" / file).is_file() for file in journey["files"])
        assert not [file for file in journey["files"] if file.startswith("testing/")]
        assert f"| {name} | {len(journey['files'])} | {journey['functions']} |" in done.stdout
    assert journeys["click"]["path"][0][0] == "MainThread"  # where a kernel takes messages
    assert journeys["click"]["hops"] >= 1
    providers = {
        name: any("runpod" in file for file in journey["files"])
        for name, journey in journeys.items()
    }
    assert providers == {"map": False, "deploy": True, "click": True}


def test_the_report_is_a_section_with_a_column_for_each_journey(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import journeys

    report: dict[str, Any] = {"date": "2026-12-01", "title": "now", "commit": "c", "python": "3.11"}
    click = {**MADE, "files": {"session.py": 2}, "imported": ["late.py:<module>"]}
    report["journeys"] = {"map": MADE, "click": click}

    text = journeys.as_markdown(report, with_files=True)

    assert text.startswith("## 2026-12-01: now\n")
    assert "| map | 1 | 3 | 9 | 2 | 2 | 0 |" in text
    assert "MainThread  notebook/magics.py:load" in text
    assert "Imported meanwhile: late.py:<module>." in text
    assert "| notebook/magics.py | 3 |  |\n| session.py |  | 2 |" in text
    assert "| session.py" not in journeys.as_markdown(report, with_files=False)
