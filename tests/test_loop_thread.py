"""loop_thread.py: a loop that runs beside everything else, and ends."""

from __future__ import annotations

import asyncio
import threading

from conduit_nb.loop_thread import LoopThread


async def _nothing() -> None:
    """Be the last work of a loop."""


def test_work_is_done_in_a_thread_of_its_own():
    thread = LoopThread()

    async def where() -> str:
        return threading.current_thread().name

    name = asyncio.run_coroutine_threadsafe(where(), thread.loop).result(10)
    thread.close(_nothing())

    assert name == "conduit"
    assert not thread.is_current()
    assert thread.loop.is_closed()


def test_what_is_under_way_is_cancelled_before_the_end():
    thread = LoopThread()
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def last() -> None:
        ended.append("last")

    asyncio.run_coroutine_threadsafe(wait(), thread.loop)
    thread.close(last())

    assert ended in (["cancelled", "last"], ["last"])  # it may not have begun
