"""The models of one server: loaded when first asked for, each once, kept until the server ends.

Knows neither HTTP nor torch. Memory is not budgeted: what is loaded stays.
Layer 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from conduit_nb.errors import (
    ConduitError,
    EndpointBusyError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.models.config import DType
from conduit_nb.models.files import Progress
from conduit_nb.protocol import LoadedModel, ModelInfo

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

LOG = logging.getLogger("conduit_nb.lmlite")
FAILURE_KEPT_S = 5.0
RETRY_AFTER_S = 2.0
LOADS_AT_ONCE = 4
FAILED_KEPT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What tells one loaded model from another."""

    model_id: str
    revision: str | None = None
    dtype: DType = "auto"


Load = Callable[[ModelKey, Progress], "Engine"]
"""Loads a model; blocks, in a thread of its own, and tells of its progress."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A model and its state: `task` while it loads, `engine` when ready, `error` when failed."""

    key: ModelKey
    state: Literal["loading", "ready", "failed"] = "loading"
    detail: str = ""
    task: asyncio.Task[None] | None = None
    engine: Engine | None = None
    error: ConduitError | None = None
    failed_at: float = 0.0
    in_flight: int = 0
    created: int = field(default_factory=lambda: int(time.time()))


class ModelPool:
    """Hands out engines. For one event loop; `load` runs in threads.

    `max_in_flight` bounds the requests of one model that run or wait; `device` names where
    engines run.
    """

    def __init__(
        self,
        load: Load,
        *,
        device: str,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self._load = load
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._entries: dict[ModelKey, _Entry] = {}
        self._threads = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="load")
        self._closed = False

    @contextlib.asynccontextmanager
    async def engine(self, key: ModelKey, *, replies: int = 1) -> AsyncGenerator[Engine, None]:
        """Lend the engine of `key` for so many replies, loading it first where it is not there.

        A load that failed is tried again by the next request, but not within FAILURE_KEPT_S:
        the rows of one batch learn of one failure together.

        Raises EndpointBusyError where too many wait already, RequestRefusedError where so many
        can never be written at once, and what the load raised.
        """
        if replies > self._max_in_flight:
            raise RequestRefusedError(
                f"The request asks for {replies} replies; this server takes at most"
                f" {self._max_in_flight} at once.",
                hint="Lower n, or send fewer prompts in one request.",
            )
        entry = self._entry(key)
        if entry.in_flight + replies > self._max_in_flight:
            raise EndpointBusyError(
                f"{key.model_id} has {entry.in_flight} requests already.",
                retry_after_s=RETRY_AFTER_S,
                hint="Send fewer at once (max_model_concurrency), or try again later.",
            )
        entry.in_flight += replies
        try:
            yield await self._ready(entry)
        finally:
            entry.in_flight -= replies

    def models(self) -> list[ModelInfo]:
        """Return what was asked for, with its state."""
        return [_info(entry, self.device) for entry in self._entries.values()]

    def engines(self) -> list[tuple[ModelKey, Engine]]:
        """Return the models that are loaded."""
        return [(one.key, one.engine) for one in self._entries.values() if one.engine is not None]

    async def close(self) -> None:
        """End every engine; open requests fail. What loads is given up (its thread goes on)."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
            if entry.engine is not None:
                await asyncio.to_thread(entry.engine.close)

    def _entry(self, key: ModelKey) -> _Entry:
        if key.dtype == "auto" and self.device == "cpu":
            key = replace(key, dtype="float32")
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(key=key)
        return entry

    async def _ready(self, entry: _Entry) -> Engine:
        """Return the entry's engine, starting a load or joining the one under way."""
        if entry.engine is not None and entry.engine.has_ended and not self._closed:
            entry.engine, entry.state = None, "loading"  # it broke; what it held is gone
        if entry.state == "failed" and self._clock() - entry.failed_at >= FAILURE_KEPT_S:
            entry.state = "loading"
        if entry.state == "loading" and entry.task is None and not self._closed:
            entry.task = asyncio.create_task(self._fill(entry))
        if entry.task is not None:
            # Whoever asked first may leave: the load is everybody's.
            await asyncio.wait({entry.task})
        if self._closed:
            raise ServerFailedError("The server is stopping.", hint="Send the request again.")
        if entry.error is not None:
            raise copy.copy(entry.error)
        assert entry.engine is not None
        return entry.engine

    async def _fill(self, entry: _Entry) -> None:
        """Load the entry's engine, or note why that failed."""

        def tell(line: str) -> None:
            entry.detail = line

        entry.error = None
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._load, entry.key, tell)
        await asyncio.wait({work})
        entry.task = None
        error = work.exception()
        if error is None:
            entry.engine, entry.state, entry.detail = work.result(), "ready", ""
            return
        if not isinstance(error, ConduitError):
            LOG.error("loading %r failed inside", entry.key.model_id, exc_info=error)
            error = ServerFailedError(
                f"Loading {entry.key.model_id} failed inside ({type(error).__name__}).",
                hint="The server's log has the details (%conduit logs).",
            )
        entry.state, entry.failed_at = "failed", self._clock()
        entry.error, entry.detail = error, str(error)
        self._forget_failed()

    def _forget_failed(self) -> None:
        """Keep the newest failures only: ids come from outside, in any number."""
        failed = [key for key, entry in self._entries.items() if entry.state == "failed"]
        for key in failed[:-FAILED_KEPT]:
            if self._entries[key].in_flight == 0:
                del self._entries[key]


def _info(entry: _Entry, device: str) -> ModelInfo:
    engine = entry.engine
    loaded = LoadedModel(
        state=entry.state,
        revision=entry.key.revision,
        dtype=engine.dtype if engine else entry.key.dtype,
        device=engine.device if engine else device,
        context_tokens=engine.context_tokens if engine else 0,
        running=engine.running if engine else 0,
        waiting=engine.waiting if engine else entry.in_flight,
    )
    if engine:
        loaded["attention"] = engine.attention
    if entry.detail:
        loaded["detail"] = entry.detail
    return ModelInfo(
        id=entry.key.model_id,
        object="model",
        created=entry.created,
        owned_by="conduit",
        conduit=loaded,
    )
