"""Counts a server's open requests, and since when it has been idle.

Only requests for a model's work count, not health checks and listings.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator


class Activity:
    """Counts requests. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_since = clock()
        self._requests = 0
        self._changed = asyncio.Event()
        self.is_stopping = False

    @contextlib.contextmanager
    def request(self) -> Generator[None, None, None]:
        """Count one request for as long as the `with` lasts."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._quiet_since = self._clock()
            self._changed.set()

    @property
    def requests(self) -> int:
        """Requests that are being answered now."""
        return self._requests

    @property
    def idle_s(self) -> float:
        """Seconds since the last request ended, 0 while there is one."""
        return 0.0 if self._requests else self._clock() - self._quiet_since

    async def until_quiet(self) -> None:
        """Return when no request is open."""
        while self._requests:
            self._changed.clear()
            await self._changed.wait()

    async def until_idle(self, limit_s: float) -> None:
        """Return when there has been no request for `limit_s` seconds."""
        while True:
            await self.until_quiet()
            left = limit_s - self.idle_s
            if left <= 0 and not self._requests:
                return
            await asyncio.sleep(max(left, 0.0))
