from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.scheduler import Plan, Row, Scheduler

PAGE = 16


def make(pages: int = 100, *, max_rows: int = 4, step_tokens: int = 32) -> Scheduler:
    return Scheduler(PagePool(pages, PAGE), max_rows=max_rows, step_tokens=step_tokens)


def row(number: int, length: int) -> Row:
    return Row(number=number, tokens=[1000 * number + at for at in range(length)])


def step(scheduler: Scheduler) -> Plan:
    """Do one step, as a model would that writes a token whenever it is asked."""
    plan = scheduler.plan()
    assert plan is not None
    scheduler.commit(plan)
    for part in plan.slices:
        if part.samples:
            part.row.tokens.append(7)
    scheduler.check_integrity()
    return plan


def read(plan: Plan) -> list[tuple[int, int, int, bool]]:
    return [(part.row.number, part.start, part.end, part.samples) for part in plan.slices]


def test_a_prompt_longer_than_a_step_is_read_in_pieces_and_sampled_after_the_last():
    scheduler = make()
    scheduler.add(row(0, 70))

    assert read(step(scheduler)) == [(0, 0, 32, False)]
    assert read(step(scheduler)) == [(0, 32, 64, False)]
    assert read(step(scheduler)) == [(0, 64, 70, True)]
    assert read(step(scheduler)) == [(0, 70, 71, True)]


def test_rows_that_write_come_first_and_do_not_wait_for_rows_that_read():
    scheduler = make()
    scheduler.add(row(0, 4))
    step(scheduler)
    scheduler.add(row(1, 100))

    assert read(step(scheduler)) == [(0, 4, 5, True), (1, 0, 32, False)]
    assert read(step(scheduler)) == [(0, 5, 6, True), (1, 32, 64, False)]


def test_tokens_that_were_forced_are_read_together_with_the_one_before():
    scheduler = make()
    one = row(0, 4)
    scheduler.add(one)
    step(scheduler)
    one.tokens.extend([1, 2, 3])

    assert read(step(scheduler)) == [(0, 4, 8, True)]


def test_short_prompts_are_read_together_within_the_step():
    scheduler = make()
    for number in range(3):
        scheduler.add(row(number, 12))

    assert read(step(scheduler)) == [(0, 0, 12, True), (1, 0, 12, True), (2, 0, 8, False)]


def test_requests_beyond_the_limit_wait_in_order_and_join_when_one_leaves():
    scheduler = make(max_rows=2)
    rows = [row(number, 4) for number in range(4)]
    for one in rows:
        scheduler.add(one)
    step(scheduler)

    assert (scheduler.running, scheduler.waiting) == (2, 2)
    scheduler.remove(rows[0])
    assert [number for number, *_ in read(step(scheduler))] == [1, 2]
    assert (scheduler.running, scheduler.waiting) == (2, 1)


def test_a_row_takes_over_what_another_has_read_of_the_same_beginning():
    scheduler = make()
    first, second, third = row(0, 32), row(1, 30), row(2, 30)
    second.tokens[:20] = first.tokens[:20]
    third.tokens[:15] = first.tokens[:15]
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)
    scheduler.add(third)

    plan = step(scheduler)

    assert read(plan) == [(0, 32, 33, True), (1, 20, 30, True), (2, 0, 22, False)]
    (copy,) = plan.copies
    assert (copy.source, copy.target) == (tuple(first.pages[:2]), tuple(second.pages[:2]))
    assert copy.tokens == scheduler.reused_tokens == 20


def test_of_a_row_that_is_all_known_the_last_token_is_read_for_what_follows():
    scheduler = make()
    first, second = row(0, 32), row(1, 32)
    second.tokens = list(first.tokens)
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)

    assert read(step(scheduler)) == [(0, 32, 33, True), (1, 31, 32, True)]


def test_rows_that_begin_together_wait_for_the_first_to_read_a_long_common_beginning():
    scheduler = make(step_tokens=120)
    rows = [row(number, 70 + number) for number in range(3)]
    for one in rows:
        one.tokens[:65] = rows[0].tokens[:65]
        scheduler.add(one)
    stranger = row(3, 30)
    scheduler.add(stranger)

    assert read(step(scheduler)) == [(0, 0, 70, True), (3, 0, 30, True)]
    assert read(step(scheduler)) == [
        (0, 70, 71, True),
        (3, 30, 31, True),
        (1, 64, 71, True),
        (2, 64, 72, True),
    ]
    assert scheduler.reused_tokens == 128


def test_nobody_waits_for_a_short_common_beginning():
    scheduler = make(step_tokens=200)
    first, second = row(0, 70), row(1, 70)
    second.tokens[:63] = first.tokens[:63]
    scheduler.add(first)
    scheduler.add(second)

    assert read(step(scheduler)) == [(0, 0, 70, True), (1, 0, 70, True)]


def test_a_row_waits_no_longer_when_the_one_it_waits_for_is_gone():
    scheduler = make(step_tokens=40)
    first, second = row(0, 200), row(1, 200)
    second.tokens[:199] = first.tokens[:199]
    scheduler.add(first)
    scheduler.add(second)
    assert read(step(scheduler)) == [(0, 0, 40, False)]
    assert read(step(scheduler)) == [(0, 40, 80, False)]
    scheduler.remove(first)

    assert read(step(scheduler)) == [(1, 80, 120, False)]


def test_a_row_that_is_removed_frees_its_pages_at_once_wherever_it_is():
    pool = PagePool(8, PAGE)
    scheduler = Scheduler(pool, max_rows=1, step_tokens=8)
    running, waiting = row(0, 20), row(1, 20)
    scheduler.add(running)
    scheduler.add(waiting)
    step(scheduler)

    for one in (running, waiting, running):
        scheduler.remove(one)

    assert pool.free_count == 8
    assert scheduler.plan() is None


def test_a_row_that_outgrows_its_place_moves_with_all_it_has():
    scheduler = make(30, max_rows=2)
    first, second = row(0, 4), row(1, 4)
    scheduler.add(first)
    scheduler.add(second)
    step(scheduler)
    before = list(first.pages)
    first.tokens.extend(range(len(before) * PAGE))

    plan = step(scheduler)

    (copy,) = plan.copies
    assert (copy.source, copy.target, copy.tokens) == ((before[0],), (first.pages[0],), 4)
    assert first.pages == list(range(first.pages[0], first.pages[0] + len(first.pages)))


def test_pages_apart_do_where_there_is_no_run():
    scheduler = make(17, max_rows=3)
    rows = [row(number, 4) for number in range(3)]
    for one in rows:
        scheduler.add(one)
    step(scheduler)
    scheduler.remove(rows[1])
    rows[0].tokens.extend(range(PAGE * len(rows[0].pages)))
    rows[2].tokens.extend(range(PAGE * (len(rows[2].pages) + 2)))

    step(scheduler)

    assert scheduler.preemptions == 0
    assert rows[2].pages == [10, 11, 12, 13, 14, 6, 7, 8]


def test_the_youngest_row_gives_way_when_the_pages_run_out_and_reads_again_what_is_gone():
    scheduler = make(12, max_rows=2)
    old, young = row(0, 30), row(1, 30)
    scheduler.add(old)
    scheduler.add(young)
    while scheduler.running < 2 or young.is_reading or old.is_reading:
        step(scheduler)
    while not scheduler.preemptions:
        plan = step(scheduler)

    assert [number for number, *_ in read(plan)] == [0]
    assert (scheduler.running, scheduler.waiting, young.pages) == (1, 1, [])

    had = len(young.tokens)
    while len(old.tokens) <= 11 * PAGE:  # all but one page
        step(scheduler)
    scheduler.remove(old)
    assert read(step(scheduler))[0][:3] == (1, PAGE, PAGE + 32)
    while young.is_reading:
        step(scheduler)
    assert len(young.tokens) == had + 1


def test_a_row_is_not_let_in_where_those_who_write_would_soon_throw_it_out():
    scheduler = make(8, max_rows=4)
    scheduler.add(row(0, 90))
    scheduler.add(row(1, 15))
    for _ in range(3):
        step(scheduler)

    assert (scheduler.running, scheduler.waiting) == (1, 1)


def run(scheduler: Scheduler, one: Row) -> int:
    """Let a row read its prompt and leave; return how many tokens it read."""
    scheduler.add(one)
    read_before = one.computed
    taken = 0
    while one.computed < len(one.tokens):
        plan = scheduler.plan()
        assert plan is not None
        taken += sum(part.end - part.start for part in plan.slices if part.row is one)
        scheduler.commit(plan)
    assert read_before == 0
    scheduler.remove(one)
    scheduler.check_integrity()
    return taken


def beginning(number: int, common: int, length: int, *, with_row: int = 0) -> Row:
    """Return a row that has `common` tokens in common with another."""
    one = row(number, length)
    one.tokens[:common] = row(with_row, common).tokens
    return one


def test_a_row_takes_over_what_rows_before_it_have_read_though_they_are_gone():
    scheduler = make()

    assert run(scheduler, row(0, 100)) == 100
    assert [run(scheduler, beginning(number, 90, 100)) for number in (1, 2, 3)] == [10] * 3
    assert scheduler.reused_tokens == 3 * 90
    assert run(scheduler, row(4, 100)) == 100


def test_a_chat_goes_on_from_what_was_written_last():
    scheduler = make()
    first = row(0, 40)
    scheduler.add(first)
    for _ in range(42):
        step(scheduler)
    scheduler.remove(first)

    assert run(scheduler, Row(number=1, tokens=[*first.tokens, *range(20)])) == 101 - 80


def test_what_a_row_had_read_when_it_was_cancelled_is_taken_over():
    scheduler = make(step_tokens=32)
    first = row(0, 100)
    scheduler.add(first)
    step(scheduler)
    step(scheduler)
    scheduler.remove(first)
    scheduler.check_integrity()

    assert run(scheduler, row(0, 100)) == 36


def test_what_rows_leave_behind_lies_at_the_top_and_leaves_the_bottom_to_those_who_run():
    pool = PagePool(40, PAGE)
    scheduler = Scheduler(pool, max_rows=2, step_tokens=100)
    first, second = row(0, 50), beginning(1, 48, 100)
    for one in (first, second):
        scheduler.add(one)
        plan = scheduler.plan()
        assert plan is not None
        scheduler.commit(plan)
        pages = list(one.pages)
        scheduler.remove(one)

        assert pages == list(range(len(pages)))
    assert [(copy.source, copy.target) for copy in plan.copies] == [
        ((0, 1, 2), (37, 38, 39)),
        ((37, 38, 39), (0, 1, 2)),
    ]
    assert pool.idle_count == 6
    assert pool.run(34) == list(range(34))


def test_no_more_is_kept_than_may_be_and_what_was_used_last_stays():
    scheduler = Scheduler(PagePool(100, PAGE), max_rows=4, step_tokens=200, kept_pages=8)
    for number in (0, 1):
        run(scheduler, row(number, 64))
    assert run(scheduler, row(0, 64)) == 1
    run(scheduler, row(2, 64))

    assert run(scheduler, row(0, 64)) == 1
    assert run(scheduler, row(1, 64)) == 64


def test_of_a_text_that_is_let_go_the_end_goes_first():
    scheduler = Scheduler(PagePool(100, PAGE), max_rows=4, step_tokens=200, kept_pages=6)
    run(scheduler, row(0, 64))
    run(scheduler, row(1, 64))

    assert run(scheduler, row(0, 64)) == 32


def test_nothing_is_kept_where_nothing_may_be():
    pool = PagePool(100, PAGE)
    scheduler = Scheduler(pool, max_rows=4, step_tokens=200, kept_pages=0)

    assert [run(scheduler, row(0, 64)) for _ in range(2)] == [64, 64]
    assert pool.free_count == 100


def test_kept_pages_go_before_any_row_does_the_least_recently_used_first():
    scheduler = make(14, step_tokens=100)
    for number in (0, 1, 2):
        run(scheduler, row(number, 64))
    assert run(scheduler, row(0, 64)) == 1

    long = row(3, 100)
    scheduler.add(long)
    step(scheduler)
    scheduler.remove(long)

    assert scheduler.preemptions == 0
    assert run(scheduler, row(0, 64)) == 1
    assert run(scheduler, row(1, 64)) == 64


def test_where_a_copy_has_no_room_rows_share_the_pages_of_their_common_beginning():
    scheduler = make(15, step_tokens=200)
    first, second = row(0, 130), beginning(1, 130, 140)
    scheduler.add(first)
    step(scheduler)
    scheduler.add(second)

    plan = step(scheduler)

    assert read(plan) == [(0, 130, 131, True), (1, 128, 140, True)]
    assert plan.copies == []
    assert second.pages[:8] == first.pages[:8]
    assert not set(second.pages[8:]) & set(first.pages)
    scheduler.remove(first)
    scheduler.check_integrity()
    assert read(step(scheduler)) == [(1, 140, 141, True)]


def test_a_row_that_fills_all_pages_takes_over_what_lies_in_them():
    scheduler = make(8, step_tokens=200)
    run(scheduler, row(0, 100))

    assert run(scheduler, beginning(1, 96, 8 * PAGE - 1)) == 8 * PAGE - 1 - 96


def test_a_step_that_failed_takes_its_rows_and_all_that_was_kept():
    pool = PagePool(100, PAGE)
    scheduler = Scheduler(pool, max_rows=4, step_tokens=32)
    run(scheduler, row(0, 60))
    failing, reading = row(0, 64), row(1, 60)
    scheduler.add(failing)
    scheduler.add(reading)
    plan = scheduler.plan()
    assert plan is not None
    scheduler.fail(plan)
    scheduler.check_integrity()
    for part in plan.slices:
        scheduler.remove(part.row)

    assert [part.row.number for part in plan.slices] == [0, 1]
    assert pool.free_count == 100
    assert run(scheduler, row(0, 60)) == 60


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_finished_however_few_the_pages(seed: int):
    chance = random.Random(seed)
    pages = chance.randint(6, 20)
    scheduler = make(pages, max_rows=chance.randint(1, 6), step_tokens=chance.choice([5, 16, 40]))
    goals: dict[Row, int] = {}
    for number in range(12):
        length = chance.randint(1, pages * PAGE - 1)
        one = row(number, length)
        goals[one] = chance.randint(length + 1, pages * PAGE)
        scheduler.add(one)

    for _ in range(20_000):
        if not goals:
            break
        plan = scheduler.plan()
        assert plan is not None
        scheduler.check_integrity()
        scheduler.commit(plan)
        for part in plan.slices:
            assert part.start == 0 or part.start <= part.end <= len(part.row.pages) * PAGE
            if part.samples:
                extra = chance.choice([1, 1, 6])
                part.row.tokens.extend([0] * min(extra, goals[part.row] - len(part.row.tokens)))
                if len(part.row.tokens) == goals[part.row]:
                    scheduler.remove(part.row)
                    del goals[part.row]

    assert not goals


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 64))
def test_a_step_never_reads_more_of_prompts_than_it_may(lengths: list[int], step_tokens: int):
    scheduler = make(400, max_rows=8, step_tokens=step_tokens)
    for number, length in enumerate(lengths):
        scheduler.add(row(number, length))

    plan = step(scheduler)

    assert sum(part.end - part.start for part in plan.slices) == min(step_tokens, sum(lengths))
