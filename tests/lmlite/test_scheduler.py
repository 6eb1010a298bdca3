from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.scheduler import Batch, Scheduler, Sequence

PAGE = 16


def make(pages: int = 100, *, max_sequences: int = 4, prefill_budget: int = 32) -> Scheduler:
    return Scheduler(
        PagePool(pages, PAGE), max_sequences=max_sequences, prefill_budget=prefill_budget
    )


def sequence(number: int, length: int) -> Sequence:
    return Sequence(number=number, tokens=[1000 * number + at for at in range(length)])


def step(scheduler: Scheduler) -> Batch:
    """Do one step, as a model would that writes a token whenever one is sampled."""
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.commit(batch)
    for chunk in batch.chunks:
        if chunk.samples:
            chunk.sequence.tokens.append(7)
    scheduler.check_integrity()
    return batch


def computed(batch: Batch) -> list[tuple[int, int, int, bool]]:
    return [
        (chunk.sequence.number, chunk.start, chunk.end, chunk.samples) for chunk in batch.chunks
    ]


def test_a_prompt_longer_than_a_step_is_prefilled_in_chunks_and_sampled_after_the_last():
    scheduler = make()
    scheduler.add(sequence(0, 70))

    assert computed(step(scheduler)) == [(0, 0, 32, False)]
    assert computed(step(scheduler)) == [(0, 32, 64, False)]
    assert computed(step(scheduler)) == [(0, 64, 70, True)]
    assert computed(step(scheduler)) == [(0, 70, 71, True)]


def test_decoding_sequences_come_first_and_do_not_wait_for_prefills():
    scheduler = make()
    scheduler.add(sequence(0, 4))
    step(scheduler)
    scheduler.add(sequence(1, 100))

    assert computed(step(scheduler)) == [(0, 4, 5, True), (1, 0, 32, False)]
    assert computed(step(scheduler)) == [(0, 5, 6, True), (1, 32, 64, False)]


def test_forced_tokens_are_computed_together_with_the_one_before():
    scheduler = make()
    one = sequence(0, 4)
    scheduler.add(one)
    step(scheduler)
    one.tokens.extend([1, 2, 3])

    assert computed(step(scheduler)) == [(0, 4, 8, True)]


def test_short_prompts_are_prefilled_together_within_the_step():
    scheduler = make()
    for number in range(3):
        scheduler.add(sequence(number, 12))

    assert computed(step(scheduler)) == [(0, 0, 12, True), (1, 0, 12, True), (2, 0, 8, False)]


def test_requests_beyond_the_limit_wait_in_order_and_join_when_one_leaves():
    scheduler = make(max_sequences=2)
    sequences = [sequence(number, 4) for number in range(4)]
    for one in sequences:
        scheduler.add(one)
    step(scheduler)

    assert (scheduler.running, scheduler.waiting) == (2, 2)
    scheduler.remove(sequences[0])
    assert [number for number, *_ in computed(step(scheduler))] == [1, 2]
    assert (scheduler.running, scheduler.waiting) == (2, 1)


def test_a_sequence_copies_the_prefix_that_it_shares_with_a_running_one():
    scheduler = make()
    first, second, third = sequence(0, 32), sequence(1, 30), sequence(2, 30)
    second.tokens[:20] = first.tokens[:20]
    third.tokens[:15] = first.tokens[:15]
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)
    scheduler.add(third)

    batch = step(scheduler)

    assert computed(batch) == [(0, 32, 33, True), (1, 20, 30, True), (2, 0, 22, False)]
    (copy,) = batch.copies
    assert (copy.source, copy.target) == (tuple(first.pages[:2]), tuple(second.pages[:2]))
    assert copy.tokens == scheduler.reused_tokens == 20


def test_of_a_sequence_that_is_all_cached_the_last_token_is_computed_again():
    scheduler = make()
    first, second = sequence(0, 32), sequence(1, 32)
    second.tokens = list(first.tokens)
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)

    assert computed(step(scheduler)) == [(0, 32, 33, True), (1, 31, 32, True)]


def test_sequences_that_arrive_together_wait_for_the_first_to_prefill_a_long_common_prefix():
    scheduler = make(prefill_budget=120)
    sequences = [sequence(number, 70 + number) for number in range(3)]
    for one in sequences:
        one.tokens[:65] = sequences[0].tokens[:65]
        scheduler.add(one)
    stranger = sequence(3, 30)
    scheduler.add(stranger)

    assert computed(step(scheduler)) == [(0, 0, 70, True), (3, 0, 30, True)]
    assert computed(step(scheduler)) == [
        (0, 70, 71, True),
        (3, 30, 31, True),
        (1, 64, 71, True),
        (2, 64, 72, True),
    ]
    assert scheduler.reused_tokens == 128


def test_nobody_waits_for_a_short_common_prefix():
    scheduler = make(prefill_budget=200)
    first, second = sequence(0, 70), sequence(1, 70)
    second.tokens[:63] = first.tokens[:63]
    scheduler.add(first)
    scheduler.add(second)

    assert computed(step(scheduler)) == [(0, 0, 70, True), (1, 0, 70, True)]


def test_a_sequence_waits_no_longer_when_the_one_it_waits_for_is_gone():
    scheduler = make(prefill_budget=40)
    first, second = sequence(0, 200), sequence(1, 200)
    second.tokens[:199] = first.tokens[:199]
    scheduler.add(first)
    scheduler.add(second)
    assert computed(step(scheduler)) == [(0, 0, 40, False)]
    assert computed(step(scheduler)) == [(0, 40, 80, False)]
    scheduler.remove(first)

    assert computed(step(scheduler)) == [(1, 80, 120, False)]


def test_a_sequence_that_is_removed_frees_its_pages_at_once_wherever_it_is():
    pool = PagePool(8, PAGE)
    scheduler = Scheduler(pool, max_sequences=1, prefill_budget=8)
    running, waiting = sequence(0, 20), sequence(1, 20)
    scheduler.add(running)
    scheduler.add(waiting)
    step(scheduler)

    for one in (running, waiting, running):
        scheduler.remove(one)

    assert pool.free_count == 8
    assert scheduler.schedule() is None


def test_a_sequence_that_outgrows_its_place_moves_with_all_it_has():
    scheduler = make(30, max_sequences=2)
    first, second = sequence(0, 4), sequence(1, 4)
    scheduler.add(first)
    scheduler.add(second)
    step(scheduler)
    before = list(first.pages)
    first.tokens.extend(range(len(before) * PAGE))

    batch = step(scheduler)

    (copy,) = batch.copies
    assert (copy.source, copy.target, copy.tokens) == ((before[0],), (first.pages[0],), 4)
    assert first.pages == list(range(first.pages[0], first.pages[0] + len(first.pages)))


def test_pages_apart_do_where_there_is_no_run():
    scheduler = make(17, max_sequences=3)
    sequences = [sequence(number, 4) for number in range(3)]
    for one in sequences:
        scheduler.add(one)
    step(scheduler)
    scheduler.remove(sequences[1])
    sequences[0].tokens.extend(range(PAGE * len(sequences[0].pages)))
    sequences[2].tokens.extend(range(PAGE * (len(sequences[2].pages) + 2)))

    step(scheduler)

    assert scheduler.preemptions == 0
    assert sequences[2].pages == [10, 11, 12, 13, 14, 6, 7, 8]


def test_the_youngest_sequence_is_preempted_when_pages_run_out_and_prefills_again_what_is_gone():
    scheduler = make(12, max_sequences=2)
    old, young = sequence(0, 30), sequence(1, 30)
    scheduler.add(old)
    scheduler.add(young)
    while scheduler.running < 2 or young.is_prefilling or old.is_prefilling:
        step(scheduler)
    while not scheduler.preemptions:
        batch = step(scheduler)

    assert [number for number, *_ in computed(batch)] == [0]
    assert (scheduler.running, scheduler.waiting, young.pages) == (1, 1, [])

    had = len(young.tokens)
    while len(old.tokens) <= 11 * PAGE:  # all but one page
        step(scheduler)
    scheduler.remove(old)
    assert computed(step(scheduler))[0][:3] == (1, PAGE, PAGE + 32)
    while young.is_prefilling:
        step(scheduler)
    assert len(young.tokens) == had + 1


def test_a_sequence_is_not_admitted_where_decoding_ones_would_soon_preempt_it():
    scheduler = make(8, max_sequences=4)
    scheduler.add(sequence(0, 90))
    scheduler.add(sequence(1, 15))
    for _ in range(3):
        step(scheduler)

    assert (scheduler.running, scheduler.waiting) == (1, 1)


def run(scheduler: Scheduler, one: Sequence) -> int:
    """Prefill a sequence and remove it; return how many tokens were computed."""
    scheduler.add(one)
    computed_before = one.computed
    taken = 0
    while one.computed < len(one.tokens):
        batch = scheduler.schedule()
        assert batch is not None
        taken += sum(chunk.end - chunk.start for chunk in batch.chunks if chunk.sequence is one)
        scheduler.commit(batch)
    assert computed_before == 0
    scheduler.remove(one)
    scheduler.check_integrity()
    return taken


def with_prefix(number: int, common: int, length: int, *, with_sequence: int = 0) -> Sequence:
    """Return a sequence that shares a prefix of `common` tokens with another."""
    one = sequence(number, length)
    one.tokens[:common] = sequence(with_sequence, common).tokens
    return one


def test_a_sequence_reuses_the_prefixes_of_sequences_that_are_gone():
    scheduler = make()

    assert run(scheduler, sequence(0, 100)) == 100
    assert [run(scheduler, with_prefix(number, 90, 100)) for number in (1, 2, 3)] == [10] * 3
    assert scheduler.reused_tokens == 3 * 90
    assert run(scheduler, sequence(4, 100)) == 100


def test_a_chat_goes_on_from_what_was_written_last():
    scheduler = make()
    first = sequence(0, 40)
    scheduler.add(first)
    for _ in range(42):
        step(scheduler)
    scheduler.remove(first)

    assert run(scheduler, Sequence(number=1, tokens=[*first.tokens, *range(20)])) == 101 - 80


def test_what_a_cancelled_sequence_had_prefilled_is_reused():
    scheduler = make(prefill_budget=32)
    first = sequence(0, 100)
    scheduler.add(first)
    step(scheduler)
    step(scheduler)
    scheduler.remove(first)
    scheduler.check_integrity()

    assert run(scheduler, sequence(0, 100)) == 36


def test_cached_pages_move_to_the_top_and_leave_the_bottom_to_running_sequences():
    pool = PagePool(40, PAGE)
    scheduler = Scheduler(pool, max_sequences=2, prefill_budget=100)
    first, second = sequence(0, 50), with_prefix(1, 48, 100)
    for one in (first, second):
        scheduler.add(one)
        batch = scheduler.schedule()
        assert batch is not None
        scheduler.commit(batch)
        pages = list(one.pages)
        scheduler.remove(one)

        assert pages == list(range(len(pages)))
    assert [(copy.source, copy.target) for copy in batch.copies] == [
        ((0, 1, 2), (37, 38, 39)),
        ((37, 38, 39), (0, 1, 2)),
    ]
    assert pool.idle_count == 6
    assert pool.run(34) == list(range(34))


def test_no_more_pages_are_cached_than_allowed_and_the_last_used_stay():
    scheduler = Scheduler(PagePool(100, PAGE), max_sequences=4, prefill_budget=200, cached_pages=8)
    for number in (0, 1):
        run(scheduler, sequence(number, 64))
    assert run(scheduler, sequence(0, 64)) == 1
    run(scheduler, sequence(2, 64))

    assert run(scheduler, sequence(0, 64)) == 1
    assert run(scheduler, sequence(1, 64)) == 64


def test_of_an_evicted_text_the_end_goes_first():
    scheduler = Scheduler(PagePool(100, PAGE), max_sequences=4, prefill_budget=200, cached_pages=6)
    run(scheduler, sequence(0, 64))
    run(scheduler, sequence(1, 64))

    assert run(scheduler, sequence(0, 64)) == 32


def test_nothing_is_cached_where_nothing_may_be():
    pool = PagePool(100, PAGE)
    scheduler = Scheduler(pool, max_sequences=4, prefill_budget=200, cached_pages=0)

    assert [run(scheduler, sequence(0, 64)) for _ in range(2)] == [64, 64]
    assert pool.free_count == 100


def test_cached_pages_are_evicted_before_any_sequence_the_least_recently_used_first():
    scheduler = make(14, prefill_budget=100)
    for number in (0, 1, 2):
        run(scheduler, sequence(number, 64))
    assert run(scheduler, sequence(0, 64)) == 1

    long = sequence(3, 100)
    scheduler.add(long)
    step(scheduler)
    scheduler.remove(long)

    assert scheduler.preemptions == 0
    assert run(scheduler, sequence(0, 64)) == 1
    assert run(scheduler, sequence(1, 64)) == 64


def test_where_a_copy_has_no_room_sequences_share_the_pages_of_their_common_prefix():
    scheduler = make(15, prefill_budget=200)
    first, second = sequence(0, 130), with_prefix(1, 130, 140)
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)

    batch = step(scheduler)

    assert computed(batch) == [(0, 130, 131, True), (1, 128, 140, True)]
    assert batch.copies == []
    assert second.pages[:8] == first.pages[:8]
    assert not set(second.pages[8:]) & set(first.pages)
    scheduler.remove(first)
    scheduler.check_integrity()
    assert computed(step(scheduler)) == [(1, 140, 141, True)]


def test_a_sequence_that_fills_all_pages_reuses_what_is_cached_in_them():
    scheduler = make(8, prefill_budget=200)
    run(scheduler, sequence(0, 100))

    assert run(scheduler, with_prefix(1, 96, 8 * PAGE - 1)) == 8 * PAGE - 1 - 96


def test_a_step_that_failed_takes_its_sequences_and_the_whole_prefix_cache():
    pool = PagePool(100, PAGE)
    scheduler = Scheduler(pool, max_sequences=4, prefill_budget=32)
    run(scheduler, sequence(0, 60))
    failing, other = sequence(0, 64), sequence(1, 60)
    scheduler.add(failing)
    scheduler.add(other)
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.fail(batch)
    scheduler.check_integrity()
    for chunk in batch.chunks:
        scheduler.remove(chunk.sequence)

    assert [chunk.sequence.number for chunk in batch.chunks] == [0, 1]
    assert pool.free_count == 100
    assert run(scheduler, sequence(0, 60)) == 60


@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_is_finished_however_few_the_pages(seed: int):
    chance = random.Random(seed)
    pages = chance.randint(6, 20)
    scheduler = make(
        pages, max_sequences=chance.randint(1, 6), prefill_budget=chance.choice([5, 16, 40])
    )
    goals: dict[Sequence, int] = {}
    for number in range(12):
        length = chance.randint(1, pages * PAGE - 1)
        one = sequence(number, length)
        goals[one] = chance.randint(length + 1, pages * PAGE)
        scheduler.add(one)

    for _ in range(20_000):
        if not goals:
            break
        batch = scheduler.schedule()
        assert batch is not None
        scheduler.check_integrity()
        scheduler.commit(batch)
        for chunk in batch.chunks:
            assert chunk.start == 0 or chunk.start <= chunk.end <= len(chunk.sequence.pages) * PAGE
            if chunk.samples:
                extra = chance.choice([1, 1, 6])
                chunk.sequence.tokens.extend(
                    [0] * min(extra, goals[chunk.sequence] - len(chunk.sequence.tokens))
                )
                if len(chunk.sequence.tokens) == goals[chunk.sequence]:
                    scheduler.remove(chunk.sequence)
                    del goals[chunk.sequence]

    assert not goals


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 64))
def test_a_step_never_prefills_more_than_its_budget(lengths: list[int], prefill_budget: int):
    scheduler = make(400, max_sequences=8, prefill_budget=prefill_budget)
    for number, length in enumerate(lengths):
        scheduler.add(sequence(number, length))

    batch = step(scheduler)

    assert sum(chunk.end - chunk.start for chunk in batch.chunks) == min(
        prefill_budget, sum(lengths)
    )


# Against a memory that knows which text each of its slots was written for

SMALL_PAGE = 4
TEXTS = ([1] * 120, [1] * 70 + [2] * 50, [1] * 5 + [3] * 115, [4] * 120)
"""Sequences begin with these, so that many share a prefix."""


class Memory:
    """What a KV cache holds, but for the numbers: a slot depends on all tokens up to its own."""

    def __init__(self, pages: int) -> None:
        self.slots: list[object] = [None] * (pages * SMALL_PAGE)

    def run(self, batch: Batch) -> None:
        """Do a step as the model would, and check that each sequence finds what it has computed."""
        for copy in batch.copies:
            assert not set(copy.source) & set(copy.target)
            assert len(copy.source) == len(copy.target) == -(-copy.tokens // SMALL_PAGE)
            for at in range(copy.tokens):
                self.slots[slot(copy.target, at)] = self.slots[slot(copy.source, at)]
        for chunk in batch.chunks:
            for at in range(chunk.start, chunk.end):
                self.slots[slot(chunk.sequence.pages, at)] = slot_content(chunk.sequence, at)
        for chunk in batch.chunks:  # after all have written: nobody writes where another reads
            for at in range(chunk.end):
                assert self.slots[slot(chunk.sequence.pages, at)] == slot_content(
                    chunk.sequence, at
                )


def slot(pages: list[int] | tuple[int, ...], at: int) -> int:
    return pages[at // SMALL_PAGE] * SMALL_PAGE + at % SMALL_PAGE


def slot_content(sequence: Sequence, at: int) -> int:
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
        self.pool = PagePool(pages, SMALL_PAGE)
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
        sequence = Sequence(number=self.count, tokens=tokens[: self.pool.total * SMALL_PAGE - 1])
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
                self.memory.slots[page * SMALL_PAGE : (page + 1) * SMALL_PAGE] = [None] * SMALL_PAGE

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
        room = min(self.pool.total * SMALL_PAGE, 150) - len(sequence.tokens)
        sequence.tokens.extend([7] * min(forced, room))
        if sequence.pending == 0:
            self.sequences.remove(sequence)
            self.scheduler.remove(sequence)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
