from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.lmlite.page_pool import PagePool


def test_a_run_is_the_lowest_that_is_long_enough():
    pool = PagePool(10, 16)
    first, second = pool.run(2), pool.run(3)
    assert first is not None
    pool.release(first)

    assert second == [2, 3, 4]
    assert pool.run(3) == [5, 6, 7]
    assert pool.run(2) == [0, 1]


def test_there_is_no_run_where_pages_are_free_but_apart():
    pool = PagePool(4, 16)
    pages = [pool.run(1) for _ in range(4)]
    for index in (0, 2):
        page = pages[index]
        assert page is not None
        pool.release(page)

    assert pool.run(2) is None
    assert pool.any(2) == [0, 2]
    assert pool.free_count == 0


def test_a_run_grows_behind_its_last_page_only_where_those_pages_are_free():
    pool = PagePool(4, 16)
    assert pool.run(1) == [0]
    assert pool.run_after(0, 2) == [1, 2]

    assert pool.run_after(0, 1) is None
    assert pool.run_after(2, 2) is None
    assert pool.run_after(3, 1) is None


def test_nothing_is_taken_when_there_is_not_enough():
    pool = PagePool(3, 16)

    assert pool.any(4) is None
    assert pool.free_count == 3


def test_tokens_are_rounded_up_to_pages():
    pool = PagePool(3, 16)

    assert [pool.pages_for(tokens) for tokens in (0, 1, 16, 17)] == [0, 1, 1, 2]


@given(st.lists(st.tuples(st.sampled_from(["run", "any", "release"]), st.integers(1, 5))))
def test_no_page_is_ever_held_twice_or_lost(actions: list[tuple[str, int]]):
    pool = PagePool(12, 16)
    held: list[list[int]] = []
    for action, number in actions:
        if action == "release":
            if held:
                pool.release(held.pop(number % len(held)))
        elif pages := (pool.run(number) if action == "run" else pool.any(number)):
            held.append(pages)
        taken = [page for pages in held for page in pages]

        assert len(taken) == len(set(taken))
        assert pool.free_count == 12 - len(taken)


def test_a_page_is_free_when_the_last_who_held_it_released_it():
    pool = PagePool(4, 16)
    one = pool.run(2)
    assert one is not None
    other = pool.share(one[:1])

    assert (pool.is_shared(0), pool.is_shared(1)) == (True, False)
    pool.release(one)
    assert pool.free_count == 3
    pool.release(other)
    assert pool.free_count == 4


def test_a_kept_page_is_idle_when_nobody_holds_it_and_free_when_it_is_dropped():
    pool = PagePool(4, 16)
    pages = pool.top(2)
    assert pages == [2, 3]
    pool.keep(2)
    pool.release(pages)
    assert (pool.free_count, pool.idle_count) == (3, 1)
    assert pool.run(3) is None

    again = pool.share([2])
    assert (pool.free_count, pool.idle_count) == (3, 0)
    pool.check([2], [2])
    pool.release(again)
    pool.drop(2)
    assert pool.free_count == 4


def test_a_page_that_is_free_can_neither_be_shared_nor_released():
    pool = PagePool(4, 16)

    with pytest.raises(AssertionError, match="cannot be shared"):
        pool.share([1])
    with pytest.raises(AssertionError, match="released twice"):
        pool.release([1])


@pytest.mark.parametrize(
    ("held", "kept"), [([0], [1]), ([0, 1, 1], [1]), ([0, 1], []), ([0, 1], [1, 2]), ([0, 2], [1])]
)
def test_a_check_that_does_not_add_up_fails(held: list[int], kept: list[int]):
    pool = PagePool(4, 16)
    pool.run(2)
    pool.keep(1)

    pool.check([0, 1], [1])
    with pytest.raises(AssertionError):
        pool.check(held, kept)
