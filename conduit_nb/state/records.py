"""What the state store keeps: deployments, their nodes, and what those cost.

A record is as it was read; a changed one is written by the store, which gives it a new revision.
All moments are aware and in UTC.
Layer 3: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from conduit_nb.compute.request import DeploymentRequest

DeploymentState = Literal[
    "launching", "running", "stopping", "stopped", "terminating", "terminated", "failed"
]
NodeState = Literal[
    "launching",
    "booting",
    "running",
    "stopping",
    "stopped",
    "terminating",
    "terminated",
    "failed",
    "lost",
]
ChargeState = Literal["running", "stopped"]

ENDED_DEPLOYMENTS: frozenset[DeploymentState] = frozenset({"terminated", "failed"})
ENDED_NODES: frozenset[NodeState] = frozenset({"terminated", "failed", "lost"})
"""In which nothing of a node is left at its provider, so that nothing bills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """One deployment: `request` is what was asked for, `key` what makes it shared.

    `max_usd` is the cap of what it may spend, `detail` what there is to say of its state. `owner`
    (host, pid and creation time of a process) is who works on it.
    """

    id: str
    installation: str
    key: str
    name: str
    runtime: str
    provider: str | None
    request: DeploymentRequest
    status: DeploymentState
    created_at: datetime
    lease_until: datetime
    idle_s: float
    max_usd: float
    wanted_replicas: int
    owner: str
    detail: str = ""
    ended_at: datetime | None = None
    revision: int = 0

    @property
    def is_live(self) -> bool:
        """Say whether it has not ended for good."""
        return self.status not in ENDED_DEPLOYMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One node, by the name that we gave it before it was created.

    While it is "launching" the provider has been asked, or is about to be, and nobody knows
    whether there is a node: `owner` (host, pid and creation time of a process) is finding out.
    `offering` is the chosen offering as JSON. `budget_usd` is what it may spend until `not_after`.
    `missing_since` is when the provider first did not know of it.
    """

    name: str
    deployment: str
    replica: int
    attempt: int
    provider: str
    status: NodeState
    owner: str
    created_at: datetime
    boot_until: datetime
    usd_per_hour: float
    stopped_usd_per_hour: float = 0.0
    budget_usd: float | None = None
    not_after: datetime | None = None
    provider_id: str | None = None
    offering: str = ""
    models: str = ""
    url: str | None = None
    detail: str = ""
    ready_at: datetime | None = None
    missing_since: datetime | None = None
    ended_at: datetime | None = None
    revision: int = 0

    @property
    def is_live(self) -> bool:
        """Say whether something of it may still be at its provider, and cost."""
        return self.status not in ENDED_NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A time in which a node costs one rate; it goes on while `end` is None.

    `billed_usd` is what the provider says that the node has cost until then, where it says so.
    `twin` is the provider's id of a second node of that name, where the charge is that one's.
    """

    node: str
    deployment: str
    state: ChargeState
    usd_per_hour: float
    begin: datetime
    end: datetime | None = None
    billed_usd: float | None = None
    twin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What has changed since a revision; `revision` is what to ask from next."""

    revision: int
    deployments: tuple[DeploymentRecord, ...]
    nodes: tuple[NodeRecord, ...]
