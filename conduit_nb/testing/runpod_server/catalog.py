"""The catalogue of the local Runpod server: what its stock is, as the API lists it.

Layer 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast, get_args

from conduit_nb.testing.runpod_server.stock import (
    CpuType,
    DataCenter,
    GpuType,
    Machine,
    Stock,
    level,
    meets_cuda,
)
from conduit_nb.testing.runpod_server.wire import (
    CenterStock,
    CenterWire,
    Cloud,
    CpuTypeWire,
    CudaStock,
    GpuTypeWire,
    Refused,
)

T = TypeVar("T", bound=str)
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFilter:
    """What stock is asked for; None where only the types are."""

    count: int
    cloud: Cloud
    countries: tuple[str, ...]
    cuda: tuple[str, ...]
    least_cuda: str | None


def list_gpus(stock: Stock, query: Query) -> list[GpuTypeWire]:
    """Return every type, with stock where the query includes it."""
    wanted = _gpu_filter(query)
    return [
        wire
        for gpu in stock.gpus
        for wire in [describe_gpu(stock, gpu, wanted)]
        if wanted is None or not wanted.countries or "dataCenters" in wire
    ]


def get_gpu(stock: Stock, gpu_id: str, query: Query) -> GpuTypeWire:
    """Return one type; raise Refused (404) where there is none of that id."""
    wanted, gpu = _gpu_filter(query), stock.gpu(gpu_id)
    if gpu is None:
        raise Refused(404, f"There is no GPU type {gpu_id!r}.")
    return describe_gpu(stock, gpu, wanted)


def describe_gpu(stock: Stock, gpu: GpuType, wanted: GpuFilter | None) -> GpuTypeWire:
    """Return the type, and its stock where it is wanted."""
    wire = GpuTypeWire(
        id=gpu.id,
        name=gpu.name,
        pool=gpu.pool,
        manufacturer=gpu.manufacturer,
        memory=gpu.memory_gb,
        secure=gpu.secure_usd > 0,
        community=gpu.community_usd > 0,
        price={"secure": gpu.secure_usd, "community": gpu.community_usd},
        maxCount={
            "secure": stock.most_devices(gpu.id, "SECURE"),
            "community": stock.most_devices(gpu.id, "COMMUNITY"),
        },
    )
    if wanted is None:
        return wire
    machines = [
        machine
        for machine in stock.machines_of(gpu.id, wanted.cloud)
        if (not wanted.countries or stock.center(machine.center).country in wanted.countries)
        and meets_cuda(machine, exactly=wanted.cuda, at_least=wanted.least_cuda)
    ]
    wire["availability"] = level(machines, wanted.count)
    centers = list(_center_stock(stock, machines, wanted.count))
    if any(center["availability"] != "NONE" for center in centers):
        wire["dataCenters"] = centers
    versions = list(_cuda_stock(machines, wanted.count))
    if versions:
        wire["cudaVersions"] = versions
    return wire


def list_cpus(stock: Stock, query: Query) -> list[CpuTypeWire]:
    """Return every CPU type, with stock where the query includes it."""
    return [describe_cpu(stock, cpu, query) for cpu in stock.cpus]


def get_cpu(stock: Stock, cpu_id: str, query: Query) -> CpuTypeWire:
    """Return one CPU type; raise Refused (404) where there is none of that id."""
    cpu = stock.cpu(cpu_id)
    if cpu is None:
        raise Refused(404, f"There is no CPU type {cpu_id!r}.")
    return describe_cpu(stock, cpu, query)


def describe_cpu(stock: Stock, cpu: CpuType, query: Query) -> CpuTypeWire:
    """Return the type, and its stock where the query includes it."""
    has_stock = _includes_stock(query, ("POD", "SERVERLESS"), ("vcpuCount",))
    wire = CpuTypeWire(
        id=cpu.id,
        name=cpu.name,
        group=cpu.group,
        vcpu={"min": cpu.least_vcpus, "max": cpu.most_vcpus},
        ramGbPerVcpu=cpu.ram_gb_per_vcpu,
        price={"securePerVcpu": cpu.usd_per_vcpu, "serverlessPerVcpu": cpu.usd_per_vcpu},
    )
    if not has_stock:
        return wire
    vcpus = _whole(query, "vcpuCount", cpu.least_vcpus)
    if vcpus & (vcpus - 1):
        raise Refused(400, f"vcpuCount {vcpus} is no power of two.")
    if vcpus > cpu.most_vcpus:
        wire["availability"] = "NONE"
        return wire
    wire["availability"] = "HIGH"
    wire["dataCenters"] = [
        {"id": center, "name": stock.center(center).name, "availability": "HIGH"}
        for center in cpu.centers
    ]
    return wire


def list_centers(stock: Stock, query: Query) -> list[CenterWire]:
    """Return the data centres that all given filters leave."""
    regions, compliance = _words(query, "regions"), _words(query, "compliance")
    volumes, include = _words(query, "networkVolumeTypes"), _words(query, "include")
    return [
        _center(stock, center, include)
        for center in stock.centers
        if (not regions or center.region in regions)
        and set(compliance) <= set(center.compliance)
        and not volumes
        and query.get("globalNetwork") != "true"
    ]


def get_center(stock: Stock, center_id: str, query: Query) -> CenterWire:
    """Return one data centre; raise Refused (404) where there is none of that id."""
    for center in stock.centers:
        if center.id == center_id:
            return _center(stock, center, _words(query, "include"))
    raise Refused(404, f"There is no data centre {center_id!r}.")


def _center(stock: Stock, center: DataCenter, include: tuple[str, ...]) -> CenterWire:
    wire = CenterWire(
        id=center.id,
        name=center.name,
        region=center.region,
        globalNetwork=False,
        networkVolumeTypes=[],
        compliance=list(center.compliance),
    )
    gpus: list[CenterStock] = []
    for gpu in stock.gpus:
        here = [one for one in stock.machines_of(gpu.id, "SECURE") if one.center == center.id]
        if here:
            gpus.append({"id": gpu.id, "name": gpu.name, "availability": level(here, 1)})
    cpus: list[CenterStock] = [
        {"id": cpu.id, "name": cpu.name, "availability": "HIGH"}
        for cpu in stock.cpus
        if center.id in cpu.centers
    ]
    if "GPU_AVAILABILITY" in include and gpus:
        wire["gpuAvailability"] = gpus
    if "CPU_AVAILABILITY" in include and cpus:
        wire["cpuAvailability"] = cpus
    return wire


def _center_stock(stock: Stock, machines: list[Machine], count: int) -> Iterator[CenterStock]:
    for center in stock.centers:
        here = [one for one in machines if one.center == center.id and one.gpus >= count]
        if here:
            yield {"id": center.id, "name": center.name, "availability": level(here, count)}


def _cuda_stock(machines: list[Machine], count: int) -> Iterator[CudaStock]:
    versions = {machine.cuda for machine in machines if machine.cuda and machine.gpus >= count}
    for version in sorted(versions):
        fitting = [machine for machine in machines if machine.cuda == version]
        yield {"version": version, "available": level(fitting, count) != "NONE"}


def _gpu_filter(query: Query) -> GpuFilter | None:
    needs_stock = ("count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion")
    if not _includes_stock(query, ("POD", "CLUSTER", "SERVERLESS"), needs_stock):
        return None
    versions, floor = _words(query, "cudaVersions"), query.get("minCudaVersion")
    if versions and floor:
        raise Refused(400, "cudaVersions and minCudaVersion exclude each other.")
    _match(versions, r"\d+\.\d+", "cudaVersions")
    _match((floor,) if floor else (), r"\d+(\.\d+)?", "minCudaVersion")
    countries = _words(query, "countryCodes")
    _match(countries, r"[A-Z]{2}", "countryCodes")
    return GpuFilter(
        count=_whole(query, "count", 1),
        cloud=_one_of(query.get("cloud", "SECURE"), "cloud", get_args(Cloud)),
        countries=countries,
        cuda=versions,
        least_cuda=floor,
    )


def _includes_stock(query: Query, products: tuple[str, ...], needing: tuple[str, ...]) -> bool:
    """Say whether stock is wanted; it must name the product, and only it may have filters."""
    include = _words(query, "include")
    for word in include:
        _one_of(word, "include", ("AVAILABILITY",))
    named = _words(query, "product")
    for word in named:
        _one_of(word, "product", products)
    if bool(include) != bool(named):
        raise Refused(400, "include=AVAILABILITY and product are given together, or not at all.")
    useless = [name for name in needing if name in query]
    if useless and not include:
        raise Refused(400, f"{', '.join(useless)} needs include=AVAILABILITY.")
    return bool(include)


def _words(query: Query, name: str) -> tuple[str, ...]:
    return tuple(word for word in query.get(name, "").split(",") if word)


def _whole(query: Query, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise Refused(422, f"{name}={text!r} is no whole number above 0.")
    return int(text)


def _one_of(word: str, name: str, allowed: tuple[T, ...]) -> T:
    if word not in allowed:
        raise Refused(422, f"{name}={word!r} is none of {', '.join(allowed)}.")
    return cast("T", word)


def _match(words: tuple[str, ...], pattern: str, name: str) -> None:
    for word in words:
        if not re.fullmatch(pattern, word):
            raise Refused(422, f"{name}={word!r} is malformed.")
