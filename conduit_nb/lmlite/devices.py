"""The devices of this process, and how much of each the models on it may take together."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import psutil
import torch

from conduit_nb.compute.host_memory import free_memory_bytes, own_memory_bytes
from conduit_nb.compute.overheads import overheads_of
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import ArgumentError
from conduit_nb.lmlite.model_loader import chosen_device

BUDGET_SHARE = {"cuda": 0.9, "mps": 0.8, "cpu": 0.8}
"""Share of the free memory that models may take: main memory has other users."""


class Devices:
    """All devices of one kind, or the one that is named; `memory_gib` is the budget of each.

    Without it, models may have a share of what is free and of what they hold already: it shrinks
    when other programs grow. Raises ArgumentError for a device that is not there, or a budget that
    is more than it has.
    """

    def __init__(self, name: str | None, *, memory_gib: float | None = None) -> None:
        device = chosen_device(name)
        self.kind = device.type
        self.names: tuple[str, ...] = (str(device),)
        if str(device) == "cuda":
            self.names = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
        self._memory_bytes = None if memory_gib is None else int(memory_gib * GIB)
        for one in self.names:
            has = total_bytes(torch.device(one))
            if self._memory_bytes is not None and self._memory_bytes > has:
                raise ArgumentError(
                    f"memory_gib={memory_gib:g} is more than {one} has: {has / GIB:.1f} GiB.",
                    param="memory_gib",
                    hint="Leave it out to use a share of what is free.",
                )

    def budgets(self) -> dict[str, int]:
        """Return what the models on each device may take together, in bytes."""
        return {name: self._budget(torch.device(name)) for name in self.names}

    def _budget(self, device: torch.device) -> int:
        if self._memory_bytes is not None:
            whole = self._memory_bytes
        else:
            whole = int(BUDGET_SHARE[device.type] * (free_bytes(device) + held_bytes(device)))
        return max(whole - _process_bytes(device), 0)


def free_bytes(device: torch.device) -> int:
    """Return what can be taken of a device's memory now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    free = free_memory_bytes()
    if device.type == "mps":
        return min(free, torch.mps.recommended_max_memory() - held_bytes(device))
    return free


def held_bytes(device: torch.device) -> int:
    """Return what this process holds of a device's memory."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return own_memory_bytes()


def total_bytes(device: torch.device) -> int:
    """Return how much memory a device has."""
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return total
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return psutil.virtual_memory().total


def release_unused(names: Sequence[str]) -> None:
    """Give back what torch, and the C library, keep of the devices' memory for later."""
    if any(name.startswith("cuda") for name in names):
        torch.cuda.empty_cache()
    if "mps" in names:
        torch.mps.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)


def _process_bytes(device: torch.device) -> int:
    """Return what of a budget the process takes before any model: main memory's share of it."""
    return overheads_of("lmlite").runtime_bytes if device.type == "cpu" else 0
