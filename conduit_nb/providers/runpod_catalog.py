"""Runpod's catalogue (REST v2) as offerings: every GPU and CPU type it rents as a pod.

One offering for each cloud, number of devices and data centre. Stock depends on cloud and number,
so each pair is asked for by itself. Knows no pods.
Layer 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from conduit_nb.compute.accelerators import GIB_PER_GB
from conduit_nb.compute.names import Availability
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError, ProviderFailedError
from conduit_nb.providers.base import Listing
from conduit_nb.providers.devices import find_device
from conduit_nb.providers.rest import RestClient
from conduit_nb.together import all_or_none

T = TypeVar("T")
Json = Mapping[str, Any]
Cloud = Literal["SECURE", "COMMUNITY"]

PROVIDER = "runpod"
CLOUDS: tuple[Cloud, ...] = ("SECURE", "COMMUNITY")
LEVELS: Mapping[object, Availability] = {
    "NONE": "none",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
}
# Per GB and month, from Runpod's page of prices (November 2026): the API does not tell them.
DISK_USD_PER_GB_MONTH = 0.10
STOPPED_DISK_USD_PER_GB_MONTH = 0.20
# What makes a data centre of Runpod's own one for enterprises.
CERTIFICATES = frozenset({"SOC_2_TYPE_2", "ISO_IEC_27001"})
# A pod of this many devices is the most that is asked for, whatever the catalogue claims.
MOST_DEVICES = 64
HINT = "Ask again later; the other offerings are not affected."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stock:
    """What the catalogue says of the types in one cloud, for pods of `count` devices or vCPUs."""

    cloud: Cloud
    count: int
    types: Mapping[str, Json]


async def read_catalog(api: RestClient, *, read_at: datetime, timeout_s: float) -> Listing:
    """Return the whole catalogue as of `read_at`; raise ProviderError where it cannot be had."""
    centers, cpus, *first = await all_or_none(
        _types(api, "datacenters", "dataCenters", {}, timeout_s),
        _types(api, "cpus", "cpus", {}, timeout_s),
        *(_gpu_stock(api, cloud, 1, timeout_s) for cloud in CLOUDS),
    )
    assert isinstance(centers, dict)
    assert isinstance(cpus, dict)
    ones = [stock for stock in first if isinstance(stock, _Stock)]
    more = await all_or_none(
        *(
            _gpu_stock(api, stock.cloud, count, timeout_s)
            for stock in ones
            for count in range(2, _most_devices(stock) + 1)
        ),
        *(_cpu_stock(api, count, timeout_s) for count in _vcpu_counts(cpus.values())),
    )
    reader = _Reader(centers, read_at)
    offerings = [
        offering
        for stock in (*ones, *more)
        for type_id in stock.types
        for offering in reader.read(stock, type_id)
    ]
    return Listing(offerings=tuple(offerings), problems=tuple(reader.problems.values()))


class _Reader:
    """Turns entries of the catalogue into offerings; keeps what is wrong with them, once each."""

    def __init__(self, centers: Mapping[str, Json], read_at: datetime) -> None:
        self._centers = centers
        self._read_at = read_at
        self.problems: dict[str, ConduitError] = {}

    def read(self, stock: _Stock, type_id: str) -> list[ComputeOffering]:
        entry = stock.types[type_id]
        read = self._gpu if "maxCount" in entry else self._cpu
        try:
            return list(read(stock, type_id, entry))
        except (
            AttributeError,
            KeyError,
            OverflowError,
            TypeError,
            ValueError,
            ConduitError,
        ) as err:
            self.problems[type_id] = ProviderFailedError(
                f"{PROVIDER}: what it says of {type_id!r} cannot be read ({err!r}).", hint=HINT
            )
            return []

    def _gpu(self, stock: _Stock, gpu_id: str, entry: Json) -> Iterator[ComputeOffering]:
        cloud, count = stock.cloud.lower(), stock.count
        if not entry[cloud] or count > int(entry["maxCount"][cloud]):
            return
        usd_per_hour, memory_gb = float(entry["price"][cloud]), float(entry["memory"])
        if not (0 < usd_per_hour < math.inf and 0 < memory_gb < math.inf):
            raise ValueError(f"price {usd_per_hour:g} USD, memory {memory_gb:g} GB")
        accelerator, memory_gib = find_device(
            gpu_id, str(entry.get("name", "")), memory_gb=memory_gb
        )
        for center_id, availability in self._places(entry):
            yield self._offering(
                id=f"{count}x {gpu_id}, {cloud}" + (f", {center_id}" if center_id else ""),
                accelerator=accelerator,
                memory_gib=memory_gib,
                count=count,
                usd_per_hour=usd_per_hour * count,
                center_id=center_id,
                availability=availability,
                cuda=_newest_cuda(entry),
                metadata={
                    "gpu_id": gpu_id,
                    "gpu_name": entry.get("name"),
                    "manufacturer": entry.get("manufacturer"),
                    "memory_gb": memory_gb,
                    "cloud": stock.cloud,
                },
            )

    def _cpu(self, stock: _Stock, cpu_id: str, entry: Json) -> Iterator[ComputeOffering]:
        vcpus = stock.count
        if not int(entry["vcpu"]["min"]) <= vcpus <= int(entry["vcpu"]["max"]):
            return
        usd_per_hour = float(entry["price"]["securePerVcpu"]) * vcpus
        ram_gib = float(entry["ramGbPerVcpu"]) * vcpus * GIB_PER_GB
        if not (0 < usd_per_hour < math.inf and 0 < ram_gib < math.inf):
            raise ValueError(f"price {usd_per_hour:g} USD, memory {ram_gib:g} GiB")
        for center_id, availability in self._places(entry):
            yield self._offering(
                id=f"{vcpus} vCPU {cpu_id}" + (f", {center_id}" if center_id else ""),
                accelerator=None,
                memory_gib=ram_gib,
                count=1,
                vcpus=vcpus,
                ram_gib=ram_gib,
                usd_per_hour=usd_per_hour,
                center_id=center_id,
                availability=availability,
                metadata={"cpu_id": cpu_id, "cpu_name": entry.get("name"), "cloud": stock.cloud},
            )

    def _places(self, entry: Json) -> Iterator[tuple[str | None, Availability]]:
        """Yield the data centres that have it; one place without a name where none is listed."""
        centers: list[Json] = entry.get("dataCenters") or []
        for center in centers:
            yield str(center["id"]), LEVELS.get(center.get("availability"), "unknown")
        if not centers:
            yield None, LEVELS.get(entry.get("availability"), "unknown")

    def _offering(
        self,
        *,
        center_id: str | None,
        usd_per_hour: float,
        metadata: Mapping[str, object],
        **values: Any,
    ) -> ComputeOffering:
        center = self._centers.get(center_id or "", {})
        compliance = tuple(cast("list[str]", center.get("compliance") or []))
        return ComputeOffering(
            provider=PROVIDER,
            region=center_id,
            usd_per_hour=round(usd_per_hour, 6),
            disk_usd_per_gib_month=_per_gib(DISK_USD_PER_GB_MONTH),
            stopped_disk_usd_per_gib_month=_per_gib(STOPPED_DISK_USD_PER_GB_MONTH),
            price_as_of=self._read_at,
            availability_as_of=self._read_at,
            enterprise=metadata["cloud"] == "SECURE" and bool(CERTIFICATES & {*compliance}),
            metadata={
                **metadata,
                "compliance": compliance,
                "continent": center.get("region"),
            },
            **values,
        )


def _newest_cuda(entry: Json) -> tuple[int, int] | None:
    """Return the newest CUDA version of which there is a free machine."""
    versions: list[Json] = entry.get("cudaVersions") or []
    found: list[tuple[int, int]] = []
    for version in versions:
        major, dot, minor = str(version.get("version", "")).partition(".")
        if version.get("available") and dot and major.isdecimal() and minor.isdecimal():
            found.append((int(major), int(minor)))
    return max(found, default=None)


def _per_gib(usd_per_gb: float) -> float:
    return usd_per_gb / GIB_PER_GB


def _most_devices(stock: _Stock) -> int:
    cloud = stock.cloud.lower()
    counts = [_whole(entry.get("maxCount"), cloud, 1) for entry in stock.types.values()]
    return min(max(counts, default=1), MOST_DEVICES)


def _whole(fields: object, name: str, otherwise: int) -> int:
    """Return a whole number out of an object of the catalogue."""
    value = cast("Json", fields).get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, int) else otherwise


def _vcpu_counts(cpus: Iterable[Json]) -> list[int]:
    """Return the powers of two within the reach of any CPU type."""
    reaches = [entry.get("vcpu") for entry in cpus]
    least = min((_whole(reach, "min", 2) for reach in reaches), default=2)
    most = max((_whole(reach, "max", 0) for reach in reaches), default=0)
    return [2**power for power in range(1, 9) if least <= 2**power <= most]


async def _gpu_stock(api: RestClient, cloud: Cloud, count: int, timeout_s: float) -> _Stock:
    query = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud}
    types = await _types(api, "gpus", "gpus", query, timeout_s)
    return _Stock(cloud=cloud, count=count, types=types)


async def _cpu_stock(api: RestClient, vcpus: int, timeout_s: float) -> _Stock:
    query = {"include": "AVAILABILITY", "product": "POD", "vcpuCount": vcpus}
    types = await _types(api, "cpus", "cpus", query, timeout_s)
    return _Stock(cloud="SECURE", count=vcpus, types=types)


async def _types(
    api: RestClient, path: str, name: str, query: Mapping[str, str | int], timeout_s: float
) -> dict[str, Json]:
    """Return the entries of one list of the catalogue by their ids."""
    entries: object = (await api.get(f"/catalog/{path}", query, timeout_s=timeout_s)).get(name)
    if not isinstance(entries, list):
        raise ProviderFailedError(f"{PROVIDER}: its catalogue has no list of {name}.", hint=HINT)
    return {
        str(entry["id"]): entry
        for entry in cast("list[Json]", entries)
        if isinstance(entry, dict) and "id" in entry
    }
