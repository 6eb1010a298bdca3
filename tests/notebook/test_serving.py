"""notebook/serving.py: who answered the rows of a map, asked of a real process."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from conduit_nb.notebook.display import Line
from conduit_nb.notebook.serving import ReceiptView, receipt_rows
from conduit_nb.runs.receipts import MIME, read_receipts
from conduit_nb.session import Session
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session
from tests.runs.test_receipts import ONE

ECHO = "class Echo:\n    said: str\n"


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.mark.parametrize(
    ("line", "runtime"), [("", "lmlite"), ("--runtime custom --image x", "custom")]
)
def test_a_receipt_says_who_answered(cells: Cells, session: Session, line: str, runtime: str):
    cells.names["rows"] = pd.DataFrame({"text": ["one", "two"]})
    cells._run(f"%%conduit map rows -o out --model m/one {line}\n{ECHO}")  # the echo fits or not

    (receipt,) = read_receipts()
    (running,) = session.wait(session.deployments.ps())
    assert receipt.runtime == runtime
    assert receipt.provider == "local"
    assert receipt.deployment == running.name
    assert receipt.usd == 0.0
    assert receipt.device


def test_the_notebook_gets_line_table_json_and_metadata():
    data, metadata = ReceiptView(ONE, Line("done"))._repr_mimebundle_()

    assert data["text/plain"] == "done"
    assert "<details>" in data["text/html"]
    assert "L4" in data["text/html"]
    assert data[MIME] == dataclasses.asdict(ONE)
    assert metadata["conduit"]["receipt"] == dataclasses.asdict(ONE)


def test_what_others_wrote_is_escaped():
    hostile = dataclasses.replace(ONE, model="<script>x</script>", device="<img onerror=x>")

    data, _ = ReceiptView(hostile, Line("<b>"))._repr_mimebundle_()

    for tag in ("<script", "<img", "<b>"):
        assert tag not in data["text/html"]


def test_what_nobody_knows_is_not_told_as_nothing():
    rows = dict(receipt_rows(dataclasses.replace(ONE, usd=None, device=None)))

    assert rows["dollars"] == "not known"
    assert rows["on"] == "not known"
