"""Who runs in the next step, and with how many tokens. Knows pages and counts, no model, no text.

A row is a request as the model sees it: tokens, of which the first `computed` are in the cache.
Whatever lies behind them is read in the next steps, be it a prompt, tokens that a grammar forced,
or the one token written last; so prefill, forced tokens, decoding and the return of a preempted
row are one case.
Layer 3: no torch.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from conduit_nb.lmlite.pages import PagePool

HEADROOM_TOKENS = 64
"""Room kept behind a prompt, so that a short reply never has to move."""


REUSED_TOKENS_MIN = 16
"""A shorter common beginning is read anew."""


@dataclass(slots=True, eq=False, kw_only=True)
class Row:
    """One request in the batch or on its way there. `number` is its place in the queue."""

    number: int
    tokens: list[int]
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
    """Tokens `[start, end)` of a row, read in one step. `samples`: a next token is wanted."""

    row: Row
    start: int
    end: int
    samples: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Keys and values of `tokens` tokens go to other pages before the step.

    A row that outgrew its place takes its own along; a new row takes those of another row that
    begins with the same text, instead of reading it once more.
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
    read. Where the pages run out, the youngest row gives up its pages and comes back later.
    """

    def __init__(self, pool: PagePool, *, max_rows: int, step_tokens: int) -> None:
        self._pool = pool
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
        for rows in (self._running, self._waiting):
            if row in rows:
                rows.remove(row)
        self._pool.release(row.pages)

    def plan(self) -> Plan | None:
        """Choose the next step; None when there is nothing to do. `commit` it when it is done."""
        copies: list[Copy] = []
        preemptions_before = self.preemptions
        for row in [row for row in self._running if not row.is_reading]:
            if row in self._running:
                self._make_room(row, copies)
        has_room = self.preemptions == preemptions_before
        writing = [row for row in self._running if not row.is_reading]
        reading = [row for row in self._running if row.is_reading]
        slices = [self._slice(row, self._step_tokens) for row in writing]
        budget = self._step_tokens
        while budget > 0:
            row = reading.pop(0) if reading else self._admit(copies) if has_room else None
            if row is None:
                break
            slices.append(self._slice(row, budget))
            budget -= slices[-1].end - slices[-1].start
        if not slices:
            assert not self._waiting, "rows wait, and nothing runs that could make room"
            return None
        return Plan(copies=copies, slices=slices)

    def commit(self, plan: Plan) -> None:
        """Note that the step was done: what it read is in the cache."""
        for part in plan.slices:
            part.row.computed = part.end

    def check_integrity(self) -> None:
        """Assert that every held page has exactly one row, and every row room for its tokens."""
        held = [page for row in self._running for page in row.pages]
        assert len(held) == len(set(held)), "a page is held twice"
        assert len(held) + self._pool.free_count == self._pool.total, "pages are lost"
        assert not any(row.pages for row in self._waiting), "a waiting row holds pages"
        for row in self._running:
            assert len(row.pages) * self._pool.page_tokens >= row.computed, "a row lacks pages"

    def _slice(self, row: Row, most: int) -> Slice:
        end = min(row.computed + most, len(row.tokens))
        return Slice(row=row, start=row.computed, end=end, samples=end == len(row.tokens))

    def _admit(self, copies: list[Copy]) -> Row | None:
        """Let the first waiting row in, with pages for all it has, where there is room for it."""
        if not self._waiting or len(self._running) >= self._max_rows:
            return None
        row = self._waiting[0]
        least = self._pool.pages_for(len(row.tokens) + 1)
        if self._running and self._pool.free_count < least + len(self._running):
            return None  # those who write will want a page each before long
        wanted = min(self._pool.pages_for(len(row.tokens) + HEADROOM_TOKENS), self._pool.total)
        pages = self._pool.run(wanted) or self._pool.run(least) or self._pool.any(least)
        if pages is None:
            return None
        row.pages, row.reading_until = pages, len(row.tokens)
        self._reuse(row, copies)
        self._running.append(self._waiting.pop(0))
        return row

    def _reuse(self, row: Row, copies: list[Copy]) -> None:
        """Take what a running row has read of the same beginning; the last token is always read."""
        row.computed = 0
        shared = {one: _common(row.tokens, one.tokens[: one.computed]) for one in self._running}
        donor = max(shared, key=shared.__getitem__, default=None)
        if donor is None or shared[donor] < REUSED_TOKENS_MIN:
            return
        row.computed = min(shared[donor], len(row.tokens) - 1)
        pages = self._pool.pages_for(row.computed)
        source, target = tuple(donor.pages[:pages]), tuple(row.pages[:pages])
        copies.append(Copy(source=source, target=target, tokens=row.computed))
        self.reused_tokens += row.computed

    def _make_room(self, row: Row, copies: list[Copy]) -> None:
        """Give the row pages for all its tokens, taken from the youngest where there are none."""
        missing = self._pool.pages_for(len(row.tokens)) - len(row.pages)
        while missing > 0 and not self._grow(row, missing, copies):
            youngest = max(self._running, key=_number)
            self._preempt(youngest, copies)
            if youngest is row:
                return

    def _grow(self, row: Row, missing: int, copies: list[Copy]) -> bool:
        """Add pages: right behind, else as a longer run elsewhere, else wherever there are any."""
        more = self._pool.run_after(row.pages[-1], missing)
        if more is not None:
            row.pages.extend(more)
            return True
        held = len(row.pages)
        run = self._pool.run(2 * held + missing) or self._pool.run(held + missing)
        if run is not None:
            copies.append(Copy(source=tuple(row.pages), target=tuple(run), tokens=row.computed))
            self._pool.release(row.pages)
            row.pages = run
            return True
        anywhere = self._pool.any(missing)
        if anywhere is None:
            return False
        row.pages.extend(anywhere)
        return True

    def _preempt(self, row: Row, copies: list[Copy]) -> None:
        """Send a row back to the queue; it will read again what it had."""
        pages = set(row.pages)
        copies[:] = [copy for copy in copies if not pages.intersection(copy.target)]
        self._pool.release(row.pages)
        self._running.remove(row)
        row.computed = 0
        insort(self._waiting, row, key=_number)
        self.preemptions += 1


def _number(row: Row) -> int:
    return row.number


def _common(one: list[int], other: list[int]) -> int:
    """Return how many tokens two rows begin with alike."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    return next(at for at in range(length) if one[at] != other[at])
