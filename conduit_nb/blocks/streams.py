"""An asynchronous stream on the host's loop, read by a thread that may block.

Layer 3.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

from conduit_nb.blocks.base import would_wait_for_itself
from conduit_nb.blocks.host import LOOK_EVERY_S, Host, Running
from conduit_nb.errors import Interrupted

T = TypeVar("T")


def iterate(host: Host, source: AsyncGenerator[T]) -> Iterator[T]:
    """Yield what `source` yields, which is never None; it begins at the first item asked for.

    Closing the iterator, or an interrupt, cancels the source.
    """
    if host.is_loop_thread():
        raise would_wait_for_itself()
    items: queue.SimpleQueue[T | None] = queue.SimpleQueue()

    async def pump() -> None:
        async with contextlib.aclosing(source):
            async for item in source:
                items.put(item)

    running = Running()
    try:
        future = host.submit(running.carry_out(pump))
        future.add_done_callback(lambda _: items.put(None))
        while (item := _next(items)) is not None:
            yield item
        future.result()
    except concurrent.futures.CancelledError as error:
        raise Interrupted("The session ended before the answer was whole.") from error
    finally:
        running.cancel()


def _next(items: queue.SimpleQueue[T]) -> T:
    """Return the next item; never sleep for long, for the reason that `result_of` gives."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=LOOK_EVERY_S)
