"""What the local Runpod server rents: types of devices, machines that hold them, data centres.

Stock is counted, not set: a pod takes devices of one machine, and gives them back.
Layer 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conduit_nb.testing.runpod_server.wire import Cloud, Level, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCenter:
    """Where machines stand; `country` is its ISO code."""

    id: str
    name: str
    country: str
    region: Region
    compliance: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """One kind of GPU; prices are per device and hour, 0 where it is not rented there."""

    id: str
    name: str
    memory_gb: int
    secure_usd: float = 0.0
    community_usd: float = 0.0
    manufacturer: str = "NVIDIA"
    pool: str | None = None

    def usd_per_hour(self, cloud: Cloud) -> float:
        """Return the price of one device."""
        return self.secure_usd if cloud == "SECURE" else self.community_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuType:
    """One kind of CPU, in the data centres that have it."""

    id: str
    name: str
    group: str
    least_vcpus: int
    most_vcpus: int
    ram_gb_per_vcpu: float
    usd_per_vcpu: float
    centers: tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """One host with `gpus` devices of a type; `used` of them are taken."""

    gpu_id: str
    center: str
    gpus: int
    cloud: Cloud = "SECURE"
    cuda: str | None = "12.8"
    used: int = 0

    @property
    def free(self) -> int:
        """Return how many devices can be had."""
        return self.gpus - self.used


CENTERS = (
    DataCenter(
        id="US-KS-2",
        name="Kansas",
        country="US",
        region="NORTH_AMERICA",
        compliance=("SOC_2_TYPE_2", "ISO_IEC_27001"),
    ),
    DataCenter(id="EU-RO-1", name="Romania", country="RO", region="EUROPE", compliance=("GDPR",)),
    DataCenter(id="OC-AU-1", name="Australia", country="AU", region="OCEANIA"),
)
RTX_4090 = GpuType(
    id="NVIDIA GeForce RTX 4090",
    name="RTX 4090",
    memory_gb=24,
    secure_usd=0.69,
    community_usd=0.34,
    pool="ADA_24",
)
L40S = GpuType(id="NVIDIA L40S", name="L40S", memory_gb=48, secure_usd=0.86, community_usd=0.79)
A100 = GpuType(
    id="NVIDIA A100-SXM4-80GB", name="A100 SXM", memory_gb=80, secure_usd=1.49, pool="AMPERE_80"
)
H100 = GpuType(id="NVIDIA H100 80GB HBM3", name="H100 SXM", memory_gb=80, secure_usd=2.99)
MI300X = GpuType(
    id="AMD Instinct MI300X OAM",
    name="MI300X",
    memory_gb=192,
    secure_usd=1.99,
    manufacturer="AMD",
)
GPUS = (RTX_4090, L40S, A100, H100, MI300X)
CPUS = (
    CpuType(
        id="cpu5c",
        name="Compute-Optimized",
        group="Gen 5",
        least_vcpus=2,
        most_vcpus=32,
        ram_gb_per_vcpu=2.0,
        usd_per_vcpu=0.035,
        centers=("US-KS-2", "EU-RO-1"),
    ),
)


def default_machines() -> list[Machine]:
    """Return machines such that every level of stock occurs."""
    return [
        *(Machine(gpu_id=RTX_4090.id, center="EU-RO-1", gpus=8) for _ in range(4)),
        *(Machine(gpu_id=RTX_4090.id, center="US-KS-2", gpus=4) for _ in range(2)),
        Machine(gpu_id=RTX_4090.id, center="OC-AU-1", gpus=2, cloud="COMMUNITY", cuda="12.4"),
        *(Machine(gpu_id=L40S.id, center="US-KS-2", gpus=4) for _ in range(2)),
        Machine(gpu_id=L40S.id, center="OC-AU-1", gpus=1, cloud="COMMUNITY"),
        Machine(gpu_id=A100.id, center="US-KS-2", gpus=8),
        Machine(gpu_id=H100.id, center="EU-RO-1", gpus=8, used=8),
        Machine(gpu_id=MI300X.id, center="EU-RO-1", gpus=8, cuda=None),
    ]


@dataclass(slots=True, kw_only=True)
class Stock:
    """Everything that is rented."""

    gpus: Sequence[GpuType] = GPUS
    machines: list[Machine] = field(default_factory=default_machines)
    cpus: Sequence[CpuType] = CPUS
    centers: Sequence[DataCenter] = CENTERS

    def gpu(self, gpu_id: str) -> GpuType | None:
        """Return the type of that id."""
        return next((gpu for gpu in self.gpus if gpu.id == gpu_id), None)

    def cpu(self, cpu_id: str) -> CpuType | None:
        """Return the type of that id."""
        return next((cpu for cpu in self.cpus if cpu.id == cpu_id), None)

    def center(self, center_id: str) -> DataCenter:
        """Return the data centre of that id."""
        return next(center for center in self.centers if center.id == center_id)

    def machines_of(self, gpu_id: str, cloud: Cloud) -> list[Machine]:
        """Return the machines that hold such devices in that cloud."""
        return [one for one in self.machines if (one.gpu_id, one.cloud) == (gpu_id, cloud)]

    def most_devices(self, gpu_id: str, cloud: Cloud) -> int:
        """Return how many devices the largest machine has, 0 where there is none."""
        return max((machine.gpus for machine in self.machines_of(gpu_id, cloud)), default=0)


def level(machines: Iterable[Machine], count: int) -> Level:
    """Return the level of stock for pods of `count` devices, by how many could start now."""
    possible = sum(machine.free // count for machine in machines)
    if possible == 0:
        return "NONE"
    return "LOW" if possible < 2 else "MEDIUM" if possible < 4 else "HIGH"


def meets_cuda(machine: Machine, *, exactly: Sequence[str], at_least: str | None) -> bool:
    """Say whether the machine's CUDA is among the exact versions and not below the floor."""
    if not exactly and at_least is None:
        return True
    if machine.cuda is None:
        return False
    if exactly:
        return machine.cuda in exactly
    assert at_least is not None
    return _version(machine.cuda) >= _version(at_least)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
