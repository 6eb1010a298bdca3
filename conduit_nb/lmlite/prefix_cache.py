"""The prefix cache: a radix tree of full pages by their tokens, for sequences with the same prefix.

A page's keys and values depend on all tokens up to its end, so a page is found by the path of
tokens that leads to it, and serves every sequence that begins with that path. Imports no torch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from conduit_nb.lmlite.page_pool import PagePool

CANDIDATES = 64
"""How many of the latest pages are compared to find one that matches a sequence in part."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Node:
    """A page and its place in the tree. The root stands for the empty prefix and has no page."""

    tokens: tuple[int, ...] = ()
    page: int = -1
    parent: _Node | None = None
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict[tuple[int, ...], "_Node"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixMatch:
    """The first `tokens` tokens of a sequence are in `pages`; of the last perhaps only a part."""

    pages: tuple[int, ...]
    tokens: int


class PrefixCache:
    """Keeps pages in the pool and evicts the least recently used.

    One that `is_empty` stays so: it keeps no page and matches nothing.
    """

    def __init__(self, pool: PagePool, *, is_empty: bool = False) -> None:
        self._pool = pool
        self._is_empty = is_empty
        self._root = _Node()
        # Least recently used first. Whoever uses a page uses those that lead to it, and those are
        # moved behind it: so the first in order never leads to another.
        self._nodes: OrderedDict[_Node, None] = OrderedDict()

    @property
    def pages(self) -> list[int]:
        """All cached pages, the least recently used first."""
        return [node.page for node in self._nodes]

    def match_prefix(self, tokens: Sequence[int]) -> PrefixMatch:
        """Return where the longest cached prefix is, and count that as use."""
        path = self._path(tokens)
        cached = len(path) * self._pool.page_tokens
        node = path[-1] if path else self._root
        rest = tokens[cached : cached + self._pool.page_tokens]
        latest = islice(reversed(node.children.values()), CANDIDATES)
        nearest = max(latest, key=lambda child: common_length(child.tokens, rest), default=None)
        if nearest is not None and (shared := common_length(nearest.tokens, rest)):
            path.append(nearest)
            cached += shared
        self._touch(path)
        return PrefixMatch(pages=tuple(node.page for node in path), tokens=cached)

    def insert(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Cache the full ones of `pages`, which hold `tokens`, where they are not cached yet."""
        if self._is_empty:
            return
        path = self._path(tokens)
        node = path[-1] if path else self._root
        size = self._pool.page_tokens
        for at in range(len(path), len(tokens) // size):
            key = tuple(tokens[at * size : (at + 1) * size])
            self._pool.keep(pages[at])
            child = _Node(tokens=key, page=pages[at], parent=node)
            node.children[key] = child
            node = child
            path.append(child)
            self._nodes[child] = None
        self._touch(path)

    def settle(self, tokens: Sequence[int], pages: Sequence[int]) -> tuple[list[int], list[int]]:
        """Move pages that only this sequence holds to the top of the pool: from where, to where.

        Running sequences need adjacent pages at the bottom; what stayed there would leave gaps.
        """
        path = self._path(tokens)
        own = [
            node
            for node, page in zip(path, pages, strict=False)
            if node.page == page and not self._pool.is_shared(page)
        ]
        old = [node.page for node in own]
        new = self._pool.top(len(old)) if old else None
        if new is None:
            return [], []
        if new[0] < max(old):
            self._pool.release(new)
            return [], []
        for node, page in zip(own, new, strict=True):
            self._pool.drop(node.page)
            self._pool.keep(page)
            node.page = page
        self._pool.release(list(new))
        return old, new

    def evict(self) -> bool:
        """Drop the page least recently used; False where there is none."""
        if not self._nodes:
            return False
        node, _ = self._nodes.popitem(last=False)
        assert node.parent is not None
        assert not node.children
        del node.parent.children[node.tokens]
        self._pool.drop(node.page)
        return True

    def _path(self, tokens: Sequence[int]) -> list[_Node]:
        """Return the cached full pages that `tokens` begin with."""
        path: list[_Node] = []
        node = self._root
        size = self._pool.page_tokens
        for start in range(0, len(tokens) - size + 1, size):
            child = node.children.get(tuple(tokens[start : start + size]))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def _touch(self, path: list[_Node]) -> None:
        for node in reversed(path):
            self._nodes.move_to_end(node)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common prefix of the two."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
