"""together.py: each of several things is seen to its end, and no failure hides another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError, BootError, PartlyFailedError
from conduit_nb.together import all_or_none, each, first_error


async def works(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def fails(error: BaseException) -> str:
    await asyncio.sleep(0)
    raise error


async def test_what_fails_stops_no_other_and_is_named_with_what_it_costs():
    outcome = await each({"a": works("1"), "b": fails(BootError("no", hint="h")), "c": works("3")})

    assert outcome.done == {"a": "1", "c": "3"}
    with pytest.raises(PartlyFailedError) as raised:
        outcome.require_done("Stopping all", usd_per_hour=0.5)
    error = raised.value
    assert (error.done, list(error.failures), error.usd_per_hour) == (("a", "c"), ["b"], 0.5)
    assert error.hint == "h"
    assert "1 of 3" in str(error)
    assert "$0.50/h" in str(error)


async def test_the_failure_of_an_only_thing_is_its_own_error():
    outcome = await each({"b": fails(BootError("no"))})

    with pytest.raises(BootError):
        outcome.require_done("Stopping b")


async def test_nothing_that_failed_raises_nothing():
    (await each({"a": works("1")})).require_done("Stopping a")


async def test_a_bug_is_raised_once_all_have_ended():
    ended: list[str] = []

    async def late() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        ended.append("late")
        return ""

    with pytest.raises(ZeroDivisionError):
        await each({"a": fails(ZeroDivisionError()), "b": late()})

    assert ended == ["late"]


async def test_an_interrupt_reaches_all_and_waits_for_their_ends():
    ended: list[str] = []

    async def held(name: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)
        return name

    task = asyncio.create_task(each({"a": held("a"), "b": held("b")}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sorted(ended) == ["a", "b"]


async def test_all_or_none_raises_the_error_itself_and_never_a_group():
    with pytest.raises(ArgumentError):
        await all_or_none(works("1"), fails(ArgumentError("no")))

    assert await all_or_none(works("1"), works("2")) == ["1", "2"]


def test_the_first_error_of_groups_in_groups_is_found():
    error = ArgumentError("no")

    assert first_error(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    assert first_error(error) is error


def test_no_group_of_exceptions_can_leave_the_package():
    package = Path(conduit_nb.__file__).parent
    bare = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "TaskGroup" in path.read_text() and path.name != "together.py"
    ]

    assert not bare, "use together.each or together.all_or_none: a TaskGroup raises groups"
