"""runs/run.py: a run on the session's loop, asked from another thread."""

from __future__ import annotations

import asyncio

import pytest

from conduit_nb.errors import Interrupted, ReplyError
from conduit_nb.events import Event, TokensUsed
from conduit_nb.runs import Run
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
    told = [event for event in heard if isinstance(event, TokensUsed)]
    assert len(told) == 4
    assert len({event.call for event in told}) == 4


def test_callbacks_hear_of_each_row_and_of_the_end_before_the_wait_is_over(session: Session):
    told: list[object] = []
    run = Run(session, Echo(), words("a", "bad", "c"))

    run.start(
        on_row=lambda: told.append(run.progress.snapshot().done),
        when_ended=lambda: told.append(run.is_done),
    )
    assert run.wait(10)

    assert (len(told), told[2], told[3]) == (4, 3, False)


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
def test_rows_that_change_while_they_wait_are_asked_as_they_were(session: Session, change: str):
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
