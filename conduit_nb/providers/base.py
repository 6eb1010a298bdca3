"""What every provider can do, what a node is, and what a source of offerings lists.

Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError

NodeStatus = Literal["starting", "running", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One thing that a provider started. `url` is where its server listens once it is ready.

    While a node is "starting" nothing that belongs to it listens there yet, and nobody may be
    asked: whoever answers is somebody else. `exit_code` of one that is gone is negative where a
    signal ended it, and None where nobody knows. `log` is where its output is kept.
    """

    name: str
    provider: str
    status: NodeStatus
    url: str
    pid: int | None = None
    started_at: datetime | None = None
    exit_code: int | None = None
    log: str | None = None


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


class Provider(OfferingSource, Protocol):
    """Where nodes come from. `terminate` is idempotent: a node that is gone is success."""

    async def launch(self, spec: LaunchSpec, secrets: Mapping[str, str]) -> Node:
        """Start `spec`; raise DeploymentError where that cannot be done or the name is taken."""
        ...

    async def describe(self, name: str) -> Node | None:
        """Return the node of that name as it is now, None where none is known."""
        ...

    async def list_nodes(self) -> list[Node]:
        """Return every node of ours that still runs."""
        ...

    async def terminate(self, name: str) -> None:
        """End the node and everything it started."""
        ...

    def logs(self, name: str, *, tail: int = 100, follow: bool = False) -> AsyncIterator[str]:
        """Yield the node's last `tail` log lines, then new ones while `follow`."""
        ...
