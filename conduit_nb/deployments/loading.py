"""Tells what a server does while requests wait for it: it loads a model, which takes its time.

Layer 4.
"""

from __future__ import annotations

import asyncio

from conduit_nb.client import Endpoint
from conduit_nb.errors import EndpointError
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
