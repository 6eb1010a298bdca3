"""lmlite/placement.py: who goes where, on devices that are described and not there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.lmlite.placement import (
    CACHE_SHARE,
    Need,
    Place,
    Room,
    Tenant,
    all_idle,
    largest_free_bytes,
    places,
)

GIB = 2**30
NEED = Need(fixed_bytes=6 * GIB, min_cache_bytes=GIB, max_cache_bytes=4 * GIB)


def tenant(name: str, gib: int, *, used: float = 0, is_idle: bool = True) -> Tenant:
    return Tenant(name=name, bytes=gib * GIB, is_idle=is_idle, last_used=used)


def gpu(index: int, gib: int, *tenants: Tenant) -> Room:
    return Room(device=f"cuda:{index}", budget_bytes=gib * GIB, tenants=tenants)


def only(found: tuple[Place, ...] | None) -> Place:
    assert found is not None
    (place,) = found
    return place


def test_a_model_goes_where_most_memory_is_free():
    place = only(places(NEED, [gpu(0, 24, tenant("a", 14)), gpu(1, 16), gpu(2, 12)]))

    assert place.device == "cuda:1"
    assert place.unloaded == ()


def test_its_cache_takes_a_share_of_what_is_left_and_no_more_than_it_can_use():
    assert only(places(NEED, [gpu(0, 10)])).cache_bytes == int(4 * GIB * CACHE_SHARE)
    assert only(places(NEED, [gpu(0, 80)])).cache_bytes == 4 * GIB


def test_a_model_that_just_fits_gets_the_cache_without_which_it_is_of_no_use():
    place = only(places(NEED, [gpu(0, 7)]))

    assert (place.cache_bytes, place.bytes) == (GIB, 7 * GIB)


def test_a_device_with_room_comes_before_one_where_somebody_must_leave():
    rooms = [gpu(0, 40, tenant("old", 38)), gpu(1, 7)]

    assert only(places(NEED, rooms)).device == "cuda:1"


def test_who_was_used_the_longest_ago_leaves_first():
    room = gpu(0, 20, tenant("b", 8, used=2), tenant("a", 8, used=1))

    assert only(places(NEED, [room])).unloaded == ("a",)


def test_of_two_full_devices_the_one_with_the_longer_unused_model_is_taken():
    rooms = [gpu(0, 10, tenant("late", 9, used=5)), gpu(1, 10, tenant("early", 9, used=3))]

    assert only(places(NEED, rooms)).unloaded == ("early",)


def test_who_works_never_leaves():
    assert places(NEED, [gpu(0, 10, tenant("busy", 9, is_idle=False))]) is None
    room = gpu(0, 16, tenant("busy", 8, used=1, is_idle=False), tenant("idle", 8, used=9))
    assert only(places(NEED, [room])).unloaded == ("idle",)


def test_who_is_too_small_to_matter_stays():
    room = gpu(0, 10, tenant("small", 1, used=1), tenant("large", 9, used=2))

    assert only(places(NEED, [room])).unloaded == ("large",)


def test_replicas_go_on_devices_of_their_own_the_roomiest_first():
    found = places(NEED, [gpu(0, 8), gpu(1, 24), gpu(2, 16), gpu(3, 4)], copies=2)

    assert found is not None
    assert [place.device for place in found] == ["cuda:1", "cuda:2"]


def test_replicas_are_placed_all_or_none():
    assert places(NEED, [gpu(0, 8), gpu(1, 24)], copies=3) is None
    assert places(NEED, [gpu(0, 4), gpu(1, 24)], copies=2) is None


def test_what_does_not_fit_an_empty_device_fits_nowhere():
    assert places(NEED, [gpu(0, 6), gpu(1, 6)]) is None
    assert largest_free_bytes([gpu(0, 6), gpu(1, 5)]) == 6 * GIB
    assert largest_free_bytes([gpu(0, 6), gpu(1, 5)], copies=2) == 5 * GIB


def test_what_the_busy_hold_is_not_free_until_they_are_done():
    rooms = [gpu(0, 12, tenant("busy", 8, is_idle=False), tenant("idle", 4))]

    assert largest_free_bytes(rooms) == 4 * GIB
    assert largest_free_bytes(all_idle(rooms)) == 12 * GIB


def test_memory_that_others_took_since_is_made_free_by_those_who_are_idle():
    shrunk = gpu(0, 8, tenant("a", 6), tenant("b", 6, used=1))

    assert shrunk.free_bytes < 0
    assert only(places(NEED, [shrunk])).unloaded == ("a", "b")


sizes = st.integers(min_value=0, max_value=40)
tenants = st.builds(
    Tenant,
    name=st.uuids(),
    bytes=st.integers(min_value=1, max_value=20),
    is_idle=st.booleans(),
    last_used=st.integers(min_value=0, max_value=9),
)
rooms = st.lists(
    st.builds(
        Room,
        device=st.uuids().map(str),
        budget_bytes=sizes,
        tenants=st.lists(tenants, max_size=4).map(tuple),
    ),
    max_size=4,
)
needs = st.builds(
    lambda fixed, minimum, more: Need(
        fixed_bytes=fixed, min_cache_bytes=minimum, max_cache_bytes=minimum + more
    ),
    sizes,
    sizes,
    sizes,
)


@given(need=needs, rooms=rooms, copies=st.integers(min_value=1, max_value=3))
def test_a_place_is_always_within_the_budget_and_never_costs_a_busy_model(need, rooms, copies):
    found = places(need, rooms, copies=copies)

    if found is None:
        assert largest_free_bytes(rooms, copies=copies) < need.min_bytes or len(rooms) < copies
        return
    assert len({place.device for place in found}) == copies
    for place in found:
        (room,) = [one for one in rooms if one.device == place.device]
        staying = [one for one in room.tenants if one.name not in place.unloaded]
        assert set(place.unloaded) <= {one.name for one in room.tenants if one.is_idle}
        assert place.bytes <= replace(room, tenants=tuple(staying)).free_bytes
        assert need.min_cache_bytes <= place.cache_bytes <= need.max_cache_bytes
        for name in place.unloaded:  # nobody leaves for nothing
            kept = [*staying, *(one for one in room.tenants if one.name == name)]
            assert replace(room, tenants=tuple(kept)).free_bytes < need.min_bytes
