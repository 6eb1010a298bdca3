"""notebook/panel_line.py: `%conduit panel`, where nothing draws widgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session


def test_outside_a_notebook_it_is_a_table_of_what_runs(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with echo_session(tmp_path, monkeypatch):
        assert repr(cells.run("%conduit panel")) == "Nothing runs."
        cells.run("%conduit deploy m/one --runtime custom --image x --name mine")
        assert "mine" in repr(cells.run("%conduit panel owner/model"))
