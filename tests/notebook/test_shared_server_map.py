"""Maps through the real shared server with the embedded model: nothing lost, nothing hangs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pandas as pd
import psutil
import pytest

pytest.importorskip("torch")

import conduit_nb
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import RunError
from conduit_nb.events import BlockFinished, Event
from conduit_nb.session import process_session
from tests.notebook.conftest import Cells

pytestmark = [pytest.mark.model, pytest.mark.slow]  # the real model writes many rows

IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
TICKET = """
class Level(Enum):
    LOW = "low"
    HIGH = "high"

class Ticket:
    '''Sort the message that a customer sent.'''
    topic: Literal["bill", "delivery", "other"]
    level: Level
    days: Annotated[int, Range(ge=0, le=30)]
    is_angry: bool
"""
LETTER = """
class Letter:
    '''Answer the customer at length.'''
    answer: str
    is_polite: bool
"""
TEXTS = [
    "My parcel is two days late and nobody answers.",
    "You charged me twice!",
    "Thank you, all is well.",
    "Where can I change my address?",
]


@pytest.fixture(scope="module", autouse=True)
def _server_ends() -> Iterator[None]:
    yield
    conduit_nb.terminate("all")
    process_session().close()


@pytest.fixture
def rows(cells: Cells) -> pd.DataFrame:
    frame = pd.DataFrame({"text": [f"{n}. {TEXTS[n % 4]}" for n in range(200)]})
    cells.names["rows"] = frame
    return frame


def test_many_rows_are_valid_records_or_honest_errors_in_order(cells: Cells, rows: pd.DataFrame):
    cells.names["many"] = many = rows.head(200 if IS_SOAK else 36)

    cells.run(f"%%conduit map many -o out --max-errors 200\n{TICKET}")

    out = cells.names["out"]
    assert list(out["text"]) == list(many["text"])
    valid = out["error"].isna()
    assert list(conduit_nb.errors(out).index) == list(out.index[~valid])
    assert out.loc[valid, ["topic", "level", "days", "is_angry"]].notna().all(axis=None)
    assert out.loc[~valid, ["topic", "level", "days", "is_angry"]].isna().all(axis=None)
    assert out.loc[valid, "days"].between(0, 30).all()
    assert valid.mean() >= 0.95, out["error"][~valid].map(repr).to_list()


def test_rows_can_be_sorted_by_how_sure_the_model_is(cells: Cells, rows: pd.DataFrame):
    cells.names["few"] = rows.head(8)

    cells.run(f"%%conduit map few -o out --confidence --max-tokens 60\n{TICKET}")

    out = cells.names["out"]
    columns = ["topic_confidence", "level_confidence", "is_angry_confidence"]
    assert [name for name in out.columns if name.endswith("_confidence")] == columns
    assert ((out[columns] > 0) & (out[columns] <= 1)).all(axis=None)
    assert out["topic_confidence"].nunique() > 1


def test_records_that_run_out_of_tokens_are_whole_and_marked(cells: Cells, rows: pd.DataFrame):
    cells.names["few"] = rows.head(8)

    cells.run(f"%%conduit map few -o out --on-length keep --max-tokens 24\n{LETTER}")

    out = cells.names["out"]
    assert out["truncated"].any()
    assert out["error"].isna().all()
    assert out["is_polite"].notna().all()
    assert out.loc[out["truncated"], "answer"].str.len().gt(10).all()


def test_a_shared_server_killed_in_the_middle_of_a_map_ends_in_records_or_errors(
    cells: Cells, rows: pd.DataFrame
):
    process_session().submit(process_session().endpoint(DeploymentRequest())).result(120)
    [server] = conduit_nb.ps()
    killed = psutil.Process(server.pid)
    finished: list[Event] = []

    def kill_after_ten(event: Event) -> None:
        if isinstance(event, BlockFinished):
            finished.append(event)
            if len(finished) == 10:
                killed.kill()

    unsubscribe = process_session().events.subscribe(kill_after_ten)
    cells.run(f"%%conduit map rows.head(36) -o out --max-errors 50\n{TICKET}")
    unsubscribe()

    out = cells.names["out"]
    assert list(out["text"]) == list(rows["text"][:36])
    valid = out["error"].isna()
    assert (valid == out["topic"].notna()).all()
    assert list(conduit_nb.errors(out).index) == list(out.index[~valid])
    assert valid.sum() >= 10
    killed.wait(timeout=10)
    assert len(conduit_nb.ps()) <= 1


def test_a_row_of_ten_megabytes_is_its_own_error_and_no_other_rows(cells: Cells):
    cells.names["rows"] = [{"text": "word " * 2_000_000}, {"text": TEXTS[1]}]

    cells.run(f"%%conduit map rows -o out\n{TICKET}")

    out = cells.names["out"]
    assert list(out["error"].isna()) == [False, True]
    assert out["error_code"][0] == "context_length"


def test_a_model_that_does_not_exist_fails_the_cell_with_what_there_is(cells: Cells):
    cells.names["rows"] = [{"text": text} for text in TEXTS]

    error = cells.fail(f"%%conduit map rows -o out --model no/such-model\n{TICKET}", RunError)

    assert re.search(r"\b4\b.*\b4\b.*\bModelNotFoundError: .*no/such-model", str(error))
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in error.hint
    assert len(cells.names["out"]) == 4


def test_the_words_show_the_shared_server_and_stop_it(cells: Cells):
    cells.names["rows"] = [{"text": TEXTS[0]}]
    cells.run(f"%%conduit map rows -o out\n{TICKET}")

    [info] = cells.run("%conduit ps")
    assert info.status == "running"
    process = psutil.Process(info.pid)
    assert "SmolLM2" in repr(cells.run("%conduit models"))
    cells.run("%conduit logs --tail 3")
    assert len(cells.stdout.splitlines()) == 3
    cells.run(f"%conduit logs {info.name} --tail 1")
    assert "no-such" in str(cells.fail("%conduit logs no-such"))
    assert "no-such" in str(cells.fail("%conduit stop no-such"))

    [stopped] = cells.run("%conduit stop")
    assert (stopped.name, stopped.status) == (info.name, "stopped")
    assert cells.run("%conduit ps") == []
    assert repr(cells.run("%conduit stop all")) == "Nothing ran."
    process.wait(timeout=10)
