"""What a user sees of a map where the state's disk is full: two lines, and no stack of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small_disk import run_on_small_disk

pytestmark = pytest.mark.system  # a shell in a namespace of its own

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.needs("mount")
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_map_on_a_full_disk_says_so_in_two_lines(when: str, tmp_path: Path):
    state, data = tmp_path / "state", tmp_path / "data"
    done = run_on_small_disk(state, "1m", "tests.notebook.full_disk", when, state, data)

    told = json.loads(done.stdout.splitlines()[-1])
    assert "ExceptionGroup" not in done.stderr + told["shown"]
    assert "Traceback" not in done.stderr + told["shown"]
    assert len(told["shown"].splitlines()) <= 6
    assert "state folder: no" in told["doctor"]
    if when == "before":
        assert "StorageError: No space is left" in told["shown"]
        assert "CONDUIT_STATE_DIR" in told["shown"]
