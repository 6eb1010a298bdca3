"""notebook/preflight.py: what a map will take, before it starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from conduit_nb.errors import SpendCapError
from conduit_nb.notebook.preflight import READS_PER_WRITE, Preflight
from conduit_nb.runs.receipts import keep_receipt, read_receipts
from conduit_nb.session import Session
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import PricedProvider, echo_session
from tests.notebook.openai_server import OpenAIServer
from tests.runs.test_receipts import ONE

VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"
SAID = Preflight(
    rows=1240,
    prompt_tokens=250_000,
    completion_tokens=61_234,
    seconds=180.0,
    usd=0.11,
    place="an L4",
    basis="an estimate from sizes",
)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def rows(cells: Cells) -> pd.DataFrame:
    frame = pd.DataFrame({"text": ["good one", "bad one"] * 50})
    cells.names["rows"] = frame
    return frame


def test_it_says_rows_tokens_seconds_and_dollars():
    assert repr(SAID) == (
        "1,240 rows, about 310k tokens, 3 min 00 s on an L4, $0.11 (an estimate from sizes)"
    )


def test_what_nobody_knows_is_said_to_be_unknown():
    said = dataclasses.replace(SAID, seconds=None, usd=None)

    assert "time not known on an L4, dollars not known" in repr(said)
    assert "$0.42/h" in repr(dataclasses.replace(said, usd_per_hour=0.42))


def test_a_dry_run_asks_nobody_and_binds_nothing(
    cells: Cells, rows: pd.DataFrame, server: OpenAIServer
):
    said = cells.run(f"%%conduit map rows -o out --dry-run --endpoint {server.url}\n{VERDICT}")

    assert (said.rows, said.seconds, said.usd) == (len(rows), None, None)
    assert said.prompt_tokens > 100 * 10
    assert 100 < said.completion_tokens < 2000
    assert "out" not in cells.names
    assert server.requests == []
    assert read_receipts() == []


def test_a_map_says_it_and_starts(cells: Cells, rows: pd.DataFrame, server: OpenAIServer):
    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    assert f"{len(rows)} rows, about" in cells.stderr
    assert "out" in cells.names


class TestOnADeployment:
    """Where nodes are rented, at a price, or seem to be."""

    @pytest.fixture(autouse=True)
    def session(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
        with echo_session(tmp_path, monkeypatch) as session:
            yield session

    LINE = "%%conduit map rows -o out --model m/one --runtime custom --image x"

    def test_a_quote_starts_nothing(self, cells: Cells, rows: pd.DataFrame, session: Session):
        said = cells.run(f"{self.LINE} --dry-run\n{VERDICT}")

        assert said.usd == 0.0
        assert session.wait(session.deployments.ps()) == []

    def test_the_last_such_map_tells_the_time(
        self, cells: Cells, rows: pd.DataFrame, session: Session
    ):
        keep_receipt(dataclasses.replace(ONE, provider="local", failed=0, seconds=3.0))
        said = cells.run(f"{self.LINE} --dry-run\n{VERDICT}")

        work = said.completion_tokens + said.prompt_tokens / READS_PER_WRITE
        before = ONE.completion_tokens + ONE.prompt_tokens / READS_PER_WRITE
        assert said.seconds == pytest.approx(3.0 / before * work)
        assert said.basis == "at the last map's speed"

    def test_the_start_of_a_server_is_no_part_of_its_speed(
        self, cells: Cells, rows: pd.DataFrame, session: Session
    ):
        keep_receipt(dataclasses.replace(ONE, provider="local", failed=0, seconds=3.0))
        slow = cells.run(f"{self.LINE} --dry-run\n{VERDICT}")
        started = dataclasses.replace(ONE, provider="local", failed=0, seconds=9.0)
        keep_receipt(dataclasses.replace(started, start_seconds=6.0))

        assert cells.run(f"{self.LINE} --dry-run\n{VERDICT}").seconds == slow.seconds

    @pytest.mark.parametrize(
        "what",
        [
            {"is_stopped": True, "done": 1, "rows": 400},
            {"is_stopped": True},
            {"done": 400, "rows": 400, "failed": 400},
            {"done": 400, "rows": 400, "failed": 100},
            {"done": 1, "rows": 400},
            {"done": 0, "rows": 0},
        ],
    )
    def test_a_map_that_was_stopped_or_failed_teaches_nothing(
        self, cells: Cells, rows: pd.DataFrame, session: Session, what: dict[str, int]
    ):
        keep_receipt(dataclasses.replace(ONE, provider="local", failed=0, seconds=3.0))
        before = cells.run(f"{self.LINE} --dry-run\n{VERDICT}")
        slow = dataclasses.replace(ONE, provider="local", failed=0, seconds=9000.0)
        keep_receipt(dataclasses.replace(slow, **what))

        assert cells.run(f"{self.LINE} --dry-run\n{VERDICT}").seconds == before.seconds


class TestAtAPrice:
    """Where a node costs half a dollar an hour."""

    LINE = TestOnADeployment.LINE

    @pytest.fixture(autouse=True)
    def session(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
        provider = PricedProvider(0.5)
        with echo_session(tmp_path, monkeypatch, provider=provider) as session:
            yield session

    def test_the_boot_is_in_the_dollars(self, cells: Cells, rows: pd.DataFrame):
        keep_receipt(dataclasses.replace(ONE, provider="local", failed=0, seconds=3.0))
        said = cells.run(f"{self.LINE} --dry-run\n{VERDICT}")

        assert said.boots
        assert said.seconds > 180
        assert said.usd == pytest.approx(0.5 * said.seconds / 3600)

    def test_a_map_above_what_is_left_does_not_begin(
        self, cells: Cells, rows: pd.DataFrame, session: Session
    ):
        keep_receipt(dataclasses.replace(ONE, provider="local", failed=0, seconds=3.0))

        error = cells.fail(f"{self.LINE} --max-usd 0.01\n{VERDICT}", SpendCapError)

        assert "--max-usd" in error.hint
        assert session.wait(session.deployments.ps()) == []
        assert "out" not in cells.names

    def test_what_a_map_spends_is_on_its_receipt(self, cells: Cells, rows: pd.DataFrame):
        cells._run(f"{self.LINE}\nclass Echo:\n    said: str\n")  # the echo fits or not

        (receipt,) = read_receipts()
        assert receipt.usd == pytest.approx(0.5 * receipt.seconds / 3600, rel=0.01)
        assert f"{len(rows)} rows" in cells.stderr


def test_rows_that_the_context_does_not_hold_are_counted_and_cost_nothing(
    cells: Cells, server: OpenAIServer
):
    cells.shell.push({"short": pd.DataFrame({"text": ["ok"]})})
    cells.shell.push({"both": pd.DataFrame({"text": ["ok", "long " * 50_000]})})
    line = f"--endpoint {server.url} --model m/one --max-model-len 2000 --dry-run"
    short = cells.run(f"%%conduit map short {line}\n{VERDICT}")
    both = cells.run(f"%%conduit map both {line}\n{VERDICT}")

    assert (short.rows, both.rows) == (1, 2)
    assert both.prompt_tokens == short.prompt_tokens
