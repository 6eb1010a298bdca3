"""An asynchronous stream on the host's loop, read by a thread that may block.

Layer 3.
"""

from __future__ import annotations

import concurrent.futures
import queue
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TypeVar

from conduit_nb.blocks.base import would_wait_for_itself
from conduit_nb.blocks.host import Host, begun
from conduit_nb.errors import Interrupted

T = TypeVar("T")


def iterate(host: Host, source: AsyncGenerator[T]) -> Iterator[T]:
    """Yield what `source` yields, which is never None; it begins at the first item asked for.

    Closing the iterator, or an interrupt, cancels the source.
    """
    if host.is_loop_thread():
        raise would_wait_for_itself()
    items: queue.SimpleQueue[T | None] = queue.SimpleQueue()

    began = time.monotonic()

    async def pump() -> None:
        with begun(began):
            await pass_on()

    async def pass_on() -> None:
        async with aclosing(source):
            async for item in source:
                items.put(item)

    future = host.submit(pump())
    future.add_done_callback(lambda _: items.put(None))
    try:
        while (item := items.get()) is not None:
            yield item
        future.result()
    except concurrent.futures.CancelledError as error:
        raise Interrupted("The session ended before the answer was whole.") from error
    finally:
        future.cancel()
