"""runs/progress.py: counting, with the clock in the test's hand."""

from __future__ import annotations

from conduit_nb.errors import ReplyError
from conduit_nb.events import Notice, TokensUsed
from conduit_nb.runs import Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rows_errors_and_tokens_are_counted():
    clock = Clock()
    progress = Progress(4, clock=clock)
    clock.now += 2
    progress.on_row(0, object())
    progress.on_row(1, ReplyError("no"))
    progress.on_event(
        TokensUsed(block="b", call=1, model="m", prompt_tokens=30, completion_tokens=8)
    )
    progress.on_event(Notice(text="not for counting"))

    now = progress.snapshot()

    assert (now.total, now.done, now.failed) == (4, 2, 1)
    assert (now.prompt_tokens, now.completion_tokens, now.tokens_per_s) == (30, 8, 4.0)


def test_rate_and_time_left_are_unknown_until_a_row_has_ended():
    progress = Progress(4, clock=Clock())

    assert progress.snapshot().rows_per_s is None
    assert progress.snapshot().eta_s is None


def test_the_rate_is_that_of_late_so_that_a_slow_start_is_forgotten():
    clock = Clock()
    progress = Progress(1000, clock=clock)
    clock.now += 300  # a model loads
    for index in range(60):
        clock.now += 0.5
        progress.on_row(index, object())

    now = progress.snapshot()

    assert now.rows_per_s == 2.0
    assert now.eta_s == 940 / 2.0


def test_a_run_that_has_ended_has_the_rate_of_the_whole_and_no_clock():
    clock = Clock()
    progress = Progress(10, clock=clock)
    for index in range(10):
        clock.now += 4
        progress.on_row(index, object())
    progress.end()
    clock.now += 1000

    now = progress.snapshot()

    assert (now.elapsed_s, now.rows_per_s, now.eta_s) == (40.0, 0.25, 0.0)


def test_a_pause_longer_than_the_window_leaves_the_rate_of_the_whole():
    clock = Clock()
    progress = Progress(10, clock=clock)
    clock.now += 1
    progress.on_row(0, object())
    clock.now += 99

    assert progress.snapshot().rows_per_s == 0.01


def test_the_speed_counts_from_the_moment_when_the_model_was_ready():
    clock = Clock()
    progress = Progress(10, clock=clock)
    clock.now += 20
    progress.ready()
    clock.now += 2
    progress.on_row(0, object())
    progress.ready()  # of another map's model: this one answers already

    now = progress.snapshot()

    assert (now.rows_per_s, now.eta_s, now.start_s, now.elapsed_s) == (0.5, 18.0, 20.0, 22.0)


def test_a_row_that_failed_at_once_is_no_sign_of_speed():
    clock = Clock()
    progress = Progress(10, clock=clock)
    clock.now += 0.1
    progress.on_row(0, ReplyError("no"))
    assert progress.snapshot().eta_s is None

    clock.now += 1.9
    progress.on_row(1, object())
    assert progress.snapshot().rows_per_s == 0.5
