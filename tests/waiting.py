"""Wait for what another process does, within bounds."""

from __future__ import annotations

import asyncio
import inspect
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
