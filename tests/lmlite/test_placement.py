"""lmlite/placement.py: which replica goes where, on devices that are described and not there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.lmlite.placement import (
    CACHE_SHARE,
    DeviceBudget,
    MemoryNeed,
    Placement,
    Resident,
    all_idle,
    largest_free_bytes,
    place_replicas,
)

GIB = 2**30
NEED = MemoryNeed(fixed_bytes=6 * GIB, min_cache_bytes=GIB, max_cache_bytes=4 * GIB)


def resident(name: str, gib: int, *, used: float = 0, is_idle: bool = True) -> Resident:
    return Resident(key=name, bytes=gib * GIB, is_idle=is_idle, last_used=used)


def gpu(index: int, gib: int, *residents: Resident) -> DeviceBudget:
    return DeviceBudget(device=f"cuda:{index}", budget_bytes=gib * GIB, residents=residents)


def only(found: tuple[Placement, ...] | None) -> Placement:
    assert found is not None
    (place,) = found
    return place


def test_a_model_goes_where_most_memory_is_free():
    place = only(place_replicas(NEED, [gpu(0, 24, resident("a", 14)), gpu(1, 16), gpu(2, 12)]))

    assert place.device == "cuda:1"
    assert place.evicted == ()


def test_its_cache_takes_a_share_of_what_is_left_and_no_more_than_it_can_use():
    assert only(place_replicas(NEED, [gpu(0, 10)])).cache_bytes == int(4 * GIB * CACHE_SHARE)
    assert only(place_replicas(NEED, [gpu(0, 80)])).cache_bytes == 4 * GIB


def test_a_model_that_just_fits_gets_the_cache_without_which_it_is_of_no_use():
    place = only(place_replicas(NEED, [gpu(0, 7)]))

    assert (place.cache_bytes, place.bytes) == (GIB, 7 * GIB)


def test_a_device_with_room_comes_before_one_where_a_replica_must_be_evicted():
    budgets = [gpu(0, 40, resident("old", 38)), gpu(1, 7)]

    assert only(place_replicas(NEED, budgets)).device == "cuda:1"


def test_the_least_recently_used_is_evicted_first():
    budget = gpu(0, 20, resident("b", 8, used=2), resident("a", 8, used=1))

    assert only(place_replicas(NEED, [budget])).evicted == ("a",)


def test_of_two_full_devices_the_one_with_the_longer_unused_model_is_taken():
    budgets = [gpu(0, 10, resident("late", 9, used=5)), gpu(1, 10, resident("early", 9, used=3))]

    assert only(place_replicas(NEED, budgets)).evicted == ("early",)


def test_a_busy_replica_is_never_evicted():
    assert place_replicas(NEED, [gpu(0, 10, resident("busy", 9, is_idle=False))]) is None
    budget = gpu(0, 16, resident("busy", 8, used=1, is_idle=False), resident("idle", 8, used=9))
    assert only(place_replicas(NEED, [budget])).evicted == ("idle",)


def test_a_replica_too_small_to_matter_stays():
    budget = gpu(0, 10, resident("small", 1, used=1), resident("large", 9, used=2))

    assert only(place_replicas(NEED, [budget])).evicted == ("large",)


def test_replicas_go_on_devices_of_their_own_the_roomiest_first():
    found = place_replicas(NEED, [gpu(0, 8), gpu(1, 24), gpu(2, 16), gpu(3, 4)], replicas=2)

    assert found is not None
    assert [place.device for place in found] == ["cuda:1", "cuda:2"]


def test_replicas_are_placed_all_or_none():
    assert place_replicas(NEED, [gpu(0, 8), gpu(1, 24)], replicas=3) is None
    assert place_replicas(NEED, [gpu(0, 4), gpu(1, 24)], replicas=2) is None


def test_what_does_not_fit_an_empty_device_fits_nowhere():
    assert place_replicas(NEED, [gpu(0, 6), gpu(1, 6)]) is None
    assert largest_free_bytes([gpu(0, 6), gpu(1, 5)]) == 6 * GIB
    assert largest_free_bytes([gpu(0, 6), gpu(1, 5)], replicas=2) == 5 * GIB


def test_what_busy_replicas_hold_is_not_free_until_they_are_done():
    budgets = [gpu(0, 12, resident("busy", 8, is_idle=False), resident("idle", 4))]

    assert largest_free_bytes(budgets) == 4 * GIB
    assert largest_free_bytes(all_idle(budgets)) == 12 * GIB


def test_memory_that_others_took_since_is_freed_by_idle_replicas():
    shrunk = gpu(0, 8, resident("a", 6), resident("b", 6, used=1))

    assert shrunk.free_bytes < 0
    assert only(place_replicas(NEED, [shrunk])).evicted == ("a", "b")


sizes = st.integers(min_value=0, max_value=40)
residents = st.builds(
    Resident,
    key=st.uuids(),
    bytes=st.integers(min_value=1, max_value=20),
    is_idle=st.booleans(),
    last_used=st.integers(min_value=0, max_value=9),
)
budgets = st.lists(
    st.builds(
        DeviceBudget,
        device=st.uuids().map(str),
        budget_bytes=sizes,
        residents=st.lists(residents, max_size=4).map(tuple),
    ),
    max_size=4,
)
needs = st.builds(
    lambda fixed, minimum, more: MemoryNeed(
        fixed_bytes=fixed, min_cache_bytes=minimum, max_cache_bytes=minimum + more
    ),
    sizes,
    sizes,
    sizes,
)


@given(need=needs, budgets=budgets, replicas=st.integers(min_value=1, max_value=3))
def test_a_place_is_always_within_the_budget_and_never_costs_a_busy_model(need, budgets, replicas):
    found = place_replicas(need, budgets, replicas=replicas)

    if found is None:
        assert (
            largest_free_bytes(budgets, replicas=replicas) < need.min_bytes
            or len(budgets) < replicas
        )
        return
    assert len({place.device for place in found}) == replicas
    for place in found:
        (budget,) = [one for one in budgets if one.device == place.device]
        staying = [one for one in budget.residents if one.key not in place.evicted]
        assert set(place.evicted) <= {one.key for one in budget.residents if one.is_idle}
        assert place.bytes <= replace(budget, residents=tuple(staying)).free_bytes
        assert need.min_cache_bytes <= place.cache_bytes <= need.max_cache_bytes
        for key in place.evicted:  # nothing is evicted without need
            kept = [*staying, *(one for one in budget.residents if one.key == key)]
            assert replace(budget, residents=tuple(kept)).free_bytes < need.min_bytes
