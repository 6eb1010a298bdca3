"""What all work on deployments is done with: the store, the providers, the clock.

Every write and every call to a provider goes through here, with a checkpoint before and after, at
which a test can end the process: what then stands in the state must be enough for the next one.
Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.vram import Plan
from conduit_nb.deployments.lifecycle import DEPLOYMENTS, NODES, may_become
from conduit_nb.deployments.money import Caps
from conduit_nb.errors import DeploymentEndedError, StateConflictError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.base import Provider, Tell, Timed
from conduit_nb.runtimes.base import Runtime
from conduit_nb.state.installation import Installation
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.state.store import Store

T = TypeVar("T")
P = ParamSpec("P")


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


def ahead_of(provider: Provider, now: datetime) -> timedelta:
    """Return by how much `now` is ahead of a provider's clock; nothing where that is unknown."""
    there = provider.server_now() if isinstance(provider, Timed) else None
    return now - there if there is not None else timedelta(0)


def _no_checkpoint(_: str) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What deployments are made with; a test puts its own clock and checkpoints in.

    `plan_of` makes the plan of one server's models, None where nothing is known of them. `tell` is
    told what takes time. `checkpoint` is called with a name before and after each step that
    another process could see.
    """

    store: Store
    installation: Installation
    provider: Callable[[str], Provider]
    provider_names: Callable[[], list[str]]
    runtime: Callable[[str], Runtime]
    plan_of: Callable[[tuple[LmLiteModelConfig, ...], DeploymentRequest], Plan | None]
    caps: Callable[[], Caps]
    tell: Tell
    clock: Callable[[], datetime] = utc_now
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    checkpoint: Callable[[str], None] = _no_checkpoint

    async def read(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Ask the store, in a thread."""
        return await asyncio.to_thread(work, *args, **named)

    async def write(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Write to the store, in a thread, and see it through whoever loses interest."""
        name = getattr(work, "__name__", "write")
        self.checkpoint(f"before {name}")
        writing = asyncio.ensure_future(asyncio.to_thread(work, *args, **named))
        try:
            done = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])  # who cleans up now must find what was written
            writing.exception()  # the interrupt is what counts
            raise
        self.checkpoint(f"after {name}")
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
                raise DeploymentEndedError(
                    f"{node.name} is {node.status} and cannot become {status}.",
                    hint="Somebody else works on it; look at %conduit ps.",
                )
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
                raise DeploymentEndedError(
                    f"{record.name} is {record.status} and cannot become {status}.",
                    hint="Somebody else works on it; look at %conduit ps.",
                )
            try:
                return await self.write(self.store.update_deployment, record, **changes)
            except StateConflictError:
                fresh = await self.read(self.store.deployment, record.id)
                assert fresh is not None, "deployments are never removed"
                record = fresh
