"""runs/run.py, `run_rows`: order, window, errors in their places."""

from __future__ import annotations

import asyncio

import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.errors import (
    ArgumentError,
    BootError,
    ConduitError,
    ContextLengthError,
    ReplyError,
)
from conduit_nb.runs import run_rows
from conduit_nb.session import Session
from tests.runs.echo import Echo, Word, words


@pytest.fixture(autouse=True)
def host(session: Session):
    with use_host(session):
        yield


async def test_outcomes_stand_in_the_order_of_the_rows_whoever_ends_first():
    echo = Echo()
    rows = words("wait", "b", "c")
    ended = asyncio.Semaphore(0)
    running = asyncio.create_task(run_rows(echo, rows, on_row=lambda *_: ended.release()))
    await ended.acquire()
    await ended.acquire()  # b and c have ended
    echo.go_on.set()

    assert await running == words("WAIT", "B", "C")


async def test_what_goes_wrong_for_one_row_is_the_error_in_its_place():
    outcomes = await run_rows(Echo(), words("a", "bad", "long", "c"))

    assert [type(outcome) for outcome in outcomes] == [Word, ReplyError, ContextLengthError, Word]


async def test_a_row_that_is_an_error_already_is_returned_as_it_is():
    echo, error = Echo(), ReplyError("no row")
    outcomes = await run_rows(echo, [*words("a"), error, *words("b")])

    assert outcomes == [Word("A"), error, Word("B")]
    assert echo.begun == ["a", "b"]


async def test_no_more_rows_than_the_window_are_in_flight():
    echo = Echo()

    outcomes = await run_rows(echo, words(*"abcdefghij"), window=3)

    assert outcomes == words(*"ABCDEFGHIJ")
    assert echo.max_at_once == 3


async def test_rows_are_not_begun_once_one_has_shown_that_none_can_succeed():
    echo = Echo()

    outcomes = await run_rows(echo, words("a", "no server", *"bcdefgh"), window=2)

    assert outcomes[0] == Word("A")
    assert isinstance(outcomes[1], BootError)
    assert all(outcome is outcomes[1] for outcome in outcomes[4:])
    assert len(echo.begun) < 9


async def test_a_row_that_is_too_long_condemns_no_other():
    outcomes = await run_rows(Echo(), words("long", "a", "b"), window=1)

    assert outcomes[1:] == words("A", "B")


async def test_each_row_is_reported_once_as_it_ends():
    reported: list[tuple[int, Word | ConduitError]] = []

    outcomes = await run_rows(
        Echo(),
        words("a", "bad", "c"),
        on_row=lambda index, outcome: reported.append((index, outcome)),
    )

    assert sorted(index for index, _ in reported) == [0, 1, 2]
    assert all(outcomes[index] is outcome for index, outcome in reported)


async def test_cancellation_ends_rows_in_flight_and_begins_no_other():
    echo, reported = Echo(), list[int]()
    running = asyncio.create_task(
        run_rows(
            echo,
            words("a", "wait1", "wait2", "d"),
            window=2,
            on_row=lambda index, _: reported.append(index),
        )
    )
    await echo.waiting.acquire()
    await echo.waiting.acquire()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert reported == [0]
    assert sorted(echo.cancelled) == ["wait1", "wait2"]
    assert "d" not in echo.begun


async def test_no_rows_are_no_work():
    assert await run_rows(Echo(), []) == []


async def test_a_window_below_one_is_refused():
    with pytest.raises(ArgumentError) as caught:
        await run_rows(Echo(), words("a"), window=0)
    assert caught.value.param == "window"


@pytest.mark.parametrize("change", ["clear", "reverse", "edit"])
async def test_rows_that_change_while_they_wait_are_answered_as_they_were(change: str):
    echo = Echo()
    rows = words("wait", "b", "c")
    running = asyncio.create_task(run_rows(echo, rows, window=1))
    for row in rows:
        row.text = "changed" if change == "edit" else row.text
    getattr(rows, change, list[Word]().clear)()
    echo.go_on.set()

    assert await running == words("WAIT", "B", "C")


async def test_a_row_that_raises_anything_is_an_error_in_its_place():
    class Asks:
        async def run(self, record: Word) -> Word:
            if record.text == "bad":
                raise ZeroDivisionError("by nothing")
            return record

    outcomes = await run_rows(Asks(), words("a", "bad", "c"))

    assert [getattr(outcome, "code", None) for outcome in outcomes] == [None, "block", None]
