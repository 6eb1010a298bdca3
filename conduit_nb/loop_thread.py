"""An event loop in a thread of its own, on which all asynchronous work of a process is done.

Layer 4.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

CLOSE_TIMEOUT_S = 2.0


class LoopThread:
    """An event loop that runs in a daemon thread until it is closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="conduit", daemon=True)
        self._thread.start()

    def is_current(self) -> bool:
        """Say whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def close(self, last_work: Coroutine[Any, Any, None]) -> None:
        """Cancel every task, do `last_work`, end the thread; give up after some seconds."""
        ended = asyncio.run_coroutine_threadsafe(_end_tasks(last_work), self.loop)
        try:
            ended.result(timeout=CLOSE_TIMEOUT_S)
        except FutureTimeoutError:
            ended.cancel()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()


async def _end_tasks(last_work: Coroutine[Any, Any, None]) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S / 2)
    await last_work
    await asyncio.get_running_loop().shutdown_asyncgens()
