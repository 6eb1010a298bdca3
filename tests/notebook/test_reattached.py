"""notebook/reattached.py: one line on what runs, or none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.notebook.reattached import reattached_line, reattached_text
from conduit_nb.state.summary import FILE_NAME, Summary, write_summary

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)


def summary_of(deployments: int = 1, *, ends_in: timedelta | None, age_h: float = 0.0) -> Summary:
    return Summary(
        deployments=deployments,
        nodes=deployments,
        usd_per_hour=0.42,
        spent_usd=1.05,
        written_at=NOW - timedelta(hours=age_h),
        next_end=None if ends_in is None else NOW + ends_in,
    )


def test_one_deployment_says_its_rate_its_cost_and_its_end():
    text = reattached_text(summary_of(ends_in=timedelta(minutes=38)), NOW)

    assert text == "Re-attached: 1 deployment, $0.42/h, $1.05 so far, stops in 38 min"


def test_an_old_summary_goes_on_counting_and_says_its_age():
    text = reattached_text(summary_of(2, ends_in=timedelta(hours=3), age_h=0.5), NOW)

    assert text == (
        "Re-attached: 2 deployments, $0.42/h, $1.26 so far, the first stops in 3 h 00 min"
        " (as of 30 min ago)"
    )


def test_a_lease_that_is_over_is_not_told_as_time_that_is_left():
    text = reattached_text(summary_of(ends_in=timedelta(minutes=-5)), NOW)

    assert "a lease is over: see %conduit ps" in text


def test_nothing_is_said_where_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))

    assert reattached_text(summary_of(0, ends_in=None), NOW) == ""
    assert reattached_line() == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"deployments": "<b>"}'])
def test_a_broken_summary_does_not_keep_the_extension_from_loading(
    content: bytes,
    shell: InteractiveShell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    (tmp_path / FILE_NAME).write_bytes(content)

    shell.run_line_magic("load_ext", "conduit_nb")

    assert "Re-attached" not in capsys.readouterr().out


def test_loading_the_extension_says_the_line_once(
    shell: InteractiveShell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    write_summary(summary_of(ends_in=None))

    shell.run_line_magic("load_ext", "conduit_nb")

    assert capsys.readouterr().out.count("Re-attached: 1 deployment, $0.42/h") == 1
