"""runs/run.py: a run on the session's loop, asked from another thread, and its progress."""

from __future__ import annotations

import asyncio

import pytest

from conduit_nb.errors import Interrupted, ReplyError
from conduit_nb.events import Event, Notice, TokensUsed
from conduit_nb.runs import Progress, Run
from conduit_nb.session import Session
from tests.runs.echo import Echo, Word, words


def wait_until_waiting(session: Session, echo: Echo) -> None:
    session.submit(echo.waiting.acquire()).result(timeout=10)


def test_a_run_answers_every_row(session: Session):
    run = Run(session, Echo(), words("a", "bad"))

    run.start()

    assert run.wait(10)
    assert run.is_done
    assert not run.is_cancelled
    assert run.outcomes()[0] == Word("A")
    assert isinstance(run.outcomes()[1], ReplyError)
    now = run.progress.snapshot()
    assert (now.total, now.done, now.failed) == (2, 2, 1)


def test_a_cancelled_run_keeps_what_is_finished_and_nothing_of_it_goes_on(session: Session):
    echo = Echo()
    run = Run(session, echo, words("a", "wait", "c", "d"), window=2)
    run.start()
    wait_until_waiting(session, echo)
    while run.progress.snapshot().done < 3:
        run.wait(0.01)

    run.cancel()
    run.cancel()  # twice is fine

    assert run.is_cancelled
    assert run.wait(10)
    assert echo.cancelled == ["wait"]
    outcomes = run.outcomes()
    assert [outcomes[0], *outcomes[2:]] == words("A", "C", "D")
    assert isinstance(outcomes[1], Interrupted)


def test_a_run_that_was_cancelled_before_it_started_is_cancelled(session: Session):
    run = Run(session, Echo(), words("a"))

    run.cancel()

    assert run.is_cancelled
    assert isinstance(run.outcomes()[0], Interrupted)


def test_a_session_that_closes_ends_the_run(session: Session):
    echo = Echo()
    run = Run(session, echo, words("wait"))
    run.start()
    wait_until_waiting(session, echo)

    session.close()

    assert run.wait(10)
    assert run.is_cancelled


def test_tokens_are_those_of_this_run_alone_and_the_session_hears_of_all(session: Session):
    heard: list[Event] = []
    session.events.subscribe(heard.append)
    runs = [Run(session, Echo(), words(*texts)) for texts in ("abc", "d")]

    for run in runs:
        run.start()
    for run in runs:
        assert run.wait(10)

    assert [run.progress.snapshot().prompt_tokens for run in runs] == [6, 2]
    usage = [event for event in heard if isinstance(event, TokensUsed)]
    assert len(usage) == 4
    assert len({event.call for event in usage}) == 4


def test_callbacks_are_called_for_each_row_and_for_the_end_before_wait_returns(
    session: Session,
):
    calls: list[object] = []
    run = Run(session, Echo(), words("a", "bad", "c"))

    run.start(
        on_row=lambda: calls.append(run.progress.snapshot().done),
        when_ended=lambda: calls.append(run.is_done),
    )
    assert run.wait(10)

    assert (len(calls), calls[2], calls[3]) == (4, 3, False)


def test_a_display_that_fails_ends_no_row(session: Session):
    def fail() -> None:
        raise ZeroDivisionError

    run = Run(session, Echo(), words("a", "b"))
    run.start(on_row=fail)

    assert run.wait(10)
    assert run.outcomes() == words("A", "B")
    assert run.failure is None


def test_what_goes_wrong_with_the_run_itself_is_its_failure(session: Session):
    def fail() -> None:
        raise ZeroDivisionError

    run = Run(session, Echo(), words("a"))
    run.start(when_ended=fail)

    assert run.wait(10)
    assert isinstance(run.failure, ZeroDivisionError)
    assert run.outcomes() == words("A")


@pytest.mark.parametrize("change", ["clear", "reverse", "edit"])
def test_rows_that_change_while_they_wait_are_answered_as_they_were(session: Session, change: str):
    echo = Echo()
    rows = words("wait", "b", "c")
    run = Run(session, echo, rows, window=1)
    run.start()
    wait_until_waiting(session, echo)

    for row in rows:
        row.text = "changed" if change == "edit" else row.text
    getattr(rows, change, list[Word]().clear)()
    session.submit(_set(echo.go_on)).result(timeout=10)

    assert run.wait(10)
    assert run.outcomes() == words("WAIT", "B", "C")


async def test_a_run_is_awaited_on_another_loop_without_holding_it_up(session: Session):
    echo = Echo()
    run = Run(session, echo, words("wait"))
    run.start()
    waiting = asyncio.create_task(run.wait_async())
    await asyncio.sleep(0)
    assert not waiting.done()

    session.submit(_set(echo.go_on))
    await asyncio.wait_for(waiting, 10)

    assert run.outcomes() == words("WAIT")


async def test_abandoning_the_wait_stops_nothing(session: Session):
    echo = Echo()
    run = Run(session, echo, words("wait"))
    run.start()
    waiting = asyncio.create_task(run.wait_async())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    session.submit(_set(echo.go_on))
    await asyncio.wait_for(run.wait_async(), 10)

    assert not run.is_cancelled
    assert run.outcomes() == words("WAIT")


async def _set(event: asyncio.Event) -> None:
    event.set()


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
