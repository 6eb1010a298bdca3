"""NVML as described hardware: what a test says of the cards is what detection is told.

Stands for machines that are not here; it answers in NVML's own types and error codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

GIB = 2**30


class NvmlError(Exception):
    """As pynvml's: the code in `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


@dataclass
class Card:
    """One card, or one MIG instance. `fails` maps a function's name to the code it answers."""

    name: str | bytes
    total_gib: float = 80.0
    used_gib: float = 0.0
    reserved_gib: float = 0.5
    capability: tuple[int, int] = (9, 0)
    uuid: str = "GPU-0"
    mig: list[Card | None] | None = None
    fails: dict[str, int] = field(default_factory=dict)


class DescribedNvml:
    """The functions of pynvml that detection uses, over described cards."""

    NVMLError = NvmlError
    nvmlMemory_v2 = 0x02000028

    def __init__(
        self,
        *cards: Card,
        init: int | None = None,
        driver: str | bytes = "580.95.05",
        cuda: int = 13000,
        fails: dict[str, int] | None = None,
    ) -> None:
        self.cards = cards
        self.init = init
        self.driver = driver
        self.cuda = cuda
        self.fails = fails or {}
        self.is_open = False

    def _fail(self, function: str, card: Card | None = None) -> None:
        code = {**self.fails, **(card.fails if card else {})}.get(function)
        if code is not None:
            raise NvmlError(code)

    def nvmlInit(self) -> None:
        if self.init is not None:
            raise NvmlError(self.init)
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False
        self._fail("nvmlShutdown")

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        self._fail("nvmlSystemGetDriverVersion")
        return self.driver

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        self._fail("nvmlSystemGetCudaDriverVersion_v2")
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        self._fail("nvmlDeviceGetCount")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        self._fail("nvmlDeviceGetHandleByIndex", self.cards[index])
        return self.cards[index]

    def nvmlDeviceGetName(self, handle: Card) -> str | bytes:
        self._fail("nvmlDeviceGetName", handle)
        return handle.name

    def nvmlDeviceGetUUID(self, handle: Card) -> str:
        self._fail("nvmlDeviceGetUUID", handle)
        return handle.uuid

    def nvmlDeviceGetMemoryInfo(self, handle: Card, version: int | None = None) -> SimpleNamespace:
        self._fail("nvmlDeviceGetMemoryInfo", handle)
        if version is not None:
            self._fail("nvmlDeviceGetMemoryInfo_v2", handle)
        free_gib = handle.total_gib - handle.used_gib - handle.reserved_gib
        used_gib = handle.used_gib + (handle.reserved_gib if version is None else 0)
        return SimpleNamespace(
            total=int(handle.total_gib * GIB), used=int(used_gib * GIB), free=int(free_gib * GIB)
        )

    def nvmlDeviceGetCudaComputeCapability(self, handle: Card) -> tuple[int, int]:
        self._fail("nvmlDeviceGetCudaComputeCapability", handle)
        return handle.capability

    def nvmlDeviceGetMigMode(self, handle: Card) -> list[int]:
        self._fail("nvmlDeviceGetMigMode", handle)
        if handle.capability < (8, 0):
            raise NvmlError(3)  # not supported
        mode = int(handle.mig is not None)
        return [mode, mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Card) -> int:
        return len(handle.mig or [])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Card, index: int) -> Card:
        self._fail("nvmlDeviceGetMigDeviceHandleByIndex", device)
        instance = (device.mig or [])[index]
        if instance is None:
            raise NvmlError(6)  # not found
        return instance
