"""Continuous batching: which sequences run in the next step, and with how many tokens.

Knows pages and counts, no model and no text; imports no torch.

A sequence is a request as the model sees it: tokens, of which the first `computed` are in the KV
cache. The rest is computed in the next steps, be it a prompt, tokens that a grammar forced, or the
token that was sampled last. So prefill, forced tokens, decoding and the return of a preempted
sequence are one case.

A sequence that leaves, finished, preempted or aborted, leaves its pages to later sequences with the
same prefix. Those copy the prefix to pages of their own, because adjacent pages are read faster
than shared ones; where there is no room for a copy, they share the pages.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field, replace

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.prefix_cache import PrefixCache, PrefixMatch

HEADROOM_TOKENS = 64
"""Room kept behind a prompt, so that a short reply never has to move."""

MIN_REUSED_TOKENS = 16
"""A shorter common prefix is computed again."""

MIN_AWAITED_TOKENS = 64
"""A sequence waits for another's prefill where at least so many more tokens of them are common.

That many tokens cost about as much as a step of their own (a 135M model on a CPU).
"""


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """One request in the batch or waiting for it. `number` is its place in the queue.

    `draft` is a guess at what comes after `tokens`. Up to `prefill_end` these are its prompt, or
    after a preemption all that it had.
    """

    number: int
    tokens: list[int]
    draft: list[int] = field(default_factory=list[int])
    computed: int = 0
    prefill_end: int = 0
    pages: list[int] = field(default_factory=list[int])

    @property
    def pending(self) -> int:
        """Tokens that are not computed yet."""
        return len(self.tokens) - self.computed

    @property
    def is_prefilling(self) -> bool:
        """Whether its prompt (or, after preemption, what it had) is not computed yet."""
        return self.computed < self.prefill_end


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tokens `[start, end)` of a sequence, computed in one step.

    With `samples` a next token is sampled after them. Then the `draft` is computed behind them, and
    a token is sampled after each of its tokens as well.
    """

    sequence: Sequence
    start: int
    end: int
    samples: bool
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Keys and values of `tokens` tokens go to other pages before the step.

    A sequence that outgrew its pages takes its own along; a new sequence takes those of another
    with the same prefix instead of computing it again; what a sequence leaves moves out of the way.
    """

    source: tuple[int, ...]
    target: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step: first the copies, in order, then all chunks in one forward."""

    copies: list[Copy]
    chunks: list[Chunk]


class Scheduler:
    """Sequences in order of arrival, at most `max_sequences` of them in the batch at once.

    A step prefills at most `prefill_budget` tokens; sequences that decode never wait for those that
    prefill. At most `cached_pages` pages that no sequence holds are kept for later sequences (None:
    all there are). Where pages run out, these go first; then the youngest sequence is preempted:
    it gives up its pages and comes back later. Without `shares_prefixes` every sequence computes
    all of its tokens itself.
    """

    def __init__(
        self,
        pool: PagePool,
        *,
        max_sequences: int,
        prefill_budget: int,
        cached_pages: int | None = None,
        shares_prefixes: bool = True,
    ) -> None:
        self._pool = pool
        self._prefixes = PrefixCache(pool, is_empty=not shares_prefixes)
        self._shares_prefixes = shares_prefixes
        self._cached_pages = pool.total if cached_pages is None else cached_pages
        self._copies: list[Copy] = []  # for the next batch, in order
        self._max_sequences = max_sequences
        self._prefill_budget = prefill_budget
        self._running: list[Sequence] = []
        self._waiting: list[Sequence] = []
        self.preemptions = 0
        self.reused_tokens = 0

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences that wait for a place in the batch."""
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at its place in the queue."""
        assert self._pool.pages_for(len(sequence.tokens) + 1) <= self._pool.total, "never fits"
        insort(self._waiting, sequence, key=_number)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, finished or not, and free its pages at once. Idempotent."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence not in self._running:
            return
        self._running.remove(sequence)
        computed = sequence.tokens[: sequence.computed]
        self._prefixes.insert(computed, sequence.pages)
        source, target = self._prefixes.settle(computed, sequence.pages)
        if source:
            self._copy(source, target, len(source) * self._pool.page_tokens)
        self._pool.release(sequence.pages)
        while self._pool.idle_count > self._cached_pages and self._prefixes.evict():
            pass

    def schedule(self) -> Batch | None:
        """Choose the next batch; None when there is nothing to do.

        Then `commit` it when it is done, or `fail` it.
        """
        preemptions_before = self.preemptions
        for sequence in [one for one in self._running if not one.is_prefilling]:
            if sequence in self._running:
                self._make_room(sequence)
        has_room = self.preemptions == preemptions_before
        decoding = [one for one in self._running if not one.is_prefilling]
        prefilling = [one for one in self._running if one.is_prefilling]
        chunks = [self._with_draft(self._chunk(one, self._prefill_budget)) for one in decoding]
        budget = self._prefill_budget
        while budget > 0:
            sequence = prefilling.pop(0) if prefilling else self._admit() if has_room else None
            if sequence is None:
                break
            chunks.append(self._chunk(sequence, budget))
            budget -= chunks[-1].end - chunks[-1].start
        if not chunks:
            assert not self._waiting, "sequences wait, and nothing runs that could make room"
            return None
        copies, self._copies = self._copies, []
        return Batch(copies=copies, chunks=chunks)

    def commit(self, batch: Batch) -> None:
        """Note that the step was done: its tokens are in the cache."""
        for chunk in batch.chunks:
            sequence, was_prefilling = chunk.sequence, chunk.sequence.is_prefilling
            sequence.computed = chunk.end
            if was_prefilling:
                self._prefixes.insert(sequence.tokens[: sequence.computed], sequence.pages)

    def accept(self, sequence: Sequence, tokens: int) -> None:
        """Note that so many more of the sequence's tokens are in the cache: they were drafted."""
        sequence.computed += tokens
        assert sequence.computed <= len(sequence.tokens)

    def fail(self, batch: Batch) -> None:
        """Note that the step failed: its sequences are forgotten, and no prefix is kept.

        Nobody knows which of its copies were done.
        """
        for chunk in batch.chunks:
            if chunk.sequence in self._running:
                self._running.remove(chunk.sequence)
                self._pool.release(chunk.sequence.pages)
        while self._prefixes.evict():
            pass

    def check_integrity(self) -> None:
        """Assert that every used page is held or cached, and that every sequence has room."""
        self._pool.check(
            [page for one in self._running for page in one.pages], self._prefixes.pages
        )
        assert not any(one.pages for one in self._waiting), "a waiting sequence holds pages"
        for one in self._running:
            assert len(one.pages) == len(set(one.pages)), "a sequence has a page twice"
            has_room = len(one.pages) * self._pool.page_tokens >= one.computed
            assert has_room, "a sequence lacks pages"

    def _chunk(self, sequence: Sequence, max_tokens: int) -> Chunk:
        start, length = sequence.computed, len(sequence.tokens)
        end = min(start + max_tokens, length)
        return Chunk(sequence=sequence, start=start, end=end, samples=end == length)

    def _with_draft(self, chunk: Chunk) -> Chunk:
        """Add the sequence's draft, as much of it as there is room for without preempting."""
        sequence = chunk.sequence
        if not chunk.samples or not sequence.draft:
            return chunk
        missing = self._pool.pages_for(chunk.end + len(sequence.draft)) - len(sequence.pages)
        if missing > 0 and self._has_room(missing):
            sequence.pages.extend(self._pool.run_after(sequence.pages[-1], missing) or ())
        room = len(sequence.pages) * self._pool.page_tokens - chunk.end
        return replace(chunk, draft=tuple(sequence.draft[:room]))

    def _admit(self) -> Sequence | None:
        """Move a waiting sequence into the batch, with pages for all it has, if there is room.

        It is the first that need not wait for another to prefill their common prefix.
        """
        for sequence in self._waiting[: self._max_sequences - len(self._running)]:
            match = self._prefixes.match_prefix(sequence.tokens)
            if self._is_being_prefilled(sequence, match.tokens):
                continue
            if not self._allocate(sequence, match):
                return None
            sequence.prefill_end = len(sequence.tokens)
            self._waiting.remove(sequence)
            self._running.append(sequence)
            return sequence
        return None

    def _is_being_prefilled(self, sequence: Sequence, cached: int) -> bool:
        """Whether a running sequence prefills enough of the same tokens to wait for it."""
        end = cached + MIN_AWAITED_TOKENS
        return (
            self._shares_prefixes
            and len(sequence.tokens) >= end
            and any(
                other.tokens[:end] == sequence.tokens[:end]
                for other in self._running
                if other.is_prefilling
            )
        )

    def _allocate(self, sequence: Sequence, match: PrefixMatch) -> bool:
        """Give the sequence pages and its cached prefix; its last token is always computed."""
        length = len(sequence.tokens)
        required = self._pool.pages_for(length + 1)
        cached = min(match.tokens, length - 1)
        if cached < MIN_REUSED_TOKENS:
            cached = 0
        source = self._pool.share(match.pages[: self._pool.pages_for(cached)])
        pages = None
        if self._has_room(required):
            desired = min(self._pool.pages_for(length + HEADROOM_TOKENS), self._pool.total)
            pages = self._pool.run(desired) or self._run(required)
        if pages is None:
            shared = cached // self._pool.page_tokens
            return self._allocate_shared(sequence, source, shared, required)
        if cached:
            self._copy(source, pages[: len(source)], cached)
        self._pool.release(source)
        sequence.pages, sequence.computed = pages, cached
        self.reused_tokens += cached
        return True

    def _allocate_shared(
        self, sequence: Sequence, source: list[int], shared: int, required: int
    ) -> bool:
        """Let the sequence share the first pages of `source`, and give it any others."""
        rest = source[shared:]
        self._pool.release(rest)
        del source[shared:]
        more = self._any(required - shared) if self._has_room(required - shared) else None
        if more is None:
            self._pool.release(source)
            return False
        sequence.pages, sequence.computed = [*source, *more], shared * self._pool.page_tokens
        self.reused_tokens += sequence.computed
        return True

    def _has_room(self, count: int) -> bool:
        """Whether `count` pages leave one for each running sequence, which will soon need it."""
        return self._pool.free_count + self._pool.idle_count >= count + len(self._running)

    def _run(self, count: int) -> list[int] | None:
        """Take adjacent pages; evicts cached ones for them, within limits."""
        if self._pool.free_count + self._pool.idle_count < count:
            return None
        while (run := self._pool.run(count)) is None and self._pool.free_count < 2 * count:
            if not self._prefixes.evict():
                break
        return run

    def _any(self, count: int) -> list[int] | None:
        """Take pages wherever they are; evicts cached ones for them."""
        if self._pool.free_count + self._pool.idle_count < count:
            return None
        while self._pool.free_count < count:
            self._prefixes.evict()
        return self._pool.any(count)

    def _make_room(self, sequence: Sequence) -> None:
        """Give the sequence pages for all its tokens; preempts the youngest where none are left."""
        missing = self._pool.pages_for(len(sequence.tokens)) - len(sequence.pages)
        while missing > 0 and not self._grow(sequence, missing):
            youngest = max(self._running, key=_number)
            self._preempt(youngest)
            if youngest is sequence:
                return

    def _grow(self, sequence: Sequence, missing: int) -> bool:
        """Add pages: right behind, else as a longer run elsewhere, else wherever there are any."""
        more = self._pool.run_after(sequence.pages[-1], missing)
        if more is not None:
            sequence.pages.extend(more)
            return True
        held = len(sequence.pages)
        run = self._pool.run(2 * held + missing) or self._run(held + missing)
        if run is not None:
            self._copy(sequence.pages, run, sequence.computed)
            self._pool.release(sequence.pages)
            sequence.pages = run
            return True
        anywhere = self._any(missing)
        if anywhere is None:
            return False
        sequence.pages.extend(anywhere)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Send a sequence back to the queue; it reuses its pages if they are still cached then."""
        self._prefixes.insert(sequence.tokens[: sequence.computed], sequence.pages)
        self._pool.release(sequence.pages)
        self._running.remove(sequence)
        sequence.computed = 0
        sequence.draft = []
        insort(self._waiting, sequence, key=_number)
        self.preemptions += 1

    def _copy(self, source: list[int], target: list[int], tokens: int) -> None:
        pages = self._pool.pages_for(tokens)
        copy = Copy(source=tuple(source[:pages]), target=tuple(target[:pages]), tokens=tokens)
        self._copies.append(copy)


def _number(sequence: Sequence) -> int:
    return sequence.number
