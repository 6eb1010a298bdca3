"""Devices that are described and not there, and engines that only say where they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conduit_nb.lmlite.config import ModelKey
from conduit_nb.lmlite.memory_budget import Estimate
from conduit_nb.lmlite.placement import MemoryNeed, Placement
from conduit_nb.lmlite.pool import ResolvedModel

GIB = 2**30


class SomeEngine:
    """As much of an engine as a pool looks at."""

    context_tokens = 64
    dtype = "float32"
    attention = "packed"
    running = 3
    waiting = 2
    closed = False
    has_ended = False

    def __init__(self, device: str) -> None:
        self.device = device

    def close(self) -> None:
        self.closed = True


class DescribedLoader:
    """Loads when released, and counts. `gib` are the budgets of its devices."""

    kind = "cpu"

    def __init__(self, *gib: int, hold: bool = False) -> None:
        self.loads: list[ModelKey] = []
        self.lengths: list[int | None] = []
        self.given: list[Placement] = []
        self.gib = gib or (64,)
        self.needs_gib = 4
        self.may_end = threading.Event()
        self.begun = threading.Semaphore(0)
        self.failure: Exception | None = None
        self.released = 0
        self.make: Callable[[str], Any] = SomeEngine
        if not hold:
            self.may_end.set()

    def budgets(self) -> dict[str, int]:
        return {f"device:{index}": size * GIB for index, size in enumerate(self.gib)}

    def find(
        self, key: ModelKey, max_model_len: int | None, progress: Callable[[str], None]
    ) -> ResolvedModel:
        self.loads.append(key)
        self.lengths.append(max_model_len)
        progress("half way")
        self.begun.release()
        assert self.may_end.wait(10)
        if self.failure is not None:
            raise self.failure
        need = MemoryNeed(
            fixed_bytes=self.needs_gib * GIB - 1, min_cache_bytes=1, max_cache_bytes=1
        )
        return ResolvedModel(
            folder=Path(key.model_id),
            estimate=Estimate(
                model_id=key.model_id, need=need, tokens=2048, weight_bytes=GIB, plan=None
            ),
        )

    def load(self, key: ModelKey, found: ResolvedModel, placement: Placement) -> Any:
        self.given.append(placement)
        return self.make(placement.device)

    def release(self) -> None:
        self.released += 1

    async def has_begun(self) -> None:
        """Return when one more load is under way."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)
