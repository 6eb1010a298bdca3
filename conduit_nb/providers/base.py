"""What every provider can do, what a node is, and what a source of offerings lists.

Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError
from conduit_nb.events import Step

NodeStatus = Literal["starting", "running", "stopped", "failed", "gone", "unknown"]
"""As a provider sees a node: "failed" is one that it still has, and may bill, but cannot run.

"unknown" is any state that Conduit has no name for (as one of a migration): it may become anything,
so nothing is concluded from it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do with a node.

    `can_stop`: a stopped node keeps its place and can be started again (it may go on costing).
    `is_billable`: nodes cost money. `runs_images`, `runs_processes`: what it takes as LaunchSpec.
    `list_lag_s`: how long a node that was just made may be missing in its list, or one that has
    ended still stand there. `poll_s`: how long to wait between two looks at a node that boots.
    `refers_to_secrets`: of the user's secrets a node gets no values, but references to what the
    user has stored at the provider under the same name in lower case.
    """

    can_stop: bool
    is_billable: bool
    runs_images: bool
    runs_processes: bool = False
    list_lag_s: float = 0.0
    poll_s: float = 0.5
    refers_to_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing that a provider started. `url` is where its server listens once it is ready.

    While a node is "starting" nothing that belongs to it listens there yet, and nobody may be
    asked: whoever answers is somebody else. `exit_code` of one that is gone is negative where a
    signal ended it, and None where nobody knows. `log` is where its output is kept. `id` is the
    provider's own; `usd_per_hour` is what it costs in the state that it is in, disk included, None
    where the provider does not say (a price of a running node that is no amount above 0 says
    nothing). `detail` is what the provider says of its state.
    """

    name: str
    provider: str
    status: NodeStatus
    url: str
    id: str | None = None
    pid: int | None = None
    started_at: datetime | None = None
    exit_code: int | None = None
    log: str | None = None
    usd_per_hour: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source offers, and what is wrong with what it left out."""

    offerings: tuple[ComputeOffering, ...]
    problems: tuple[ConduitError, ...] = ()


class OfferingSource(Protocol):
    """Who knows of offerings: every provider, and price lists of others."""

    name: str

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        """Return all offerings with their ages; raise ConduitError where there is no list."""
        ...


Tell = Callable[[str | Step], None]
"""Takes what the user should be told once, and the steps of what takes its time."""


@runtime_checkable
class Telling(Protocol):
    """A provider that can say what takes it time, to whoever sets `tell`."""

    tell: Tell


@runtime_checkable
class Preparing(Protocol):
    """A provider that may have to fetch much before it can launch; that is no part of a boot."""

    async def prepare(self, spec: LaunchSpec) -> None:
        """Have here what `launch` needs; idempotent. Raises DeploymentError where it cannot."""
        ...


@runtime_checkable
class Renewing(Protocol):
    """A provider that can tell a node's guard later moments before the node is started again."""

    async def renew(
        self,
        name: str,
        node_id: str | None = None,
        *,
        boot_until: datetime,
        lease_until: datetime,
        not_after: datetime | None,
        as_of: datetime | None = None,
    ) -> None:
        """Let the guard hold the node to these from its next start on.

        `as_of` is the time now by the clock that the moments were taken from.
        """
        ...


@runtime_checkable
class Timed(Protocol):
    """A provider whose replies tell the time."""

    def server_now(self) -> datetime | None:
        """Return the time at the provider, None as long as it has not replied."""
        ...


@runtime_checkable
class EndingOne(Protocol):
    """A provider that may have several nodes of one name, and can end one of them."""

    async def terminate_one(self, node_id: str) -> None:
        """End the node of that id for good; one that is gone is success."""
        ...


@runtime_checkable
class KeptOpen(Protocol):
    """A provider whose connections can be kept for a series of calls."""

    def kept_open(self) -> AbstractAsyncContextManager[None]:
        """Share connections between all calls within the block."""
        ...


class Provider(OfferingSource, Protocol):
    """Where nodes come from.

    Every method takes our own name of the node, and where it is known the provider's own id, which
    finds a node that a list does not show yet. `stop` and `terminate` are idempotent: a node that
    is stopped, or gone, already is success. What a provider cannot do is a DeploymentError.
    """

    capabilities: Capabilities

    async def launch(
        self,
        spec: LaunchSpec,
        secrets: Mapping[str, str],
        offering: ComputeOffering | None = None,
    ) -> Node:
        """Create `spec` on what `offering` is (None: whatever there is), and return at once.

        Raises NoCapacityError where the offering is sold out (nothing was created),
        DeploymentError where it cannot be done or the name is taken, and ProviderError, whose
        `may_have_arrived` says that a node may have been created all the same: the call or its
        reply was lost, or the reply cannot be read.
        """
        ...

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        """Return the node of that name as it is now, None where none is known.

        With an id None says that the provider denies that there is such a node; a reply that
        cannot be read is a ProviderError.
        """
        ...

    async def list_nodes(self) -> list[Node]:
        """Return every node that Conduit has made here and that still is, also of others.

        A list that cannot be read is a ProviderError, never an empty list. Names tell whose they
        are: `providers.naming`.
        """
        ...

    async def start(self, name: str, node_id: str | None = None) -> None:
        """Start a stopped node again."""
        ...

    async def stop(self, name: str, node_id: str | None = None) -> None:
        """End the node's program and keep its place."""
        ...

    async def restart(self, name: str, node_id: str | None = None) -> None:
        """End the node's program and start it anew."""
        ...

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        """End the node and everything it started, for good."""
        ...

    def logs(
        self, name: str, node_id: str | None = None, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the node's last `tail` log lines, then new ones while `follow`."""
        ...

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:
        """Return what the provider says that the node has cost so far, None where it does not."""
        ...
