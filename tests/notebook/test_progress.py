"""notebook/progress.py: one line in a notebook, a terminal, a log."""

from __future__ import annotations

import io

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.notebook.notices import Throttle
from conduit_nb.notebook.progress import (
    LogProgress,
    ProgressLine,
    TerminalProgress,
    duration,
    progress_text,
    progress_view,
    summary_text,
)
from conduit_nb.runs import Snapshot


def snapshot(
    done: int = 0,
    failed: int = 0,
    *,
    elapsed_s: float = 4.0,
    rows_per_s: float | None = None,
    eta_s: float | None = None,
    completion_tokens: int = 0,
) -> Snapshot:
    return Snapshot(
        total=1200,
        done=done,
        failed=failed,
        prompt_tokens=10 * completion_tokens,
        completion_tokens=completion_tokens,
        elapsed_s=elapsed_s,
        rows_per_s=rows_per_s,
        eta_s=eta_s,
    )


def test_before_the_first_row_it_says_that_it_starts():
    assert progress_text(snapshot(), "A -> B") == "A -> B: 0 of 1,200 rows, starting, 4.0 s so far"


def test_under_way_it_says_rate_tokens_time_left_and_errors():
    now = snapshot(30, 2, rows_per_s=7.5, eta_s=156, completion_tokens=8000)

    assert (
        progress_text(now, "A -> B")
        == "A -> B: 30 of 1,200 rows, 7.5 rows/s, 2,000 tokens/s, 2 min 36 s left, 2 errors"
    )


def test_at_the_end_it_says_what_it_took():
    now = snapshot(1200, 1, elapsed_s=160, rows_per_s=7.5, eta_s=0, completion_tokens=8000)

    assert summary_text(now, "A -> B") == (
        "A -> B: 1,200 of 1,200 rows in 2 min 40 s, 7.5 rows/s, "
        "80,000 tokens read, 8,000 written, 1 error"
    )
    assert summary_text(snapshot(1200), "A").endswith("no errors")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (61, "61 s"), (125, "2 min 05 s"), (7260, "2 h 01 min")],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, said: str):
    assert duration(seconds) == said


def test_a_terminals_line_is_written_over_and_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    view = TerminalProgress("Review -> Verdict", stream)

    view.update(snapshot())
    view.finish(snapshot(), "short")

    first, second = stream.getvalue().split("\r")[1:]
    assert len(first) == 39
    assert first.endswith("…")
    assert second == "short".ljust(39) + "\n"


def test_a_log_gets_few_whole_lines():
    stream = io.StringIO()
    view = LogProgress("A", stream)

    for _ in range(1000):
        view.update(snapshot())
    view.finish(snapshot(), "done \x1b[31m")

    assert stream.getvalue() == "done \ufffd[31m\n"


def test_a_line_in_a_notebook_has_a_bar_with_a_name_and_escaped_text():
    line = ProgressLine(snapshot(30), "<b>A</b>: 30")

    html = line._repr_mimebundle_()["text/html"]

    assert '<progress max="1200" value="30" aria-label="rows done"></progress>' in html
    assert "&lt;b&gt;A&lt;/b&gt;: 30" in html
    assert repr(line) == "<b>A</b>: 30"


def test_a_throttle_lets_through_one_in_a_while():
    now = [0.0]
    throttle = Throttle(10, first=False, clock=lambda: now[0])
    due: list[float] = []
    for second in range(25):
        now[0] = second
        if throttle.is_due():
            due.append(second)

    assert due == [10, 20]
    assert Throttle(10, clock=lambda: now[0]).is_due()


def test_a_shell_that_is_no_kernel_and_no_terminal_gets_a_log(shell: InteractiveShell):
    assert isinstance(progress_view(shell, "A"), LogProgress)  # type: ignore[arg-type]  # IPython's types are partial
