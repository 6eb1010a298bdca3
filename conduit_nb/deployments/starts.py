"""Servers on their way up: who asks for the same one meanwhile waits for the same start.

Layer 4.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from conduit_nb.blocks.host import began_at
from conduit_nb.errors import ConduitError
from conduit_nb.events import Events, Notice

T = TypeVar("T")

FAILURE_HOLDS_S = 3.0


class Starts(Generic[T]):
    """Starts under way, by key; to be used on one event loop."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._tasks: dict[str, asyncio.Task[T]] = {}
        self._waiting: Counter[str] = Counter()
        self._failures: dict[str, tuple[float, ConduitError]] = {}

    async def join(
        self, key: str, start: Callable[[], Coroutine[Any, Any, T]], *, ends_unwanted: bool
    ) -> T:
        """Return what the start of `key` comes to, beginning it where nobody has.

        A failure holds for a moment for what had begun before it, so that a thousand rows do not
        start a thousand servers; what begins afterwards tries again.
        `ends_unwanted` cancels the start once the last who waited for it has been cancelled.
        """
        failed_at, failure = self._failures.get(key, (0.0, None))
        is_recent = time.monotonic() - failed_at < FAILURE_HOLDS_S
        if failure is not None and is_recent and began_at() < failed_at:
            raise failure
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(start(), name=f"ensure {key}")
            task.add_done_callback(functools.partial(self._ended, key))
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if ends_unwanted and self._waiting[key] == 1 and not task.done():
                self._events.emit(Notice(text="Stopped: what was being started for it is ended."))
                self._tasks.pop(key, None)
                task.cancel()
            raise
        finally:
            self._waiting[key] -= 1

    def clear(self) -> None:
        """Forget what is under way: its loop has ended."""
        self._tasks.clear()
        self._waiting.clear()

    def _ended(self, key: str, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if task.cancelled():
            return
        error = task.exception()
        self._failures.pop(key, None)
        if isinstance(error, ConduitError):
            self._failures[key] = (time.monotonic(), error)
