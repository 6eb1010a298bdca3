"""state/summary.py: what runs and what it costs, to be read in no time."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conduit_nb.state.summary import FILE_NAME, Summary, read_summary, write_summary

NOW = datetime(2026, 5, 6, tzinfo=UTC)
SUMMARY = Summary(
    deployments=1,
    nodes=2,
    usd_per_hour=0.42,
    spent_usd=1.26,
    written_at=NOW,
    next_end=NOW + timedelta(minutes=38),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    return tmp_path


def test_it_is_read_as_it_was_written_and_by_nobody_else(folder: Path):
    write_summary(SUMMARY)

    assert read_summary() == SUMMARY
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600


def test_what_was_spent_goes_on_at_the_rate_since():
    assert SUMMARY.spent_by(NOW + timedelta(minutes=30)) == pytest.approx(1.47)
    assert SUMMARY.spent_by(NOW - timedelta(hours=1)) == 1.26


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"written_at": 3}', "null"])
def test_a_file_that_cannot_be_read_is_none(folder: Path, text: str):
    assert read_summary() is None
    (folder / FILE_NAME).write_text(text)

    assert read_summary() is None
