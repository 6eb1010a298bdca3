"""Who runs in the next step, and with how many tokens. Knows pages and counts, no model, no text.

A row is a request as the model sees it: tokens, of which the first `computed` are in the cache.
Whatever lies behind them is read in the next steps, be it a prompt, tokens that a grammar forced,
or the one token written last; so prefill, forced tokens, decoding and the return of a preempted
row are one case.

A row that leaves, finished, preempted or given up, leaves what it has read for later rows that
begin alike. Those copy it to pages of their own, because pages side by side are read faster than
shared ones; where there is no room for that they share it.
Layer 3: no torch.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field, replace

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.prefix_cache import Found, PrefixCache

HEADROOM_TOKENS = 64
"""Room kept behind a prompt, so that a short reply never has to move."""

REUSED_TOKENS_MIN = 16
"""A shorter common beginning is read anew."""

AWAITED_TOKENS_MIN = 64
"""So much more of a row's beginning must another be reading for the row to wait for it.

That many tokens cost about as much as a step of their own (a 135M model on a CPU).
"""


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One request in the batch or on its way there. `number` is its place in the queue.

    `draft` is a guess at what comes behind `tokens`.
    """

    number: int
    tokens: list[int]
    draft: list[int] = field(default_factory=list[int])
    computed: int = 0
    reading_until: int = 0
    pages: list[int] = field(default_factory=list[int])

    @property
    def pending(self) -> int:
        """Tokens that the model has not read yet."""
        return len(self.tokens) - self.computed

    @property
    def is_reading(self) -> bool:
        """Whether it still reads its prompt (or, after preemption, what it had)."""
        return self.computed < self.reading_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Tokens `[start, end)` of a row, read in one step. `samples`: a next token is wanted.

    Then the `draft` is read behind them, and the token after each of its tokens is wanted as well.
    """

    row: Row
    start: int
    end: int
    samples: bool
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Keys and values of `tokens` tokens go to other pages before the step.

    A row that outgrew its place takes its own along; a new row takes those of another that began
    with the same text, instead of reading it once more; what a row leaves moves out of the way.
    """

    source: tuple[int, ...]
    target: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One step: first the copies, in order, then the slices as one pack."""

    copies: list[Copy]
    slices: list[Slice]


class Scheduler:
    """Rows in order of arrival, at most `max_rows` of them in the batch at once.

    A step reads at most `step_tokens` tokens of prompts; rows that write never wait for rows that
    read. At most `kept_pages` pages that no row holds are kept for later rows (None: all there
    are); where pages run out, these go first, then the youngest row gives up its own and comes
    back later. Without `shares_prefixes` every row reads all of its tokens itself.
    """

    def __init__(
        self,
        pool: PagePool,
        *,
        max_rows: int,
        step_tokens: int,
        kept_pages: int | None = None,
        shares_prefixes: bool = True,
    ) -> None:
        self._pool = pool
        self._prefixes = PrefixCache(pool, is_empty=not shares_prefixes)
        self._shares_prefixes = shares_prefixes
        self._kept_pages = pool.total if kept_pages is None else kept_pages
        self._copies: list[Copy] = []  # for the next plan, in order
        self._max_rows = max_rows
        self._step_tokens = step_tokens
        self._running: list[Row] = []
        self._waiting: list[Row] = []
        self.preemptions = 0
        self.reused_tokens = 0

    @property
    def running(self) -> int:
        """Rows in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Rows that wait for a place."""
        return len(self._waiting)

    def add(self, row: Row) -> None:
        """Put a row at its place in the queue."""
        assert self._pool.pages_for(len(row.tokens) + 1) <= self._pool.total, "never fits"
        insort(self._waiting, row, key=_number)

    def remove(self, row: Row) -> None:
        """Forget a row, finished or not, and free its pages at once. Idempotent."""
        if row in self._waiting:
            self._waiting.remove(row)
        if row not in self._running:
            return
        self._running.remove(row)
        read = row.tokens[: row.computed]
        self._prefixes.keep(read, row.pages)
        source, target = self._prefixes.settle(read, row.pages)
        if source:
            self._copy(source, target, len(source) * self._pool.page_tokens)
        self._pool.release(row.pages)
        while self._pool.idle_count > self._kept_pages and self._prefixes.evict():
            pass

    def plan(self) -> Plan | None:
        """Choose the next step; None when there is nothing to do.

        Then `commit` it when it is done, or `fail` it.
        """
        preemptions_before = self.preemptions
        for row in [row for row in self._running if not row.is_reading]:
            if row in self._running:
                self._make_room(row)
        has_room = self.preemptions == preemptions_before
        writing = [row for row in self._running if not row.is_reading]
        reading = [row for row in self._running if row.is_reading]
        slices = [self._with_draft(self._slice(row, self._step_tokens)) for row in writing]
        budget = self._step_tokens
        while budget > 0:
            row = reading.pop(0) if reading else self._admit() if has_room else None
            if row is None:
                break
            slices.append(self._slice(row, budget))
            budget -= slices[-1].end - slices[-1].start
        if not slices:
            assert not self._waiting, "rows wait, and nothing runs that could make room"
            return None
        copies, self._copies = self._copies, []
        return Plan(copies=copies, slices=slices)

    def commit(self, plan: Plan) -> None:
        """Note that the step was done: what it read is in the cache."""
        for part in plan.slices:
            row, was_reading = part.row, part.row.is_reading
            row.computed = part.end
            if was_reading:
                self._prefixes.keep(row.tokens[: row.computed], row.pages)

    def accept(self, row: Row, tokens: int) -> None:
        """Note that so many more of the row's tokens are in the cache: they were drafted."""
        row.computed += tokens
        assert row.computed <= len(row.tokens)

    def fail(self, plan: Plan) -> None:
        """Note that the step failed: its rows are forgotten, and nothing is kept.

        Nobody knows which of its copies were done.
        """
        for part in plan.slices:
            if part.row in self._running:
                self._running.remove(part.row)
                self._pool.release(part.row.pages)
        while self._prefixes.evict():
            pass

    def check_integrity(self) -> None:
        """Assert that every page in use is some row's or kept, and every row has room."""
        self._pool.check(
            [page for row in self._running for page in row.pages], self._prefixes.pages
        )
        assert not any(row.pages for row in self._waiting), "a waiting row holds pages"
        for row in self._running:
            assert len(row.pages) == len(set(row.pages)), "a row has a page twice"
            assert len(row.pages) * self._pool.page_tokens >= row.computed, "a row lacks pages"

    def _slice(self, row: Row, most: int) -> Slice:
        end = min(row.computed + most, len(row.tokens))
        return Slice(row=row, start=row.computed, end=end, samples=end == len(row.tokens))

    def _with_draft(self, part: Slice) -> Slice:
        """Have the row's draft read too, as much of it as there is room for without trouble."""
        row = part.row
        if not part.samples or not row.draft:
            return part
        missing = self._pool.pages_for(part.end + len(row.draft)) - len(row.pages)
        if missing > 0 and self._has_room(missing):
            row.pages.extend(self._pool.run_after(row.pages[-1], missing) or ())
        room = len(row.pages) * self._pool.page_tokens - part.end
        return replace(part, draft=tuple(row.draft[:room]))

    def _admit(self) -> Row | None:
        """Let a waiting row in, with pages for all it has, where there is room for it.

        It is the first that needs not wait for another to read their common beginning.
        """
        for row in self._waiting[: self._max_rows - len(self._running)]:
            found = self._prefixes.find(row.tokens)
            if self._is_being_read(row, found.tokens):
                continue
            if not self._place(row, found):
                return None
            row.reading_until = len(row.tokens)
            self._waiting.remove(row)
            self._running.append(row)
            return row
        return None

    def _is_being_read(self, row: Row, known: int) -> bool:
        """Whether a running row reads what the row would read, enough of it to wait for."""
        end = known + AWAITED_TOKENS_MIN
        return (
            self._shares_prefixes
            and len(row.tokens) >= end
            and any(
                other.tokens[:end] == row.tokens[:end]
                for other in self._running
                if other.is_reading
            )
        )

    def _place(self, row: Row, found: Found) -> bool:
        """Give the row pages and what is known of its beginning; the last token is always read."""
        length = len(row.tokens)
        least = self._pool.pages_for(length + 1)
        known = min(found.tokens, length - 1)
        if known < REUSED_TOKENS_MIN:
            known = 0
        source = self._pool.share(found.pages[: self._pool.pages_for(known)])
        pages = None
        if self._has_room(least):
            wanted = min(self._pool.pages_for(length + HEADROOM_TOKENS), self._pool.total)
            pages = self._pool.run(wanted) or self._run(least)
        if pages is None:
            return self._place_behind(row, source, known // self._pool.page_tokens, least)
        if known:
            self._copy(source, pages[: len(source)], known)
        self._pool.release(source)
        row.pages, row.computed = pages, known
        self.reused_tokens += known
        return True

    def _place_behind(self, row: Row, source: list[int], shared: int, least: int) -> bool:
        """Let the row share the first of the pages it holds, and give it others wherever."""
        rest = source[shared:]
        self._pool.release(rest)
        del source[shared:]
        more = self._any(least - shared) if self._has_room(least - shared) else None
        if more is None:
            self._pool.release(source)
            return False
        row.pages, row.computed = [*source, *more], shared * self._pool.page_tokens
        self.reused_tokens += row.computed
        return True

    def _has_room(self, count: int) -> bool:
        """Whether `count` pages leave one for each that writes; they will want it before long."""
        return self._pool.free_count + self._pool.idle_count >= count + len(self._running)

    def _run(self, count: int) -> list[int] | None:
        """Take neighbours, for which kept pages go, though not for ever."""
        if self._pool.free_count + self._pool.idle_count < count:
            return None
        while (run := self._pool.run(count)) is None and self._pool.free_count < 2 * count:
            if not self._prefixes.evict():
                break
        return run

    def _any(self, count: int) -> list[int] | None:
        """Take pages wherever they are, for which kept pages go."""
        if self._pool.free_count + self._pool.idle_count < count:
            return None
        while self._pool.free_count < count:
            self._prefixes.evict()
        return self._pool.any(count)

    def _make_room(self, row: Row) -> None:
        """Give the row pages for all its tokens, taken from the youngest where there are none."""
        missing = self._pool.pages_for(len(row.tokens)) - len(row.pages)
        while missing > 0 and not self._grow(row, missing):
            youngest = max(self._running, key=_number)
            self._preempt(youngest)
            if youngest is row:
                return

    def _grow(self, row: Row, missing: int) -> bool:
        """Add pages: right behind, else as a longer run elsewhere, else wherever there are any."""
        more = self._pool.run_after(row.pages[-1], missing)
        if more is not None:
            row.pages.extend(more)
            return True
        held = len(row.pages)
        run = self._pool.run(2 * held + missing) or self._run(held + missing)
        if run is not None:
            self._copy(row.pages, run, row.computed)
            self._pool.release(row.pages)
            row.pages = run
            return True
        anywhere = self._any(missing)
        if anywhere is None:
            return False
        row.pages.extend(anywhere)
        return True

    def _preempt(self, row: Row) -> None:
        """Send a row back to the queue; what of its pages nobody needs till then it finds again."""
        self._prefixes.keep(row.tokens[: row.computed], row.pages)
        self._pool.release(row.pages)
        self._running.remove(row)
        row.computed = 0
        row.draft = []
        insort(self._waiting, row, key=_number)
        self.preemptions += 1

    def _copy(self, source: list[int], target: list[int], tokens: int) -> None:
        pages = self._pool.pages_for(tokens)
        copy = Copy(source=tuple(source[:pages]), target=tuple(target[:pages]), tokens=tokens)
        self._copies.append(copy)


def _number(row: Row) -> int:
    return row.number
