"""notebook/receipts_line.py: receipts of maps that really ran."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from conduit_nb.errors import StorageError
from conduit_nb.runs.receipts import MIME, read_receipts
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer
from tests.runs.test_receipts import ONE

VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))


def test_a_map_leaves_its_receipt(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = pd.DataFrame({"text": ["good", "bad"]})
    cells.run(f"%%conduit map rows -o out --endpoint {server.url} --model some/model\n{VERDICT}")

    (receipt,) = cells.run("%conduit receipts")

    assert [receipt] == read_receipts()
    assert (receipt.model, receipt.rows, receipt.done, receipt.failed) == ("some/model", 2, 2, 0)
    assert receipt.prompt_tokens > 0
    assert receipt.usd is None  # nobody knows what a server of one's own costs
    assert not receipt.is_stopped


def test_a_map_in_the_background_leaves_one_too(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = pd.DataFrame({"text": ["good", "bad"]})
    handle = cells.run(f"%%conduit map rows -o out --background --endpoint {server.url}\n{VERDICT}")
    handle.result(30)

    (receipt,) = cells.run("%conduit receipts")
    assert receipt.done == 2


def test_a_notebooks_receipts_are_read_from_its_file(cells: Cells, tmp_path: Path):
    told = {name: getattr(ONE, name) for name in ONE.__dataclass_fields__}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"outputs": [{"data": {MIME: told}}]}]}))

    assert cells.run(f"%conduit receipts {path}") == [ONE]
    cells.fail(f"%conduit receipts {tmp_path / 'b.ipynb'}", StorageError)


def test_without_maps_there_is_nothing(cells: Cells):
    assert repr(cells.run("%conduit receipts")) == "No map has left a receipt yet."
