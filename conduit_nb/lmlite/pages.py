"""Which pages of a KV cache are free, and which neighbours to hand out. Holds no tensors.

Reading a row's keys and values is cheapest where its pages lie side by side (a view, not a copy),
so runs of consecutive pages are preferred; any free pages do where there is no such run.
Layer 3: no torch.
"""

from __future__ import annotations


class PagePool:
    """`total` pages of `page_tokens` tokens each."""

    def __init__(self, total: int, page_tokens: int) -> None:
        assert total > 0
        assert page_tokens > 0
        self.total = total
        self.page_tokens = page_tokens
        self._used = bytearray(total)
        self._free_count = total

    @property
    def free_count(self) -> int:
        """Pages that nobody holds."""
        return self._free_count

    def pages_for(self, tokens: int) -> int:
        """Return how many pages `tokens` tokens take."""
        return -(-tokens // self.page_tokens)

    def run(self, count: int) -> list[int] | None:
        """Take `count` consecutive pages, the lowest there are; None where there is no such run."""
        start = self._used.find(bytes(count))
        return None if start < 0 else self._take(range(start, start + count))

    def run_after(self, page: int, count: int) -> list[int] | None:
        """Take the `count` pages right after `page`; None where one of them is held."""
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

    def release(self, pages: list[int]) -> None:
        """Give pages back; empties the list, so that nobody keeps what is not theirs."""
        for page in pages:
            assert self._used[page], f"page {page} is released twice"
            self._used[page] = 0
        self._free_count += len(pages)
        pages.clear()

    def _take(self, pages: range | list[int]) -> list[int]:
        for page in pages:
            self._used[page] = 1
        self._free_count -= len(pages)
        return list(pages)
