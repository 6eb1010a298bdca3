"""The models of one server: loaded on first use, and kept while there is room.

The memory of a model is planned before it is loaded (`memory_budget.py`); the least recently used
models are evicted to make room for it (`placement.py`). Knows neither HTTP nor torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from conduit_nb.compute.vram import GIB
from conduit_nb.errors import (
    ConduitError,
    DoesNotFitError,
    EndpointBusyError,
    ModelNotFoundError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.lmlite.config import ModelKey
from conduit_nb.lmlite.log import log_event
from conduit_nb.lmlite.memory_budget import Estimate
from conduit_nb.lmlite.placement import (
    DeviceBudget,
    Placement,
    Resident,
    all_idle,
    largest_free_bytes,
    place_replicas,
)
from conduit_nb.models.files import Progress
from conduit_nb.protocol import DeviceMemory, LoadedModel, ModelInfo

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

T = TypeVar("T")

LOG = logging.getLogger("conduit_nb.lmlite")
FAILURE_KEPT_S = 5.0
MAX_FAILED_LISTED, FAILURE_LISTED_S = 32, 300.0
RETRY_AFTER_S = 2.0
LOADS_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that is on this machine: where, and what it needs."""

    folder: Path
    estimate: Estimate


class Loader(Protocol):
    """Loads engines. `find`, `load` and `release` block; they are called in threads."""

    @property
    def kind(self) -> str:
        """The kind of the devices: "cpu", "cuda" or "mps"."""
        ...

    def budgets(self) -> Mapping[str, int]:
        """Return what the models on each device may take together, in bytes; quick."""
        ...

    def find(self, key: ModelKey, max_model_len: int | None, progress: Progress) -> ResolvedModel:
        """Return where the model is and what it needs for a context of that length."""
        ...

    def load(self, key: ModelKey, found: ResolvedModel, placement: Placement) -> Engine:
        """Return an engine of one replica at its placement."""
        ...

    def release(self) -> None:
        """Give back the memory of engines that are gone."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Replica:
    """A replica of a model at its placement; `engine` None while it loads."""

    placement: Placement
    last_used: float
    engine: Engine | None = None
    in_flight: int = 0


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A model and its state: `task` while it loads, `replicas` when ready, `error` when failed."""

    key: ModelKey
    replica_count: int = 1
    state: Literal["loading", "ready", "failed"] = "loading"
    detail: str = ""
    task: asyncio.Task[None] | None = None
    replicas: list[_Replica] = field(default_factory=list[_Replica])
    error: ConduitError | None = None
    failed_at: float = 0.0
    in_flight: int = 0
    created: int = field(default_factory=lambda: int(time.time()))

    def is_idle(self, one: _Replica) -> bool:
        """Whether no request uses that replica, and none waits for one of the model."""
        is_awaited = self.in_flight > sum(replica.in_flight for replica in self.replicas)
        return not (one.engine is None or one.in_flight or is_awaited)


class ModelPool:
    """Hands out engines. For one event loop; `loader` is called in threads.

    `max_in_flight` bounds the requests of one replica of a model that run or wait.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        max_in_flight: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = loader.kind
        self._loader = loader
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._entries: dict[ModelKey, _Entry] = {}
        self._threads = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="load")
        self._placing = asyncio.Lock()
        self._closed = False

    @contextlib.asynccontextmanager
    async def engine(
        self, key: ModelKey, *, replies: int = 1, max_model_len: int | None = None
    ) -> AsyncGenerator[Engine, None]:
        """Lend an engine of `key` for so many replies, loading it first where it is not there.

        Of several replicas it is the least busy one. `max_model_len` is the context that there must
        be room for where the model is still to be loaded. A load that failed is tried again by the
        next request, but not within FAILURE_KEPT_S: all requests that were sent together get the
        same failure.

        Raises EndpointBusyError where too many wait already, or all memory is held by models at
        work; RequestRefusedError where so many can never be written at once; DoesNotFitError where
        the model needs more than there is; and what the load raised.
        """
        if replies > self._max_in_flight:
            raise RequestRefusedError(
                f"The request asks for {replies} replies; this server takes at most"
                f" {self._max_in_flight} at once.",
                param="n",
                hint="Lower n, or send fewer prompts in one request.",
            )
        entry = self._entry(key)
        if entry.in_flight + replies > self._max_in_flight * max(len(entry.replicas), 1):
            raise EndpointBusyError(
                f"{key.model_id} has {entry.in_flight} requests already.",
                retry_after_s=RETRY_AFTER_S,
                hint="Send fewer at once (max_model_concurrency), or try again later.",
            )
        entry.in_flight += replies
        try:
            await self._ready(entry, max_model_len)
            one = min(entry.replicas, key=lambda replica: replica.in_flight)
            assert one.engine is not None
            one.in_flight += replies
            try:
                yield one.engine
            finally:
                one.in_flight -= replies
                one.last_used = self._clock()
        finally:
            entry.in_flight -= replies

    async def load(
        self, key: ModelKey, *, max_model_len: int | None = None, replicas: int = 1
    ) -> ModelInfo:
        """Load a model, each of its replicas on a device of its own, unless it is there already.

        Raises what `engine` raises, and RequestRefusedError where it is there with another number
        of replicas, or there are fewer devices.
        """
        devices = len(self._loader.budgets())
        if replicas > devices:
            raise RequestRefusedError(
                f"{replicas} replicas need as many devices; there are {devices}.",
                param="replicas",
                hint=f"Set replicas to {devices} or less.",
            )
        entry = self._entry(key)
        if not entry.replicas and entry.task is None:
            entry.replica_count = replicas
        elif entry.replica_count != replicas:
            raise RequestRefusedError(
                f"{key.model_id} is loaded with replicas={entry.replica_count}.",
                param="replicas",
                hint="Unload it first to load it with another number.",
            )
        entry.in_flight += 1
        try:
            await self._ready(entry, max_model_len)
        finally:
            entry.in_flight -= 1
        return _info(entry, self.device)

    async def unload(self, model_id: str) -> None:
        """End every engine of a model, whatever its revision and precision.

        Raises ModelNotFoundError where it is not loaded, EndpointBusyError where it is at work.
        """
        entries = [entry for entry in self._entries.values() if entry.key.model_id == model_id]
        if not entries:
            raise ModelNotFoundError(
                f"{model_id} is not loaded here.",
                reason="missing",
                hint="%conduit models lists what is.",
            )
        if any(entry.task is not None or entry.in_flight for entry in entries):
            raise EndpointBusyError(
                f"{model_id} is at work.",
                retry_after_s=RETRY_AFTER_S,
                hint="Unload it when its requests are done.",
            )
        for entry in entries:
            del self._entries[entry.key]
        async with self._placing:
            await self._end([one for entry in entries for one in entry.replicas])

    def models(self) -> list[ModelInfo]:
        """Return the requested models with their states; old failures are not listed."""
        self._forget_failed()
        return [_info(entry, self.device) for entry in self._entries.values()]

    def memory(self) -> list[DeviceMemory]:
        """Return for each device what models may take of it, and what is planned for those here."""
        return [
            DeviceMemory(
                device=budget.device,
                budget_bytes=budget.budget_bytes,
                planned_bytes=budget.budget_bytes - budget.free_bytes,
            )
            for budget in self._device_budgets()
        ]

    def engines(self) -> list[tuple[ModelKey, Engine]]:
        """Return the engines that are there, several of a model with replicas."""
        return [
            (entry.key, one.engine)
            for entry in self._entries.values()
            for one in entry.replicas
            if one.engine is not None
        ]

    async def close(self) -> None:
        """End every engine; open requests fail. Loads are abandoned (their threads go on)."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
        for _, engine in self.engines():
            await asyncio.to_thread(engine.close)

    def _entry(self, key: ModelKey) -> _Entry:
        if key.dtype == "auto" and self.device == "cpu":
            key = replace(key, dtype="float32")
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(key=key)
        return entry

    async def _ready(self, entry: _Entry, max_model_len: int | None) -> None:
        """Return when the entry's engines are there, starting a load or joining the one under way.

        Raises what that raised.
        """
        if entry.state == "ready" and not self._closed:
            entry.replicas = [
                one for one in entry.replicas if one.engine and not one.engine.has_ended
            ]
            if not entry.replicas:  # all broke; what they held is gone
                entry.state = "loading"
        if entry.state == "failed" and self._clock() - entry.failed_at >= FAILURE_KEPT_S:
            entry.state = "loading"
        if entry.state == "loading" and entry.task is None and not self._closed:
            self._begin(entry, max_model_len)
        if entry.task is not None:
            # The first request may be cancelled: the load is shared by all.
            await asyncio.wait({entry.task})
        if self._closed:
            raise stopping()
        if entry.error is not None:
            raise copy.copy(entry.error)

    def _begin(self, entry: _Entry, max_model_len: int | None) -> None:
        """Start loading the entry's engines; what comes of it is noted before others learn."""
        entry.error = None
        entry.task = asyncio.create_task(self._load(entry, max_model_len))
        entry.task.add_done_callback(lambda task: self._settle(entry, task))

    def _settle(self, entry: _Entry, task: asyncio.Task[None]) -> None:
        entry.task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            entry.state, entry.detail = "ready", ""
            return
        if not isinstance(error, ConduitError):
            LOG.error("loading %r failed inside", entry.key.model_id, exc_info=error)
            error = ServerFailedError(
                f"Loading {entry.key.model_id} failed inside ({type(error).__name__}).",
                reason="load",
                hint="The server's log has the details (%conduit logs).",
            )
        entry.replicas = []
        entry.state, entry.failed_at = "failed", self._clock()
        if isinstance(error, EndpointBusyError | DoesNotFitError):
            entry.failed_at -= FAILURE_KEPT_S  # the next one may find room, or need less
        entry.error, entry.detail = error, str(error)
        self._forget_failed()

    async def _load(self, entry: _Entry, max_model_len: int | None) -> None:
        def report(line: str) -> None:
            entry.detail = line
            log_event("loading", model=entry.key.model_id, doing=line)

        found = await self._in_thread(self._loader.find, entry.key, max_model_len, report)
        async with self._placing:  # so that two loads do not evict the same replicas
            entry.replicas, evicted = self._placed(entry, found.estimate)
            if evicted:
                await self._end(evicted)
        report("loading the weights")
        for one in entry.replicas:
            one.engine = await self._in_thread(self._loader.load, entry.key, found, one.placement)

    def _placed(self, entry: _Entry, estimate: Estimate) -> tuple[list[_Replica], list[_Replica]]:
        """Return the entry's replicas, and those evicted for them, which are forgotten."""
        budgets = self._device_budgets()
        chosen = place_replicas(estimate.need, budgets, replicas=entry.replica_count)
        if chosen is None:
            later = place_replicas(estimate.need, all_idle(budgets), replicas=entry.replica_count)
            if later is None:
                free = largest_free_bytes(all_idle(budgets), replicas=entry.replica_count)
                raise estimate.refusal(max(free, 0))
            raise EndpointBusyError(
                f"{entry.key.model_id} needs {estimate.need.min_bytes / GIB:.2f} GiB, which"
                " models hold that are at work.",
                retry_after_s=RETRY_AFTER_S,
                hint="Retry when they are done, or raise CONDUIT_LMLITE_MEMORY_GIB.",
            )
        evicted_keys = {key for placement in chosen for key in placement.evicted}
        evicted: list[_Replica] = []
        for other in list(self._entries.values()):
            of_other = [one for one in other.replicas if one in evicted_keys]
            if of_other:
                log_event("unloading", model=other.key.model_id, to_load=entry.key.model_id)
                other.replicas = [one for one in other.replicas if one not in evicted_keys]
                evicted += of_other
            if of_other and not other.replicas:
                del self._entries[other.key]
        now = self._clock()
        return [_Replica(placement=placement, last_used=now) for placement in chosen], evicted

    def _device_budgets(self) -> tuple[DeviceBudget, ...]:
        """Return the devices with the replicas that are on them or being loaded there."""
        return tuple(
            DeviceBudget(
                device=device,
                budget_bytes=budget,
                residents=tuple(
                    Resident(
                        key=one,
                        bytes=one.placement.bytes,
                        is_idle=entry.is_idle(one),
                        last_used=one.last_used,
                    )
                    for entry in self._entries.values()
                    for one in entry.replicas
                    if one.placement.device == device
                ),
            )
            for device, budget in self._loader.budgets().items()
        )

    async def _end(self, replicas: Sequence[_Replica]) -> None:
        """End the engines of replicas that are not listed any more, and free their memory."""
        engines = [one.engine for one in replicas if one.engine is not None]
        for one in replicas:
            one.engine = None

        def end() -> None:  # all in one thread: nothing may hold an engine when memory is released
            while engines:
                engines.pop().close()
            self._loader.release()

        await asyncio.to_thread(end)

    async def _in_thread(self, work: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    def _forget_failed(self) -> None:
        """Keep the newest failures, and not for long: ids come from outside, in any number."""
        failed = [entry for entry in self._entries.values() if entry.state == "failed"]
        listed_from = self._clock() - FAILURE_LISTED_S
        for number, entry in enumerate(reversed(failed)):
            is_old = number >= MAX_FAILED_LISTED or entry.failed_at < listed_from
            if is_old and entry.in_flight == 0:
                del self._entries[entry.key]


def _info(entry: _Entry, kind: str) -> ModelInfo:
    engines = [one.engine for one in entry.replicas if one.engine is not None]
    first = engines[0] if engines and entry.state == "ready" else None
    loaded = LoadedModel(
        state=entry.state,
        revision=entry.key.revision,
        dtype=first.dtype if first else entry.key.dtype,
        device=", ".join(one.placement.device for one in entry.replicas) or kind,
        context_tokens=first.context_tokens if first else 0,
        running=sum(engine.running for engine in engines),
        waiting=sum(engine.waiting for engine in engines) if first else entry.in_flight,
    )
    if entry.replicas:
        loaded["memory_bytes"] = sum(one.placement.bytes for one in entry.replicas)
        loaded["replicas"] = len(entry.replicas)
    if entry.key.quantization is not None:
        loaded["quantization"] = entry.key.quantization
    if first:
        loaded["attention"] = first.attention
    if entry.detail:
        loaded["detail"] = entry.detail
    return ModelInfo(
        id=entry.key.model_id,
        object="model",
        created=entry.created,
        owned_by="conduit",
        conduit=loaded,
    )


def stopping() -> ServerFailedError:
    """Return the error for a request that comes while the server ends."""
    return ServerFailedError(
        "The server is stopping.", reason="stopping", hint="Send the request again."
    )
