"""The scheduler against a memory that knows which text each of its slots was written for."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.scheduler import Batch, Scheduler, Sequence

PAGE = 4
TEXTS = ([1] * 120, [1] * 70 + [2] * 50, [1] * 5 + [3] * 115, [4] * 120)
"""Sequences begin with these, so that many share a prefix."""


class Memory:
    """What a KV cache holds, but for the numbers: a slot depends on all tokens up to its own."""

    def __init__(self, pages: int) -> None:
        self.slots: list[object] = [None] * (pages * PAGE)

    def run(self, batch: Batch) -> None:
        """Do a step as the model would, and check that each sequence finds what it has computed."""
        for copy in batch.copies:
            assert not set(copy.source) & set(copy.target)
            assert len(copy.source) == len(copy.target) == -(-copy.tokens // PAGE)
            for at in range(copy.tokens):
                self.slots[slot(copy.target, at)] = self.slots[slot(copy.source, at)]
        for chunk in batch.chunks:
            for at in range(chunk.start, chunk.end):
                self.slots[slot(chunk.sequence.pages, at)] = text(chunk.sequence, at)
        for chunk in batch.chunks:  # after all have written: nobody writes where another reads
            for at in range(chunk.end):
                assert self.slots[slot(chunk.sequence.pages, at)] == text(chunk.sequence, at)


def slot(pages: list[int] | tuple[int, ...], at: int) -> int:
    return pages[at // PAGE] * PAGE + at % PAGE


def text(sequence: Sequence, at: int) -> int:
    return hash(tuple(sequence.tokens[: at + 1]))


class SchedulerMachine(RuleBasedStateMachine):
    """Sequences come, write, leave in any order; steps are done or fail."""

    @initialize(
        pages=st.sampled_from([12, 40, 60, 150, 300]),
        max_sequences=st.integers(1, 6),
        prefill_budget=st.sampled_from([3, 16, 100]),
        kept=st.sampled_from([None, None, None, 6, 30, 0]),
    )
    def start(self, pages: int, max_sequences: int, prefill_budget: int, kept: int | None) -> None:
        self.pool = PagePool(pages, PAGE)
        self.scheduler = Scheduler(
            self.pool, max_sequences=max_sequences, prefill_budget=prefill_budget, cached_pages=kept
        )
        self.memory = Memory(pages)
        self.kept = pages if kept is None else kept
        self.sequences: list[Sequence] = []
        self.count = 0

    @rule(
        which=st.sampled_from(TEXTS),
        common=st.sampled_from([120, 90, 60, 21, 3]),
        own=st.integers(1, 9),
    )
    def add(self, which: list[int], common: int, own: int) -> None:
        tokens = [*which[:common], *range(1000 * self.count, 1000 * self.count + own)]
        sequence = Sequence(number=self.count, tokens=tokens[: self.pool.total * PAGE - 1])
        self.count += 1
        self.sequences.append(sequence)
        self.scheduler.add(sequence)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.sequences))
        self.sequences.remove(sequence)
        self.scheduler.remove(sequence)
        assert sequence.pages == []

    @precondition(lambda self: self.sequences)
    @rule(forced=st.integers(1, 9), times=st.integers(1, 8))
    def step(self, forced: int, times: int) -> None:
        for _ in range(times):
            batch = self.scheduler.schedule()
            if batch is None:
                assert not self.sequences
                return
            self.scheduler.check_integrity()
            self.memory.run(batch)
            self.scheduler.commit(batch)
            for chunk in batch.chunks:
                if chunk.samples:
                    self._write(chunk.sequence, forced)

    @precondition(lambda self: self.sequences)
    @rule(chance=st.integers(0, 5))
    def fail(self, chance: int) -> None:
        if chance < 5:  # else hardly anything would ever be kept
            return
        batch = self.scheduler.schedule()
        assert batch is not None
        self.scheduler.fail(batch)
        for chunk in batch.chunks:
            self.sequences.remove(chunk.sequence)
        for copy in batch.copies:  # half done, perhaps: nobody may rely on it
            for page in copy.target:
                self.memory.slots[page * PAGE : (page + 1) * PAGE] = [None] * PAGE

    @invariant()
    def no_page_is_lost(self) -> None:
        self.scheduler.check_integrity()
        if not self.sequences:
            assert self.pool.free_count + self.pool.idle_count == self.pool.total
            assert self.pool.idle_count <= self.kept

    def teardown(self) -> None:
        """Let all that is left write to its end: nobody may be stuck."""
        for _ in range(5000):
            if not self.sequences:
                return
            self.step(forced=8, times=1)
        raise AssertionError("a sequence is stuck")

    def _write(self, sequence: Sequence, forced: int) -> None:
        room = min(self.pool.total * PAGE, 150) - len(sequence.tokens)
        sequence.tokens.extend([7] * min(forced, room))
        if sequence.pending == 0:
            self.sequences.remove(sequence)
            self.scheduler.remove(sequence)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
