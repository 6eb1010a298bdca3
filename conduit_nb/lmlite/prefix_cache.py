"""What rows have read stays for later rows that begin alike: a tree of full pages by their tokens.

A page's keys and values depend on all tokens up to its end, so a page is found by the path of
tokens that leads to it, and serves every row that begins with that path.
Layer 3: no torch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from conduit_nb.lmlite.page_pool import PagePool

CANDIDATES = 64
"""How many of the latest pages are looked at for one that begins as a row goes on."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Node:
    """A page and where it stands. The root stands for the empty beginning and has no page."""

    tokens: tuple[int, ...] = ()
    page: int = -1
    parent: _Node | None = None
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict[tuple[int, ...], "_Node"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The first `tokens` tokens of a row lie in `pages`; of the last page perhaps only a part."""

    pages: tuple[int, ...]
    tokens: int


class PrefixCache:
    """Keeps pages in the pool and lets go of those least recently used.

    One that `is_empty` stays so: nothing is kept, and nothing found.
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
        """All kept pages, the least recently used first."""
        return [node.page for node in self._nodes]

    def find(self, tokens: Sequence[int]) -> Found:
        """Return where the longest known beginning lies, and count that as use."""
        path = self._path(tokens)
        known = len(path) * self._pool.page_tokens
        node = path[-1] if path else self._root
        rest = tokens[known : known + self._pool.page_tokens]
        latest = islice(reversed(node.children.values()), CANDIDATES)
        nearest = max(latest, key=lambda child: common_length(child.tokens, rest), default=None)
        if nearest is not None and (shared := common_length(nearest.tokens, rest)):
            path.append(nearest)
            known += shared
        self._touch(path)
        return Found(pages=tuple(node.page for node in path), tokens=known)

    def keep(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Keep the full ones of `pages`, which hold `tokens`, where they are not known yet."""
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
        """Move what only the row with these pages holds to the top of the pool: from where, where.

        Rows need neighbours at the bottom; what stays behind there would leave them gaps.
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
        """Let go of the page least recently used; False where there is none."""
        if not self._nodes:
            return False
        node, _ = self._nodes.popitem(last=False)
        assert node.parent is not None
        assert not node.children
        del node.parent.children[node.tokens]
        self._pool.drop(node.page)
        return True

    def _path(self, tokens: Sequence[int]) -> list[_Node]:
        """Return the known full pages that `tokens` begin with."""
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
    """Return how many tokens the two begin with alike."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
