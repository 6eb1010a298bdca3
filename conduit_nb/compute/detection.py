"""What this machine has: NVIDIA devices through NVML, Apple's GPU, CPU and memory, as offerings.

Starts nothing and imports no torch. What cannot be seen is a problem in words, never an exception.
Layer 2: asks the machine.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import psutil

from conduit_nb.compute.accelerators import APPLE_SHARE, find_accelerators
from conduit_nb.compute.host_memory import free_memory_bytes
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.nvml_errors import explain_nvml_error
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.vram import GIB

T = TypeVar("T")
NVML_NOT_SUPPORTED, NVML_NOT_FOUND = 3, 6


class Nvml(Protocol):
    """What of the module pynvml (nvidia-ml-py) is used; handles are NVML's own."""

    NVMLError: type[Exception]
    nvmlMemory_v2: int

    def nvmlInit(self) -> object: ...
    def nvmlShutdown(self) -> object: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...
    def nvmlSystemGetCudaDriverVersion_v2(self) -> int: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any, version: int | None = None) -> Any: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, or an instance of one that MIG has cut; `parent` is the index of its card.

    One without memory of its own has the system's.
    `free_bytes` is what nobody uses: what the driver keeps for itself is in `total_bytes` only.
    """

    index: int
    name: str
    uuid: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    compute_capability: tuple[int, int] | None
    parent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionProblem:
    """Something that could not be seen: what, why, and what to do."""

    what: str
    reason: str
    hint: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The NVIDIA devices of this machine, and what kept others from being seen."""

    devices: tuple[Device, ...] = ()
    problems: tuple[DetectionProblem, ...] = ()
    driver: tuple[int, ...] | None = None
    cuda: tuple[int, int] | None = None


def detect_devices(nvml: Nvml | None = None) -> Detection:
    """Ask NVML for every device; `nvml` is the module pynvml unless another is given."""
    if nvml is None:
        nvml = _load_nvml()
    if nvml is None:
        problem = DetectionProblem(
            what="NVIDIA devices",
            reason="the package nvidia-ml-py is not installed, so they cannot be seen",
            hint="pip install 'conduit-nb[gpu]'",
        )
        return Detection(problems=(problem,))
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as err:
        return Detection(problems=(_problem("NVIDIA devices", err),))
    try:
        return _detect(nvml)
    except nvml.NVMLError as err:
        return Detection(problems=(_problem("NVIDIA devices", err),))
    finally:
        _try(nvml, nvml.nvmlShutdown)


def ask_sysctl(name: str) -> str | None:
    """Return one of macOS's system values, None where there is no such thing."""
    try:
        done = subprocess.run(  # noqa: S603  # the names are written here
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def local_offerings(
    detection: Detection | None = None, *, sysctl: Callable[[str], str | None] = ask_sysctl
) -> list[ComputeOffering]:
    """Return what this machine can run on, free of charge: its GPUs by kind, Apple's GPU, its CPU.

    Of several cards of a kind, as many as have that much free memory are one offering: cards with
    24, 24 and 2 GiB free are offered as two with 24 and as three with 2.
    """
    detection = detect_devices() if detection is None else detection
    return [*_gpu_offerings(detection), *_apple_offerings(sysctl), _cpu_offering()]


def _load_nvml() -> Nvml | None:
    try:
        return cast("Nvml", import_module("pynvml"))
    except ImportError:
        return None


def _detect(nvml: Nvml) -> Detection:
    devices: list[Device] = []
    problems: list[DetectionProblem] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if _has_mig(nvml, handle):
                instances = list(_mig_instances(nvml, handle, index))
                devices += instances
                if not instances:
                    problems.append(_empty_mig(index))
            else:
                devices.append(_device(nvml, handle, index))
        except nvml.NVMLError as err:
            problems.append(_problem(f"GPU {index}", err))
    driver = _try(nvml, nvml.nvmlSystemGetDriverVersion)
    cuda = _try(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
    return Detection(
        devices=tuple(devices),
        problems=tuple(problems),
        driver=_version(_text(driver)) if driver is not None else None,
        cuda=(cuda // 1000, cuda % 1000 // 10) if cuda is not None else None,
    )


def _device(
    nvml: Nvml,
    handle: Any,
    index: int,
    *,
    parent: int | None = None,
    capability: tuple[int, int] | None = None,
) -> Device:
    name = _text(nvml.nvmlDeviceGetName(handle))
    memory = _memory(nvml, handle, name)
    if capability is None:
        capability = _try(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Device(
        index=index,
        name=name,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        total_bytes=memory.total,
        used_bytes=memory.used,
        free_bytes=memory.free,
        compute_capability=capability,
        parent=parent,
    )


class _Memory(NamedTuple):
    """A device's memory, in bytes."""

    total: int
    used: int
    free: int


def _memory(nvml: Nvml, handle: Any, name: str) -> _Memory:
    """Ask in the form that tells reserved memory from used; older drivers know one form only.

    A device that shares the system's memory (GB10 in a DGX Spark, Jetson) has none of its own to
    tell of: the system's is what it can have.
    """
    found = _try(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2))
    try:
        found = nvml.nvmlDeviceGetMemoryInfo(handle) if found is None else found
    except nvml.NVMLError as err:
        if _code(err) != NVML_NOT_SUPPORTED or _has_own_memory(name):
            raise
    if found is not None and int(found.total) > 0:
        return _Memory(total=int(found.total), used=int(found.used), free=int(found.free))
    total, free = psutil.virtual_memory().total, free_memory_bytes()
    return _Memory(total=total, used=max(total - free, 0), free=free)


def _has_own_memory(name: str) -> bool:
    """Return whether the device is a card that is known to have memory of its own."""
    known = find_accelerators(name)
    return bool(known) and all(one.link != "unified" for one in known)


def _has_mig(nvml: Nvml, handle: Any) -> bool:
    modes = _try(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    return modes is not None and bool(modes[0])


def _mig_instances(nvml: Nvml, card: Any, index: int) -> Iterator[Device]:
    capability = _try(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(card))
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place)
        except nvml.NVMLError as err:
            if _code(err) == NVML_NOT_FOUND:
                continue  # nothing was cut there
            raise
        yield _device(nvml, handle, place, parent=index, capability=capability)


def _empty_mig(index: int) -> DetectionProblem:
    return DetectionProblem(
        what=f"GPU {index}",
        reason="MIG is on, and no instance has been made",
        hint="Make instances with `nvidia-smi mig -cgi`, or turn MIG off with `nvidia-smi -mig 0`.",
    )


def _try(nvml: Nvml, ask: Callable[[], T]) -> T | None:
    """Return the answer, None where this device or driver does not give it."""
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _problem(what: str, err: Exception) -> DetectionProblem:
    reason, hint = explain_nvml_error(_code(err), str(err))
    return DetectionProblem(what=what, reason=reason, hint=hint)


def _code(err: Exception) -> int:
    return int(getattr(err, "value", 999))


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _version(text: str) -> tuple[int, ...] | None:
    return tuple(int(part) for part in re.findall(r"\d+", text)) or None


def _gpu_offerings(detection: Detection) -> Iterator[ComputeOffering]:
    kinds: dict[str, list[Device]] = {}
    for device in detection.devices:
        kinds.setdefault(device.name, []).append(device)
    for name, devices in kinds.items():
        devices.sort(key=lambda device: -device.free_bytes)
        for count, device in enumerate(devices, 1):
            is_last_of_size = count == len(devices) or (
                devices[count].free_bytes // GIB < device.free_bytes // GIB
            )
            if not is_last_of_size or device.free_bytes <= 0:
                continue
            yield _offering(
                f"{count}x {name}",
                accelerator=name,
                memory_gib=device.free_bytes / GIB,
                count=count,
                cuda=detection.cuda,
                driver=detection.driver,
                metadata={"uuids": tuple(one.uuid for one in devices[:count])},
            )


def _apple_offerings(sysctl: Callable[[str], str | None]) -> Iterator[ComputeOffering]:
    """Yield Apple's GPU, which may have a share of the memory that all use."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return
    name, total = sysctl("machdep.cpu.brand_string"), sysctl("hw.memsize")
    if name is None or total is None or not total.isdecimal():
        return
    most_bytes = int(total) * APPLE_SHARE
    wired_mb = sysctl("iogpu.wired_limit_mb")  # a limit that the user has set; 0 for none
    if wired_mb is not None and wired_mb.isdecimal() and int(wired_mb) > 0:
        most_bytes = int(wired_mb) * 2**20
    memory_bytes = min(most_bytes, psutil.virtual_memory().available)
    yield _offering(name, accelerator=name, memory_gib=memory_bytes / GIB)


def _cpu_offering() -> ComputeOffering:
    return _offering("CPU", accelerator=None, memory_gib=free_memory_bytes() / GIB)


def _offering(
    what: str,
    *,
    accelerator: str | None,
    memory_gib: float,
    count: int = 1,
    cuda: tuple[int, int] | None = None,
    driver: tuple[int, ...] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> ComputeOffering:
    return ComputeOffering(
        provider=ComputeProvider.LOCAL,
        id=what,
        accelerator=accelerator,
        memory_gib=memory_gib,
        usd_per_hour=0.0,
        count=count,
        vcpus=os.cpu_count(),
        ram_gib=psutil.virtual_memory().total / GIB,
        availability="high",
        cuda=cuda,
        driver=driver,
        metadata=metadata or {},
    )
