"""What is told to people about deployments and models: `ps`, `models`.

Layer 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from conduit_nb.displayed import Displayed

DeploymentStatus = str
"""For the sidecar "starting", "running", "stopping", "not answering" or "stopped"; of a deployment
its state, or "not answering"."""
ModelState = Literal["ready", "loading", "failed", "available"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentInfo(Displayed):
    """One deployment as it is now; what only its server can tell is None while that is silent.

    `models` maps the models in it to their state; `idle_s` are the seconds since its last request.
    What costs says how much: `nodes` is how many of them are ready, of how many.
    """

    name: str
    provider: str
    runtime: str
    status: DeploymentStatus
    url: str
    pid: int | None = None
    started_at: datetime | None = None
    device: str | None = None
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    idle_s: float | None = None
    log: str | None = None
    region: str | None = None
    nodes: str | None = None
    usd_per_hour: float | None = None
    spent_usd: float | None = None
    lease_until: datetime | None = None
    id: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model that can be used: in a `deployment`, or only "available" without a network.

    `memory_gib` is what is planned for it.
    """

    id: str
    state: ModelState
    deployment: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    context_tokens: int | None = None
    memory_gib: float | None = None
    running: int = 0
    waiting: int = 0
    detail: str = ""
