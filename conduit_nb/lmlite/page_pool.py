"""The allocator of the KV cache's pages. Holds no tensors, imports no torch.

Reading a sequence's keys and values is cheapest where its pages are adjacent (a view, not a copy),
so runs of consecutive pages are preferred; any free pages do where there is no such run.
A page may be held by several sequences and kept for later ones; it is free when neither is so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


class PagePool:
    """`total` pages of `page_tokens` tokens each."""

    def __init__(self, total: int, page_tokens: int) -> None:
        assert total > 0
        assert page_tokens > 0
        self.total = total
        self.page_tokens = page_tokens
        self._used = bytearray(total)
        self._kept = bytearray(total)
        self._holders = [0] * total
        self._free_count = total
        self._idle_count = 0

    @property
    def free_count(self) -> int:
        """Pages that are neither held nor kept."""
        return self._free_count

    @property
    def idle_count(self) -> int:
        """Pages that are kept and not held: free as soon as they are dropped."""
        return self._idle_count

    def pages_for(self, tokens: int) -> int:
        """Return how many pages `tokens` tokens take."""
        return -(-tokens // self.page_tokens)

    def run(self, count: int) -> list[int] | None:
        """Take `count` consecutive pages, the lowest there are; None where there is no such run."""
        start = self._used.find(bytes(count))
        return None if start < 0 else self._take(range(start, start + count))

    def run_after(self, page: int, count: int) -> list[int] | None:
        """Take the `count` pages right after `page`; None where one of them is not free."""
        start = page + 1
        if self._used.find(bytes(count), start, start + count) != start:
            return None
        return self._take(range(start, start + count))

    def any(self, count: int) -> list[int] | None:
        """Take `count` pages wherever they are; None where fewer are free."""
        if count > self._free_count:
            return None
        pages: list[int] = []
        start = 0
        for _ in range(count):
            start = self._used.find(0, start)
            pages.append(start)
            start += 1
        return self._take(pages)

    def top(self, count: int) -> list[int] | None:
        """Take the `count` highest free pages, in rising order; None where fewer are free."""
        if count > self._free_count:
            return None
        pages: list[int] = []
        end = self.total
        for _ in range(count):
            end = self._used.rfind(0, 0, end)
            pages.append(end)
        return self._take(pages[::-1])

    def share(self, pages: Iterable[int]) -> list[int]:
        """Hold pages that others hold or that are kept, too."""
        pages = list(pages)
        for page in pages:
            assert self._used[page], f"page {page} is free and cannot be shared"
            if self._holders[page] == 0:
                self._idle_count -= 1
            self._holders[page] += 1
        return pages

    def release(self, pages: list[int]) -> None:
        """Give pages back; empties the list, so that its owner cannot use them again."""
        for page in pages:
            assert self._holders[page] > 0, f"page {page} is released twice"
            self._holders[page] -= 1
            if self._holders[page] > 0:
                continue
            if self._kept[page]:
                self._idle_count += 1
            else:
                self._set_free(page)
        pages.clear()

    def keep(self, page: int) -> None:
        """Keep a page that is held; it stays when its holders release it."""
        assert self._holders[page] > 0, f"page {page} is not held and cannot be kept"
        assert not self._kept[page], f"page {page} is kept twice"
        self._kept[page] = 1

    def drop(self, page: int) -> None:
        """Keep a page no longer; it is free unless it is held."""
        assert self._kept[page], f"page {page} is dropped and was not kept"
        self._kept[page] = 0
        if self._holders[page] == 0:
            self._idle_count -= 1
            self._set_free(page)

    def is_shared(self, page: int) -> bool:
        """Whether more than one holds the page."""
        return self._holders[page] > 1

    def check(self, held: Sequence[int], kept: Sequence[int]) -> None:
        """Assert that these pages are held (once for each time they occur), these kept, no more."""
        holders = Counter(held)
        assert len(kept) == len(set(kept)), "a page is kept twice"
        assert sum(self._holders) == len(held), "a page is held that no sequence has"
        assert all(self._holders[page] == count for page, count in holders.items()), "holds differ"
        assert sum(self._kept) == len(kept), "a page is kept that nothing leads to"
        assert all(self._kept[page] for page in kept), "a page that leads on is not kept"
        used = holders.keys() | set(kept)
        assert self._used.count(1) == len(used), "pages are lost"
        assert self._free_count == self.total - len(used), "free pages are miscounted"
        assert self._idle_count == len(used) - len(holders), "idle pages are miscounted"

    def _take(self, pages: range | list[int]) -> list[int]:
        for page in pages:
            self._used[page] = 1
            self._holders[page] = 1
        self._free_count -= len(pages)
        return list(pages)

    def _set_free(self, page: int) -> None:
        self._used[page] = 0
        self._free_count += 1
