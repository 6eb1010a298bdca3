"""Says again and again how long something has taken, while it takes long.

Layer 4.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

EVERY_S = 1.0


@asynccontextmanager
async def telling(
    say: Callable[[float], None], *, every_s: float = EVERY_S
) -> AsyncGenerator[None]:
    """While the block runs, call `say` every so often with the seconds that have passed."""
    task = asyncio.create_task(_tell(say, every_s), name="telling")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _tell(say: Callable[[float], None], every_s: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(every_s)
        say(time.monotonic() - began)
