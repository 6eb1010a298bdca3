"""deployments/starts.py: one start for all who wait, and none for nobody."""

from __future__ import annotations

import asyncio
import time

import pytest

from conduit_nb.blocks.host import begun
from conduit_nb.deployments.starts import Starts
from conduit_nb.errors import BootError
from conduit_nb.events import Events, Notice


class Server:
    """A start that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.go = asyncio.Event()

    async def start(self) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "up"


def asked(starts: Starts[str], server: Server, *, ends: bool = True) -> asyncio.Task[str]:
    return asyncio.create_task(starts.join("a", server.start, ends_unwanted=ends))


async def test_who_asks_meanwhile_gets_the_same_answer():
    starts, server = Starts[str](Events()), Server()
    tasks = [asked(starts, server) for _ in range(3)]
    await asyncio.sleep(0)
    server.go.set()

    assert await asyncio.gather(*tasks) == ["up"] * 3
    assert server.begun == 1


async def test_a_start_goes_on_while_one_still_wants_it():
    starts, server = Starts[str](Events()), Server()
    first, second = asked(starts, server), asked(starts, server)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    server.go.set()

    assert await second == "up"
    assert server.cancelled == 0


@pytest.mark.parametrize("ends", [True, False])
async def test_a_start_that_nobody_wants_ends_where_it_costs(ends: bool):
    events = Events()
    starts, server = Starts[str](events), Server()
    tasks = [asked(starts, server, ends=ends) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)

    assert server.cancelled == (1 if ends else 0)
    assert len(events.notices()) == (1 if ends else 0)
    assert all(isinstance(notice, Notice) for notice in events.notices())
    server.go.set()
    assert await asked(starts, server) == "up"


class Failing:
    """A start that fails, and counts how often it was tried."""

    def __init__(self) -> None:
        self.tried = 0

    async def start(self) -> str:
        self.tried += 1
        raise BootError("It does not boot.", hint="Look.")


async def test_a_failure_holds_for_a_moment_for_what_had_begun_before_it():
    starts, failing = Starts[str](Events()), Failing()

    with begun(time.monotonic()):
        for _ in range(3):
            with pytest.raises(BootError):
                await starts.join("a", failing.start, ends_unwanted=True)

    assert failing.tried == 1


async def test_what_begins_after_a_failure_tries_again_at_once():
    starts, failing = Starts[str](Events()), Failing()

    for _ in range(3):
        with begun(time.monotonic()), pytest.raises(BootError):
            await starts.join("a", failing.start, ends_unwanted=True)

    assert failing.tried == 3
