"""lmlite/activity.py: when a server is idle."""

from __future__ import annotations

import asyncio

from conduit_nb.lmlite.activity import Activity


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_idle_time_counts_from_the_end_of_the_last_request():
    clock = Clock()
    activity = Activity(clock)
    with activity.request():
        clock.now = 100.0
        assert (activity.requests, activity.idle_s) == (1, 0.0)
    clock.now = 107.0

    assert (activity.requests, activity.idle_s) == (0, 7.0)


async def test_a_server_without_requests_is_idle_from_its_start():
    clock = Clock()
    activity = Activity(clock)
    clock.now = 10.0

    await asyncio.wait_for(activity.until_idle(10.0), 5)


async def test_a_request_puts_the_end_off():
    clock = Clock()
    activity = Activity(clock)
    with activity.request():
        clock.now = 50.0
        waiting = asyncio.create_task(activity.until_idle(10.0))
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.sleep(0)
    clock.now = 60.0
    waiting.cancel()

    await asyncio.wait_for(activity.until_idle(10.0), 5)


async def test_quiet_is_when_the_last_of_several_requests_ends():
    activity = Activity()
    with activity.request():
        with activity.request():
            waiting = asyncio.create_task(activity.until_quiet())
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()

    await asyncio.wait_for(waiting, 5)
