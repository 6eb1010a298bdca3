"""What a user sees of a map where the state's disk is full: the error and its hint alone."""

from __future__ import annotations

import errno
import json
import os
import re
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
    assert "state folder: no" in told["doctor"]
    error, hint = told["error_lines"]
    assert told["shown"].endswith(f"{error}\n{hint}\n")
    if when == "before":
        full = os.strerror(errno.ENOSPC)
        assert re.search(rf"StorageError: .*{re.escape(str(state))}.*{full}", error)
        assert "CONDUIT_STATE_DIR" in hint
    else:  # the server ran before and answers: what it says does not fit, but that needs no disk
        assert "StorageError" in error or told["out_rows"] == 200
