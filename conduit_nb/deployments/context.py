"""What all work on deployments is done with: the state, the providers, the clock, the events.

Every write and every call to a provider goes through here, with a checkpoint before and after, at
which a test can end the process: what then stands in the state must be enough for the next one.
"""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import psutil

from conduit_nb import settings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.vram import Plan
from conduit_nb.deployments.money import Caps
from conduit_nb.errors import DeploymentEndedError, StateConflictError
from conduit_nb.events import Events, Notice, Step
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.plans.answer import make_plan
from conduit_nb.plans.options import PLANNED_AS, PlanOptions
from conduit_nb.providers.base import Provider, Timed
from conduit_nb.providers.processes import is_same_process
from conduit_nb.runtimes.base import Runtime
from conduit_nb.state.installation import Installation, load_installation
from conduit_nb.state.records import (
    BusyError,
    DeploymentRecord,
    DeploymentState,
    NodeRecord,
    NodeState,
)
from conduit_nb.state.summary import read_summary

if TYPE_CHECKING:
    from conduit_nb.state.store import Store

NOBODY = "nobody"
"""The owner of what its client has given up."""


def this_process() -> str:
    """Return this process as an owner."""
    created = psutil.Process().create_time()
    return f"{platform.node()}|{os.getpid()}|{created:.3f}"


@contextmanager
def at_work(deployment_id: str) -> Generator[None]:
    """Work on a deployment and its nodes until the block ends, however it ends.

    What this process owns and no longer works on is given up, although the process lives.
    """
    _AT_WORK[deployment_id] += 1
    try:
        yield
    finally:
        _AT_WORK[deployment_id] -= 1


def is_given_up(owner: str, deployment_id: str) -> bool | None:
    """Say whether nobody works on a deployment (or a node of it) any more; None as `is_gone`."""
    if owner == this_process():
        return _AT_WORK[deployment_id] <= 0
    return is_gone(owner)


def is_gone(owner: str) -> bool | None:
    """Say whether the owner has ended; None where it was another machine's, and nobody knows."""
    if owner == NOBODY:
        return True
    host, _, rest = owner.partition("|")
    pid, _, created = rest.partition("|")
    if host != platform.node() or not pid.isdecimal():
        return None
    return not is_same_process(int(pid), float(created))


_AT_WORK: Counter[str] = Counter()
"""How many operations of this process work on a deployment now, by its id."""


T = TypeVar("T")
P = ParamSpec("P")
State = TypeVar("State", bound=str)
PlanOf = Callable[[Sequence[LmLiteModelConfig], DeploymentRequest], Plan | None]

EVERY_S = 1.0

# Which state may follow which: the one table of each kind.
DEPLOYMENTS: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    "launching": frozenset({"running", "terminating", "failed"}),
    "running": frozenset({"launching", "stopping", "terminating", "failed"}),
    "stopping": frozenset({"stopped", "terminating", "failed"}),
    "stopped": frozenset({"launching", "terminating", "failed"}),
    "terminating": frozenset({"terminated"}),
    "terminated": frozenset(),
    "failed": frozenset(),
}
NODES: Mapping[NodeState, frozenset[NodeState]] = {
    # "failed" only once it is certain that there is nothing at the provider.
    "launching": frozenset({"booting", "terminating", "failed"}),
    "booting": frozenset({"running", "stopping", "stopped", "terminating", "lost"}),
    "running": frozenset({"booting", "stopping", "stopped", "terminating", "lost"}),
    "stopping": frozenset({"stopped", "terminating", "lost"}),
    # "stopping" again where the provider is found to run what it had said to be stopped.
    "stopped": frozenset({"booting", "running", "stopping", "terminating", "lost"}),
    "terminating": frozenset({"terminated", "failed"}),
    "terminated": frozenset(),
    "failed": frozenset(),
    "lost": frozenset(),
}


def may_become(before: State, after: State, table: Mapping[State, frozenset[State]]) -> bool:
    """Say whether one state may follow another; a state may always stay."""
    return before == after or after in table[before]


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def ahead_of(provider: Provider, now: datetime) -> timedelta:
    """Return by how much `now` is ahead of a provider's clock; nothing where that is unknown."""
    there = provider.server_now() if isinstance(provider, Timed) else None
    return now - there if there is not None else timedelta(0)


def _caps() -> Caps:
    return Caps(
        deployment_usd=settings.max_usd_per_deployment(), day_usd=settings.max_usd_per_day()
    )


def _open_store() -> Store:
    return import_module("conduit_nb.state.store").Store()


def _no_checkpoint(_: str) -> None:
    """Do nothing."""


class Context:
    """What deployments are made with; a test puts its own clock and checkpoints in.

    `plan_of` makes the plan of one server's models, None where nothing is known of them.
    `checkpoint` is called with a name before and after each step that another process could see.
    Without a `store` the one of the settings is opened when it is first needed: the libraries of
    the state take a third of a second to load.
    """

    def __init__(
        self,
        *,
        provider: Callable[[str], Provider],
        provider_names: Callable[[], list[str]],
        runtime: Callable[[str], Runtime],
        events: Events | None = None,
        store: Store | None = None,
        installation: Installation | None = None,
        plan_of: PlanOf | None = None,
        caps: Callable[[], Caps] = _caps,
        clock: Callable[[], datetime] = utc_now,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        checkpoint: Callable[[str], None] = _no_checkpoint,
    ) -> None:
        self.events = events or Events()
        self.provider = provider
        self.provider_names = provider_names
        self.runtime = functools.cache(runtime)
        self.plan_of = plan_of or plan_of_request
        self.caps = caps
        self.clock = clock
        self.pause = pause
        self.checkpoint = checkpoint
        self._store = store
        self._installation = installation

    @property
    def store(self) -> Store:
        """The state, once it was opened."""
        assert self._store is not None, "it is opened first"
        return self._store

    async def opened(self) -> Store:
        """Open the state where that was not done yet, in a thread: a database may be far away.

        Raises StorageError where it cannot be used, ArgumentError where its address is wrong.
        """
        if self._store is None:
            store = await asyncio.to_thread(_open_store)
            self._store = self._store or store
        return self._store

    @property
    def installation(self) -> Installation:
        """The installation that everything here belongs to."""
        if self._installation is None:
            self._installation = load_installation()
        return self._installation

    def has_state(self) -> bool:
        """Say whether anything was ever deployed, without opening the state."""
        if self._store is not None or settings.db_uri() is not None:
            return True
        return settings.state_file().exists() or read_summary() is not None

    def tell(self, said: str | Step) -> None:
        """Tell the user what takes time, or what should be known."""
        self.events.emit(Notice(text=said) if isinstance(said, str) else said)

    @asynccontextmanager
    async def telling(
        self, say: Callable[[float], None], *, every_s: float = EVERY_S
    ) -> AsyncGenerator[None]:
        """While the block runs, call `say` every so often with the seconds that have passed."""
        task = asyncio.create_task(_tell(say, every_s), name="telling")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def read(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Ask the store: at once where it is near, else in a thread."""
        if self.store.is_near:  # who reads waits for nobody
            return work(*args, **named)
        return await asyncio.to_thread(work, *args, **named)

    async def write(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Write to the store: at once where it is near and nobody else writes, else in a thread.

        It is seen through, whoever loses interest.
        """
        name = getattr(work, "__name__", "write")
        self.checkpoint(f"before {name}")
        done = await self._written(work, *args, **named)
        self.checkpoint(f"after {name}")
        return done

    async def _written(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        if self.store.is_near:
            try:
                return self.store.at_once(work, *args, **named)
            except BusyError:
                pass  # waited for in a thread: an event loop must not
        writing = asyncio.ensure_future(asyncio.to_thread(work, *args, **named))
        try:
            done = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])  # who cleans up now must find what was written
            writing.exception()  # the interrupt is what counts
            raise
        return done

    async def call(self, name: str, work: Awaitable[T]) -> T:
        """Ask a provider for something that changes its world."""
        self.checkpoint(f"before {name}")
        done = await work
        self.checkpoint(f"after {name}")
        return done

    async def set_node(self, node: NodeRecord, **changes: Any) -> NodeRecord:
        """Write a node's next state; DeploymentEndedError where somebody has ended it meanwhile.

        A change of something else by another client is no obstacle: it is made again on that.
        """
        while True:
            status = changes.get("status", node.status)
            if not may_become(node.status, status, NODES):
                raise _ended(node.name, node.status, status)
            try:
                return await self.write(self.store.update_node, node, **changes)
            except StateConflictError:
                fresh = await self.read(self.store.node, node.name)
                assert fresh is not None, "nodes are never removed"
                node = fresh

    async def set_deployment(self, record: DeploymentRecord, **changes: Any) -> DeploymentRecord:
        """Write a deployment's next state, as `set_node` does."""
        while True:
            status = changes.get("status", record.status)
            if not may_become(record.status, status, DEPLOYMENTS):
                raise _ended(record.name, record.status, status)
            try:
                return await self.write(self.store.update_deployment, record, **changes)
            except StateConflictError:
                fresh = await self.read(self.store.deployment, record.id)
                assert fresh is not None, "deployments are never removed"
                record = fresh


def plan_of_request(models: Sequence[LmLiteModelConfig], request: DeploymentRequest) -> Plan | None:
    """Return what one server needs for these models, None where nothing is known of its runtime."""
    runtime = PLANNED_AS.get(request.runtime)
    if runtime is None or not models:
        return None
    longest = [one.max_model_len for one in models if one.max_model_len is not None]
    most = [one.max_model_concurrency or 1 for one in models]
    dtypes = {one.dtype for one in models}
    quantizations = {one.quantization for one in models}
    return make_plan(
        [one.full_id for one in models],
        PlanOptions(
            tensor_parallel=request.tensor_parallel,
            pipeline_parallel=request.pipeline_parallel,
            dtype=dtypes.pop() if len(dtypes) == 1 else "auto",
            quantization=quantizations.pop() if len(quantizations) == 1 else None,
            max_model_len=max(longest) if len(longest) == len(models) else None,
            max_concurrency=max(most),
            runtime=runtime,
        ),
    )


def _ended(name: str, before: str, after: str) -> DeploymentEndedError:
    return DeploymentEndedError(
        f"{name} is {before} and cannot become {after}.",
        hint="Another process works on it; see %conduit ps.",
    )


async def _tell(say: Callable[[float], None], every_s: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(every_s)
        say(time.monotonic() - began)
