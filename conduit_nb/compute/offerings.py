"""What compute is offered: by whom, where, with which devices, at what price, and on what terms.

Knows no plan and no constraint: see selection.
Layer 2: pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Literal, overload

from conduit_nb.compute.accelerators import Accelerator, Link, find_accelerators
from conduit_nb.compute.names import AVAILABILITIES, Availability
from conduit_nb.errors import ArgumentError

NodeLink = Literal["infiniband", "ethernet"]
"""What joins the nodes of an offering that has several."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hardware:
    """What of an offering is held against a plan. Equal ones are one object (`hardware_of`).

    `accelerator` is None for a CPU and for what the table does not know; `is_cpu` tells which.
    `share` is what an instance of a card that MIG has cut has of it, else 1.
    `memory_gib` is that of one device: what is offered, but never more than such a device has.
    """

    name: str
    accelerator: Accelerator | None
    share: float
    is_cpu: bool
    count: int
    nodes: int
    memory_gib: float
    link: Link | None
    node_link: NodeLink | None
    cuda: tuple[int, int] | None
    driver: tuple[int, ...] | None

    @property
    def devices(self) -> int:
        """Return how many devices there are on all nodes."""
        return self.count * self.nodes

    @property
    def total_gib(self) -> float:
        """Return the memory of all devices."""
        return self.devices * self.memory_gib


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """What of an offering is held against a constraint. Equal ones are one object (`terms_of`)."""

    provider: str
    region: str | None
    availability: Availability
    interruptible: bool
    enterprise: bool
    launchable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOffering:
    """One kind of node (or `nodes` joined ones) that a provider sells or has.

    `accelerator` is any name that `find_accelerator` knows, None for a CPU; where it fits several
    accelerators of that memory, the slowest is assumed. `count` devices stand in each of `nodes`
    nodes and have `memory_gib` each. `usd_per_hour` is the price of the whole, `None` prices are
    not known. `interconnect` joins the devices of a node (None: as is usual for the accelerator),
    `node_interconnect` the nodes. `cuda` and `driver` are the newest that can be had, None where
    nobody says. `enterprise` marks a provider's own, certified data centres; `launchable` what some
    provider of this installation can start. Prices and stock are as old as their `_as_of` says.

    Raises ArgumentError where a value cannot be meant.
    """

    provider: str
    id: str
    accelerator: str | None
    memory_gib: float
    usd_per_hour: float
    count: int = 1
    nodes: int = 1
    region: str | None = None
    vcpus: float | None = None
    ram_gib: float | None = None
    disk_usd_per_gib_month: float | None = None
    stopped_disk_usd_per_gib_month: float | None = None
    stopped_usd_per_hour: float | None = None
    price_as_of: datetime | None = None
    availability: Availability = "unknown"
    availability_as_of: datetime | None = None
    interruptible: bool = False
    interconnect: Link | None = None
    node_interconnect: NodeLink | None = None
    enterprise: bool = False
    launchable: bool = True
    cuda: tuple[int, int] | None = None
    driver: tuple[int, ...] | None = None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    hardware: Hardware = field(init=False, repr=False, compare=False)
    terms: Terms = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        hardware = hardware_of(
            self.accelerator,
            self.memory_gib,
            self.count,
            self.nodes,
            self.interconnect,
            self.node_interconnect,
            self.cuda,
            self.driver,
        )
        terms = terms_of(
            self.provider,
            self.region,
            self.availability,
            self.interruptible,
            self.enterprise,
            self.launchable,
        )
        object.__setattr__(self, "hardware", hardware)
        object.__setattr__(self, "terms", terms)

    @property
    def total_gib(self) -> float:
        """Return the memory of all devices on all nodes."""
        return self.hardware.total_gib

    @property
    def usd_per_gib_hour(self) -> float:
        """Return the price per hour of one GiB of device memory."""
        return self.usd_per_hour / self.hardware.total_gib

    def _check(self) -> None:
        if not (self.memory_gib > 0 and math.isfinite(self.memory_gib)):
            self._refuse("memory_gib", "the GiB of one device, above 0")
        if not (self.usd_per_hour >= 0 and math.isfinite(self.usd_per_hour)):
            self._refuse("usd_per_hour", "the price of the whole offering, 0 or more")
        if self.count < 1:
            self._refuse("count", "the devices of one node, 1 or more")
        if self.nodes < 1:
            self._refuse("nodes", "1 or more")
        if self.availability not in AVAILABILITIES:
            self._refuse("availability", f"one of {', '.join(AVAILABILITIES)}")

    def _refuse(self, name: str, takes: str) -> None:
        raise ArgumentError(
            f"{self.provider} {self.id}: {name}={getattr(self, name)!r} cannot be meant.",
            param=name,
            hint=f"{name} is {takes}.",
        )


@lru_cache(maxsize=2**16)
def hardware_of(
    name: str | None,
    memory_gib: float,
    count: int = 1,
    nodes: int = 1,
    link: Link | None = None,
    node_link: NodeLink | None = None,
    cuda: tuple[int, int] | None = None,
    driver: tuple[int, ...] | None = None,
) -> Hardware:
    """Return the one Hardware of these values, looked up in the accelerators' table."""
    card, instance, slices = (name or "").partition(" MIG ")
    accelerator = slowest_accelerator(card, memory_gib) if card else None
    if accelerator is not None:
        memory_gib = min(memory_gib, accelerator.usable_gib)
        link = link or accelerator.link
    return Hardware(
        name=name or "CPU",
        accelerator=accelerator,
        share=_mig_share(slices) if instance else 1.0,
        is_cpu=name is None,
        count=count,
        nodes=nodes,
        memory_gib=memory_gib,
        link=link,
        node_link=node_link,
        cuda=cuda,
        driver=driver,
    )


def _mig_share(profile: str) -> float:
    """Return what `3g.40gb` has of a card, whose memory has eight slices: NVIDIA's MIG guide."""
    slices = int(profile[0]) if profile[:1].isdecimal() else 1
    return 1.0 if slices >= 7 else slices / 8


@lru_cache(maxsize=2**16)
def terms_of(
    provider: str,
    region: str | None,
    availability: Availability,
    interruptible: bool,
    enterprise: bool,
    launchable: bool,
) -> Terms:
    """Return the one Terms of these values."""
    return Terms(
        provider=provider,
        region=region,
        availability=availability,
        interruptible=interruptible,
        enterprise=enterprise,
        launchable=launchable,
    )


def slowest_accelerator(name: str, memory_gib: float) -> Accelerator | None:
    """Return the accelerator of that name, of several the one with least bandwidth, or None.

    Several of the same memory ("A100", 80) are told apart by it; part of one (MIG, memory that
    others use) still is that accelerator.
    """
    found = find_accelerators(name, memory_gib=memory_gib) or tuple(
        one for one in find_accelerators(name) if one.usable_gib >= memory_gib
    )
    return min(found, key=lambda one: (one.bandwidth_gb_per_s, one.name), default=None)


class OfferingTable(Sequence[ComputeOffering]):
    """Offerings, grouped by hardware and sorted by price: made once, asked often."""

    def __init__(self, offerings: Iterable[ComputeOffering]) -> None:
        self._all = list(offerings)
        groups: dict[Hardware, list[ComputeOffering]] = {}
        for offering in self._all:
            try:
                groups[offering.hardware].append(offering)
            except KeyError:
                groups[offering.hardware] = [offering]
        self._groups = groups
        self._sorted: set[Hardware] = set()

    @overload
    def __getitem__(self, index: int) -> ComputeOffering: ...
    @overload
    def __getitem__(self, index: slice) -> list[ComputeOffering]: ...
    def __getitem__(self, index: int | slice) -> ComputeOffering | list[ComputeOffering]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[ComputeOffering]:
        return iter(self._all)

    @property
    def hardware(self) -> Iterable[Hardware]:
        """Return every kind of hardware that is offered."""
        return self._groups.keys()

    @cached_property
    def terms(self) -> Mapping[Terms, int]:
        """Return all terms, and how many offerings have each."""
        return Counter(map(attrgetter("terms"), self._all))

    def of(self, hardware: Hardware) -> list[ComputeOffering]:
        """Return the offerings of that hardware, the cheapest first; not to be changed."""
        group = self._groups[hardware]
        if hardware not in self._sorted:
            group.sort(key=attrgetter("usd_per_hour"))
            self._sorted.add(hardware)
        return group
