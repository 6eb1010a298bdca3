"""The scheduler against a memory that knows which text each of its slots was written for."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.scheduler import Plan, Row, Scheduler

PAGE = 4
TEXTS = ([1] * 120, [1] * 70 + [2] * 50, [1] * 5 + [3] * 115, [4] * 120)
"""Rows begin with these, so that many begin alike."""


class Memory:
    """What a KV cache holds, but for the numbers: a slot depends on all tokens up to its own."""

    def __init__(self, pages: int) -> None:
        self.slots: list[object] = [None] * (pages * PAGE)

    def run(self, plan: Plan) -> None:
        """Do a step as the model would, and check that each row finds what it has read."""
        for copy in plan.copies:
            assert not set(copy.source) & set(copy.target)
            assert len(copy.source) == len(copy.target) == -(-copy.tokens // PAGE)
            for at in range(copy.tokens):
                self.slots[slot(copy.target, at)] = self.slots[slot(copy.source, at)]
        for part in plan.slices:
            for at in range(part.start, part.end):
                self.slots[slot(part.row.pages, at)] = text(part.row, at)
        for part in plan.slices:  # after all have written: nobody writes where another reads
            for at in range(part.end):
                assert self.slots[slot(part.row.pages, at)] == text(part.row, at)


def slot(pages: list[int] | tuple[int, ...], at: int) -> int:
    return pages[at // PAGE] * PAGE + at % PAGE


def text(row: Row, at: int) -> int:
    return hash(tuple(row.tokens[: at + 1]))


class SchedulerMachine(RuleBasedStateMachine):
    """Rows come, write, leave in any order; steps are done or fail."""

    @initialize(
        pages=st.sampled_from([12, 40, 60, 150, 300]),
        max_rows=st.integers(1, 6),
        step_tokens=st.sampled_from([3, 16, 100]),
        kept=st.sampled_from([None, None, None, 6, 30, 0]),
    )
    def start(self, pages: int, max_rows: int, step_tokens: int, kept: int | None) -> None:
        self.pool = PagePool(pages, PAGE)
        self.scheduler = Scheduler(
            self.pool, max_rows=max_rows, step_tokens=step_tokens, kept_pages=kept
        )
        self.memory = Memory(pages)
        self.kept = pages if kept is None else kept
        self.rows: list[Row] = []
        self.count = 0

    @rule(
        which=st.sampled_from(TEXTS),
        common=st.sampled_from([120, 90, 60, 21, 3]),
        own=st.integers(1, 9),
    )
    def add(self, which: list[int], common: int, own: int) -> None:
        tokens = [*which[:common], *range(1000 * self.count, 1000 * self.count + own)]
        row = Row(number=self.count, tokens=tokens[: self.pool.total * PAGE - 1])
        self.count += 1
        self.rows.append(row)
        self.scheduler.add(row)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        self.rows.remove(row)
        self.scheduler.remove(row)
        assert row.pages == []

    @precondition(lambda self: self.rows)
    @rule(forced=st.integers(1, 9), times=st.integers(1, 8))
    def step(self, forced: int, times: int) -> None:
        for _ in range(times):
            plan = self.scheduler.plan()
            if plan is None:
                assert not self.rows
                return
            self.scheduler.check_integrity()
            self.memory.run(plan)
            self.scheduler.commit(plan)
            for part in plan.slices:
                if part.samples:
                    self._write(part.row, forced)

    @precondition(lambda self: self.rows)
    @rule(chance=st.integers(0, 5))
    def fail(self, chance: int) -> None:
        if chance < 5:  # else hardly anything would ever be kept
            return
        plan = self.scheduler.plan()
        assert plan is not None
        self.scheduler.fail(plan)
        for part in plan.slices:
            self.rows.remove(part.row)
        for copy in plan.copies:  # half done, perhaps: nobody may rely on it
            for page in copy.target:
                self.memory.slots[page * PAGE : (page + 1) * PAGE] = [None] * PAGE

    @invariant()
    def no_page_is_lost(self) -> None:
        self.scheduler.check_integrity()
        if not self.rows:
            assert self.pool.free_count + self.pool.idle_count == self.pool.total
            assert self.pool.idle_count <= self.kept

    def teardown(self) -> None:
        """Let all that is left write to its end: nobody may be stuck."""
        for _ in range(5000):
            if not self.rows:
                return
            self.step(forced=8, times=1)
        raise AssertionError("a row is stuck")

    def _write(self, row: Row, forced: int) -> None:
        room = min(self.pool.total * PAGE, 150) - len(row.tokens)
        row.tokens.extend([7] * min(forced, room))
        if row.pending == 0:
            self.rows.remove(row)
            self.scheduler.remove(row)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
