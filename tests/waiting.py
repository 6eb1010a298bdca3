"""Wait for what another process does, within bounds."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")


async def until(look: Callable[[], T | Awaitable[T]], *, within_s: float = 20) -> T:
    """Look again and again until `look` returns something true, and return that."""
    async with asyncio.timeout(within_s):
        while True:
            found = look()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return cast("T", found)
            await asyncio.sleep(0.02)


def until_true(look: Callable[[], object], *, within_s: float = 20) -> None:
    """Look again and again until `look` returns something true, without an event loop."""
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, f"nothing came of it within {within_s:g} s"
        threading.Event().wait(0.02)
