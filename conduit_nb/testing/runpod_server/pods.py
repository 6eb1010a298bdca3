"""One pod of the local Runpod server: its settings, its state, its log, and how the API tells it.

Layer 6.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from conduit_nb.testing.runpod_server.billing import to_text
from conduit_nb.testing.runpod_server.containers import ContainerHandle
from conduit_nb.testing.runpod_server.stock import Machine
from conduit_nb.testing.runpod_server.wire import (
    Action,
    Cloud,
    ContainerChange,
    CreatePod,
    LogSource,
    Mounts,
    PodCpu,
    PodGpu,
    PodWire,
    Runtime,
    RuntimePort,
    Status,
)

ACTIONS: dict[Status, tuple[Action, ...]] = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
    "TERMINATED": (),
}
DEFAULT_DISK_GB = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a pod's log; `id` is what a client resumes after."""

    id: str
    moment: datetime
    source: LogSource
    text: str


@dataclass(slots=True, kw_only=True, eq=False)
class Pod:
    """A pod, from its creation to its end. `since` is when it came into its `status`,
    `last_status` what it was before it was terminated.

    `key` opens the API for this pod alone. `machine` is None for a CPU pod, and stays the same
    while it is stopped.
    """

    name: str
    image: str
    cloud: Cloud
    center: str | None
    usd_per_hour: float
    created_at: datetime
    since: datetime
    gpu: PodGpu | None = None
    cpu: PodCpu | None = None
    machine: Machine | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(7))
    key: str = field(default_factory=lambda: f"rpa_pod_{secrets.token_hex(16)}", repr=False)
    status: Status = "PROVISIONING"
    args: str = ""
    disk_gb: int = DEFAULT_DISK_GB
    env: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    ports: list[str] = field(default_factory=list[str])
    registry: str | None = None
    mounts: Mounts = field(default_factory=lambda: Mounts())
    locked: bool = False
    global_networking: bool = False
    started_at: datetime | None = None
    gone_at: datetime | None = None
    last_status: Status | None = None
    restarts: int = 0
    container: ContainerHandle | None = None
    log: list[LogLine] = field(default_factory=list[LogLine], repr=False)

    @property
    def total_disk_gb(self) -> int:
        """Return what it pays disk for: the container's and the persistent one."""
        persistent = self.mounts.get("persistent")
        return self.disk_gb + (persistent["size"] if persistent else 0)

    @property
    def is_up(self) -> bool:
        """Say whether it holds devices."""
        return self.status in ("PROVISIONING", "STARTING", "RUNNING")

    def enter(self, status: Status, moment: datetime) -> None:
        """Come into a state at that moment."""
        self.status, self.since = status, moment
        self.write("system", f"The pod is {status}.", moment)

    def write(self, source: LogSource, text: str, moment: datetime) -> None:
        """Add a line to its log."""
        number = len(self.log) + 1
        line_id = f"{to_text(moment)}/{number:012d}"
        self.log.append(LogLine(id=line_id, moment=moment, source=source, text=text))

    def apply(self, settings: ContainerChange | CreatePod) -> None:
        """Take over the settings that a body holds; what it leaves out stays."""
        self.name = settings.get("name", self.name)
        self.image = settings.get("image", self.image)
        self.args = settings.get("args", self.args)
        self.disk_gb = settings.get("disk", self.disk_gb)
        self.env = settings.get("env", self.env)
        self.ports = settings.get("ports", self.ports)
        self.registry = settings.get("registry", self.registry)
        self.mounts = settings.get("mounts", self.mounts) or self.mounts
        self.locked = settings.get("locked", self.locked)
        self.global_networking = settings.get("globalNetworking", self.global_networking)

    def published_ports(self, protocol: str = "") -> tuple[int, ...]:
        """Return the ports that it publishes, those of one protocol where one is given."""
        pairs = [port.partition("/") for port in self.ports]
        return tuple(int(port) for port, _, kind in pairs if not protocol or kind == protocol)

    def to_wire(self, now: datetime, *, as_before_its_end: bool = False) -> PodWire:
        """Return it as the API tells it; a list that lags tells a gone one as it last was."""
        status = (as_before_its_end and self.last_status) or self.status
        wire = PodWire(
            id=self.id,
            name=self.name,
            image=self.image,
            args=self.args,
            disk=self.disk_gb,
            ports=self.ports,
            env=self.env,
            registry=self.registry,
            status=status,
            actions=list(ACTIONS[status]),
            mounts=self.mounts,
            cloud=self.cloud,
            dataCenterId=self.center,
            cudaVersion=self.machine.cuda if self.machine else None,
            ssh={"proxy": None, "direct": None},
            template=None,
            cost=self.usd_per_hour if self.is_up else 0.0,
            locked=self.locked,
            globalNetworking={"enabled": self.global_networking},
            runtime=self._runtime(now),
            createdAt=to_text(self.created_at),
            startedAt=to_text(self.started_at) if self.started_at else None,
        )
        if self.gpu is not None:
            wire["gpu"] = self.gpu
        if self.cpu is not None:
            wire["cpu"] = self.cpu
        return wire

    def _runtime(self, now: datetime) -> Runtime | None:
        if self.status != "RUNNING" or self.started_at is None:
            return None
        ports: list[RuntimePort] = [
            {"private": port, "public": None, "type": "http", "ip": None}
            for port in self.published_ports("http")
        ]
        return {"uptime": int((now - self.started_at).total_seconds()), "ports": ports}
