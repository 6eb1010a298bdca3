"""notebook/serving.py: who answered the rows of a map, asked of a real process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from conduit_nb.runs.receipts import read_receipts
from conduit_nb.session import Session
from tests.notebook.conftest import Cells
from tests.notebook.fleet_session import fleet_session

ECHO = "class Echo:\n    said: str\n"


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with fleet_session(tmp_path, monkeypatch) as session:
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
