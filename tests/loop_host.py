"""A host for blocks that is nothing but an event loop in a thread and the endpoints it is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from conduit_nb.blocks.host import use_host
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.events import Event, Events

T = TypeVar("T")


class LoopHost:
    """`asked` holds what blocks wanted: a provider or a deployment's name, and whether it had to
    be a fresh endpoint."""

    def __init__(self) -> None:
        self.events = Events()
        self.seen: list[Event] = []
        self.events.subscribe(self.seen.append)
        self.endpoints: list[Endpoint] = []
        self.requests: list[DeploymentRequest] = []
        self.asked: list[tuple[str | None, bool]] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def is_loop_thread(self) -> bool:
        return threading.current_thread() is self._thread

    async def endpoint(self, target: DeploymentRequest | str, *, fresh: bool = False) -> Endpoint:
        if isinstance(target, str):
            self.asked.append((target, fresh))
        else:
            self.requests.append(target)
            self.asked.append((target.provider, fresh))
        if fresh and len(self.endpoints) > 1:
            self.endpoints.pop(0)
        return self.endpoints[0]

    def kinds(self) -> list[str]:
        """Return the names of the events so far."""
        return [type(event).__name__ for event in self.seen]

    def close(self) -> None:
        self.submit(self._end()).result(timeout=10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()

    async def _end(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.aclose()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()


@contextmanager
def loop_host() -> Generator[LoopHost]:
    """Make a host, let blocks use it, and close it."""
    host = LoopHost()
    try:
        with use_host(host):
            yield host
    finally:
        host.close()
