"""Which copy of a model goes on which device, how large its KV cache may be, and who must leave.

Decides by numbers alone: knows no device, no model and no torch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

CACHE_SHARE = 0.5
"""Share of the memory left by a model's weights that its KV cache may take; others get the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one copy of a model takes of a device, in bytes.

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
class Tenant:
    """A copy that is on a device; `last_used` by any clock, and only who is idle can leave."""

    name: Hashable
    bytes: int
    is_idle: bool
    last_used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A device: what models may take of it altogether, and those that are there."""

    device: str
    budget_bytes: int
    tenants: tuple[Tenant, ...] = ()

    @property
    def free_bytes(self) -> int:
        """Return what is left; below 0 where others have taken memory since."""
        return self.budget_bytes - sum(tenant.bytes for tenant in self.tenants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a copy goes: what is kept for it there, and whose places it takes."""

    device: str
    bytes: int
    cache_bytes: int
    unloaded: tuple[Hashable, ...] = ()


def places(need: Need, rooms: Sequence[Room], *, copies: int = 1) -> tuple[Place, ...] | None:
    """Return where so many copies go, each on a device of its own; None where they do not all fit.

    A device with room comes before one where somebody must leave. Of the former the one with the
    most room is taken; of the latter the one whose leavers were last used the longest ago.
    """
    left = list(rooms)
    found: list[Place] = []
    for _ in range(copies):
        possible = [place for room in left if (place := _place(need, room)) is not None]
        if not possible:
            return None
        best = min(possible, key=lambda place: _cost(place, left))
        found.append(best)
        left = [room for room in left if room.device != best.device]
    return tuple(found)


def largest_free_bytes(rooms: Sequence[Room], *, copies: int = 1) -> int:
    """Return how much each of so many copies could have if all who are idle left."""
    free = sorted((_emptied(room).free_bytes for room in rooms), reverse=True)
    return free[copies - 1] if copies <= len(free) else 0


def all_idle(rooms: Sequence[Room]) -> tuple[Room, ...]:
    """Return the rooms as they will be when nobody works any more."""
    return tuple(
        replace(room, tenants=tuple(replace(one, is_idle=True) for one in room.tenants))
        for room in rooms
    )


def _place(need: Need, room: Room) -> Place | None:
    """Return the place that a copy would have there, with as few leavers as possible."""
    leaving: list[Tenant] = []
    free = room.free_bytes
    for tenant in sorted(room.tenants, key=lambda one: one.last_used):
        if free >= need.min_bytes:
            break
        if tenant.is_idle:
            leaving.append(tenant)
            free += tenant.bytes
    if free < need.min_bytes:
        return None
    for tenant in reversed(leaving.copy()):  # who was too small to matter may stay
        if free - tenant.bytes >= need.min_bytes:
            leaving.remove(tenant)
            free -= tenant.bytes
    shared = int((free - need.fixed_bytes) * CACHE_SHARE)
    cache = min(max(shared, need.min_cache_bytes), need.max_cache_bytes)
    return Place(
        device=room.device,
        bytes=need.fixed_bytes + cache,
        cache_bytes=cache,
        unloaded=tuple(tenant.name for tenant in leaving),
    )


def _cost(place: Place, rooms: Sequence[Room]) -> tuple[bool, float]:
    """Return what orders places, the best first."""
    room = next(room for room in rooms if room.device == place.device)
    if not place.unloaded:
        return False, -room.free_bytes
    return True, max(one.last_used for one in room.tenants if one.name in place.unloaded)


def _emptied(room: Room) -> Room:
    return replace(room, tenants=tuple(one for one in room.tenants if not one.is_idle))
