from __future__ import annotations

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.prefix_cache import CANDIDATES, PrefixCache

SIZE = 4


def make(total: int = 200) -> tuple[PagePool, PrefixCache]:
    pool = PagePool(total, SIZE)
    return pool, PrefixCache(pool)


def insert(pool: PagePool, cache: PrefixCache, tokens: list[int]) -> list[int]:
    """Insert the tokens of a sequence that leaves; return the pages that it had."""
    pages = pool.run(pool.pages_for(len(tokens)))
    assert pages is not None
    had = list(pages)
    cache.insert(tokens, pages)
    pool.release(pages)
    return had


def test_a_prefix_is_matched_to_the_token_but_cached_by_full_pages():
    pool, cache = make()
    pages = insert(pool, cache, list(range(10)))

    match = cache.match_prefix([0, 1, 2, 3, 4, 5, 99])
    whole = cache.match_prefix(range(20))

    assert (match.pages, match.tokens) == (tuple(pages[:2]), 6)
    assert (whole.pages, whole.tokens) == (tuple(pages[:2]), 8)
    assert cache.match_prefix([1, 2, 3, 4]).pages == ()
    assert (pool.idle_count, pool.free_count) == (2, 198)


def test_a_page_is_matched_only_behind_the_tokens_that_it_was_computed_behind():
    pool, cache = make()
    insert(pool, cache, [1, 1, 1, 1, 2, 2, 2, 2])

    assert cache.match_prefix([3, 3, 3, 3, 2, 2, 2, 2]).tokens == 0
    assert cache.match_prefix([2, 2, 2, 2]).tokens == 0


def test_what_is_cached_already_is_cached_once():
    pool, cache = make()
    first = insert(pool, cache, list(range(8)))
    second = insert(pool, cache, [*range(8), 50, 51, 52, 53])

    assert sorted(cache.pages) == sorted([*first, second[2]])
    assert pool.idle_count == 3


def test_the_latest_of_many_that_go_on_differently_are_compared():
    pool, cache = make()
    for other in range(CANDIDATES + 1):
        insert(pool, cache, [0, 0, 0, 0, other, other, 7, 7])

    assert cache.match_prefix([0, 0, 0, 0, CANDIDATES, CANDIDATES, 8]).tokens == 6
    assert cache.match_prefix([0, 0, 0, 0, 0, 0, 8]).tokens == 4


def test_the_least_recently_used_page_goes_first_and_never_one_that_leads_to_another():
    pool, cache = make()
    old = insert(pool, cache, [*range(4), 10, 11, 12, 13])
    new = insert(pool, cache, [*range(4), 20, 21, 22, 23])
    other = insert(pool, cache, [7] * 4)
    cache.match_prefix([*range(4), 10])

    order = list(cache.pages)
    while cache.evict():
        pass

    assert order == [new[1], other[0], old[1], old[0]]
    assert (pool.free_count, pool.idle_count) == (200, 0)
    assert cache.match_prefix(range(4)).tokens == 0


def test_a_page_that_a_sequence_holds_is_not_free_when_it_is_evicted():
    pool, cache = make()
    pages = pool.run(1)
    assert pages is not None
    cache.insert(range(4), pages)

    assert cache.evict()
    assert (pool.free_count, pool.idle_count) == (199, 0)
    pool.release(pages)
    assert pool.free_count == 200


def test_what_only_the_sequence_holds_moves_to_the_top_and_is_matched_there():
    pool, cache = make(20)
    pages = pool.run(3)
    assert pages is not None
    cache.insert(range(12), pages)
    pool.share(pages[:1])

    assert cache.settle(range(12), pages) == ([1, 2], [18, 19])
    assert cache.match_prefix(range(12)).pages == (0, 18, 19)
    pool.check([0, 0, 1, 2], cache.pages)


def test_nothing_moves_where_the_top_is_taken():
    pool, cache = make(4)
    pages = pool.run(3)
    assert pages is not None
    cache.insert(range(12), pages)

    assert cache.settle(range(12), pages) == ([], [])
    pool.check(pages, cache.pages)
    pool.release(pages)
    taken = pool.top(1)
    assert taken == [3]
