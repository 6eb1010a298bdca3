"""Places the replicas of a model on devices: which device, how much KV cache, what to evict.

Decides by numbers alone: knows no device, no model and no torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

CACHE_SHARE = 0.5
"""Share of the memory left by a model's weights that its KV cache may take; others get the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What one replica of a model takes of a device, in bytes.

    `fixed_bytes` are there as long as the model is: weights, activations, what the runtime adds.
    With less than `min_cache_bytes` it is of no use, with more than `max_cache_bytes` no better.
    """

    fixed_bytes: int
    min_cache_bytes: int
    max_cache_bytes: int

    @property
    def min_bytes(self) -> int:
        """Return what must be free for it."""
        return self.fixed_bytes + self.min_cache_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A replica that is on a device; `last_used` by any clock. Only idle ones can be evicted."""

    key: Hashable
    bytes: int
    is_idle: bool
    last_used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBudget:
    """What models may take of a device altogether, and the replicas that are on it."""

    device: str
    budget_bytes: int
    residents: tuple[Resident, ...] = ()

    @property
    def free_bytes(self) -> int:
        """Return what is left; below 0 where other programs have taken memory since."""
        return self.budget_bytes - sum(resident.bytes for resident in self.residents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a replica goes: the memory reserved for it there, and the replicas to evict for it."""

    device: str
    bytes: int
    cache_bytes: int
    evicted: tuple[Hashable, ...] = ()


def place_replicas(
    need: MemoryNeed, budgets: Sequence[DeviceBudget], *, replicas: int = 1
) -> tuple[Placement, ...] | None:
    """Return where so many replicas go, each on its own device; None where they do not all fit.

    A device with room comes before one where a replica must be evicted. Of the former the one with
    the most room is taken; of the latter the one whose evicted replicas were unused the longest.
    """
    left = list(budgets)
    found: list[Placement] = []
    for _ in range(replicas):
        possible = [place for budget in left if (place := _place(need, budget)) is not None]
        if not possible:
            return None
        best = min(possible, key=lambda place: _cost(place, left))
        found.append(best)
        left = [budget for budget in left if budget.device != best.device]
    return tuple(found)


def largest_free_bytes(budgets: Sequence[DeviceBudget], *, replicas: int = 1) -> int:
    """Return how much each of so many replicas could have if all idle ones were evicted."""
    free = sorted((_without_idle(budget).free_bytes for budget in budgets), reverse=True)
    return free[replicas - 1] if replicas <= len(free) else 0


def all_idle(budgets: Sequence[DeviceBudget]) -> tuple[DeviceBudget, ...]:
    """Return the budgets as they will be when all running requests are done."""
    return tuple(
        replace(budget, residents=tuple(replace(one, is_idle=True) for one in budget.residents))
        for budget in budgets
    )


def _place(need: MemoryNeed, budget: DeviceBudget) -> Placement | None:
    """Return the placement of a replica on a device, evicting as few others as possible."""
    evicted: list[Resident] = []
    free = budget.free_bytes
    for resident in sorted(budget.residents, key=lambda one: one.last_used):
        if free >= need.min_bytes:
            break
        if resident.is_idle:
            evicted.append(resident)
            free += resident.bytes
    if free < need.min_bytes:
        return None
    for resident in reversed(evicted.copy()):  # those that are too small to matter may stay
        if free - resident.bytes >= need.min_bytes:
            evicted.remove(resident)
            free -= resident.bytes
    shared = int((free - need.fixed_bytes) * CACHE_SHARE)
    cache = min(max(shared, need.min_cache_bytes), need.max_cache_bytes)
    return Placement(
        device=budget.device,
        bytes=need.fixed_bytes + cache,
        cache_bytes=cache,
        evicted=tuple(resident.key for resident in evicted),
    )


def _cost(place: Placement, budgets: Sequence[DeviceBudget]) -> tuple[bool, float]:
    """Return the sort key of placements, the best first."""
    budget = next(budget for budget in budgets if budget.device == place.device)
    if not place.evicted:
        return False, -budget.free_bytes
    return True, max(one.last_used for one in budget.residents if one.key in place.evicted)


def _without_idle(budget: DeviceBudget) -> DeviceBudget:
    return replace(budget, residents=tuple(one for one in budget.residents if not one.is_idle))
