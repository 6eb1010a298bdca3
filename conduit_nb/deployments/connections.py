"""Endpoints in use: one for each deployment that this process asks, and one start at a time."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from conduit_nb.blocks.host import began_at
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ConduitError, EndpointError
from conduit_nb.events import Events, ModelReady, Notice, Step
from conduit_nb.protocol import ModelInfo


class LoadingWatch:
    """Looks at an endpoint's models while requests are on their way to it, and tells `events`.

    That a model is being loaded is told once, and what is done with it as steps, at each look.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        events: Events,
        *,
        every_s: float = 1.0,
    ) -> None:
        self._endpoint = endpoint
        self._events = events
        self._every_s = every_s
        self._loading: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Look from now on, until no request is on its way any more."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name=f"watch {self._endpoint.name}")

    async def _watch(self) -> None:
        await asyncio.sleep(self._every_s)
        while self._endpoint.in_flight or self._loading:
            try:
                models = await self._endpoint.models()
            except EndpointError:
                return  # whoever sent a request hears of it
            for info in models:
                self._tell(info)
            await asyncio.sleep(self._every_s)

    def _tell(self, info: ModelInfo) -> None:
        loaded = info.get("conduit")
        if loaded is None:
            return
        name, detail = info["id"], loaded.get("detail", "")
        if loaded["state"] == "loading":
            self._tell_step(name, detail)
        elif self._loading.pop(name, None) is not None and loaded["state"] == "ready":
            self._events.emit(ModelReady(model=name))
            self._events.emit(Notice(text=f"{name} is ready on {loaded.get('device', '?')}."))

    def _tell_step(self, name: str, detail: str) -> None:
        before = self._loading.get(name)
        self._loading[name] = detail
        if before is None:
            self._events.emit(Notice(text=f"Loading {name}{f': {detail}' if detail else ''}."))
        elif detail and detail != before:
            self._events.emit(Step(text=f"Loading {name}: {detail}"))


FAILURE_HOLDS_S = 3.0
SHARED = "shared"

Target = DeploymentRequest | str
_Open = tuple[Endpoint, LoadingWatch]


class Connections:
    """What is served where, for one event loop; `reach` finds or starts what is not known.

    Whoever asks for the same while it starts waits for the same start.
    """

    def __init__(self, reach: Callable[[Target], Awaitable[Endpoint]], events: Events) -> None:
        self._reach = reach
        self._events = events
        self._open: dict[str, _Open] = {}
        self._replaced: list[Endpoint] = []
        self._starts: dict[str, asyncio.Task[_Open]] = {}
        self._waiting: Counter[str] = Counter()
        self._failures: dict[str, tuple[float, ConduitError]] = {}

    async def connect(self, target: Target, *, fresh: bool = False) -> Endpoint:
        """Return where it is served; `fresh` looks again, as what is known does not answer."""
        known = self._open.get(_key(target))
        if known is None or fresh:
            known = await self._started(target)
        endpoint, watch = known
        watch.look()
        return endpoint

    def forget(self, target: Target) -> None:
        """Ask for a target anew: it has been stopped."""
        known = self._open.pop(_key(target), None)
        if known is not None:
            self._replaced.append(known[0])

    async def aclose(self) -> None:
        """Close every endpoint that was handed out."""
        endpoints = [endpoint for endpoint, _ in self._open.values()] + self._replaced
        self._open.clear()
        self._replaced.clear()
        self._starts.clear()
        self._waiting.clear()
        for endpoint in endpoints:
            await endpoint.aclose()

    async def _started(self, target: Target) -> _Open:
        """Return what the start of a target comes to, beginning it where nobody has.

        A failure holds for a moment for what had begun before it, so that a thousand rows do not
        start a thousand servers; what begins afterwards tries again. What costs is not started any
        further once the last who waited for it has been cancelled.
        """
        key = _key(target)
        failed_at, failure = self._failures.get(key, (0.0, None))
        is_recent = time.monotonic() - failed_at < FAILURE_HOLDS_S
        if failure is not None and is_recent and began_at() < failed_at:
            raise failure
        task = self._starts.get(key)
        if task is None:
            task = asyncio.create_task(self._opened(target), name=f"connect {key}")
            self._starts[key] = task
            task.add_done_callback(functools.partial(self._ended, key))
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if key != SHARED and self._waiting[key] == 1 and not task.done():
                if isinstance(target, DeploymentRequest):  # of a name nothing is started
                    text = "Stopped: what was being started for it is ended."
                    self._events.emit(Notice(text=text))
                self._starts.pop(key, None)
                task.cancel()
            raise
        finally:
            self._waiting[key] -= 1

    async def _opened(self, target: Target) -> _Open:
        key = _key(target)
        endpoint = await self._reach(target)
        known = self._open.get(key)
        if known is not None and key == SHARED and known[0].url == endpoint.url:
            await endpoint.aclose()
            return known
        if known is not None:
            self._replaced.append(known[0])
        self._open[key] = opened = (endpoint, LoadingWatch(endpoint, self._events))
        return opened

    def _ended(self, key: str, task: asyncio.Task[_Open]) -> None:
        if self._starts.get(key) is task:
            del self._starts[key]
        if task.cancelled():
            return
        error = task.exception()
        self._failures.pop(key, None)
        if isinstance(error, ConduitError):
            self._failures[key] = (time.monotonic(), error)


def _key(target: Target) -> str:
    """Return what tells one server in use from another: the shared one serves many requests."""
    if isinstance(target, str):
        return f"name {target}"
    return SHARED if target.is_shared else target.identity()
