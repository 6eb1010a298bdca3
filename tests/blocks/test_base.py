from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from conduit_nb.blocks.base import BATCH_WINDOW, Block, Call, iterate
from conduit_nb.blocks.host import use_host
from conduit_nb.errors import (
    ArgumentError,
    BlockError,
    ConduitError,
    Interrupted,
    ReplyError,
    ValidationError,
)
from conduit_nb.events import BlockFailed, BlockFinished, BlockStarted, TokensUsed
from tests.blocks.conftest import Presser
from tests.loop_host import LoopHost, loop_host

InterruptWhen = Callable[[Callable[[], object]], None]


@dataclass
class Number:
    value: int


@dataclass
class Root:
    value: float


class SquareRoot(Block[Number, Root]):
    """Takes 7 for a number that cannot be answered, and answers -1 with nonsense."""

    def __init__(self) -> None:
        super().__init__(Number, Root, name="root")
        self.running = 0
        self.most = 0

    async def _run(self, record: Number, call: Call) -> Root:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if record.value == 7:
            raise ReplyError("seven", text="7")
        if record.value < 0:
            return Root(value="imaginary")  # type: ignore[arg-type]  # the mistake under test
        call.tokens_used(model="m", prompt_tokens=2, completion_tokens=1)
        return Root(value=record.value**0.5)


class Waiting(Block[Number, Root]):
    """Waits until it is cancelled."""

    def __init__(self) -> None:
        super().__init__(Number, Root)
        self.started = threading.Event()
        self.cleaned_up = threading.Event()

    async def _run(self, record: Number, call: Call) -> Root:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up takes a turn of the loop
            self.cleaned_up.set()
        raise AssertionError


def test_a_call_waits_for_the_answer(host: LoopHost):
    assert SquareRoot()(Number(value=9)) == Root(value=3.0)


async def test_a_call_works_where_a_loop_runs_already_as_in_a_notebook():
    with loop_host():
        assert SquareRoot()(Number(value=9)) == Root(value=3.0)


def test_what_goes_in_is_checked_before_the_block_runs(host: LoopHost):
    block = SquareRoot()
    changed = Number(value=9)
    changed.value = "9"  # type: ignore[assignment]  # the mistake under test

    with pytest.raises(ValidationError) as caught:
        block(changed)

    assert [problem.path for problem in caught.value.problems] == ["$.value"]
    assert block.most == 0


def test_what_comes_out_is_checked_too(host: LoopHost):
    with pytest.raises(ValidationError, match=r"output.*Root") as caught:
        SquareRoot()(Number(value=-1))

    assert [problem.path for problem in caught.value.problems] == ["$.value"]


def test_an_answer_is_told_from_start_to_end_with_one_number(host: LoopHost):
    SquareRoot()(Number(value=9))

    started, tokens, finished = host.seen
    assert isinstance(started, BlockStarted)
    assert isinstance(tokens, TokensUsed)
    assert isinstance(finished, BlockFinished)
    assert started.call == tokens.call == finished.call
    assert (started.block, tokens.prompt_tokens) == ("root", 2)


def test_a_failure_is_told_with_its_error(host: LoopHost):
    with pytest.raises(ReplyError):
        SquareRoot()(Number(value=7))

    failed = host.seen[-1]
    assert isinstance(failed, BlockFailed)
    assert isinstance(failed.error, ReplyError)


def test_two_calls_have_two_numbers(host: LoopHost):
    block = SquareRoot()
    block.batch([Number(value=1), Number(value=4)])

    assert len({event.call for event in host.seen if isinstance(event, BlockStarted)}) == 2


def test_a_batch_keeps_the_order_and_puts_each_error_in_its_place(host: LoopHost):
    rows = [Number(value=4), Number(value=7), Number(value=-1), Number(value=9)]

    answers = SquareRoot().batch(rows)

    assert answers[0] == Root(value=2.0)
    assert isinstance(answers[1], ReplyError)
    assert isinstance(answers[2], ValidationError)
    assert answers[3] == Root(value=3.0)


class Meddling(Block[Number, Root]):
    """Changes the caller's list and its records as soon as it has the first."""

    def __init__(self, rows: list[Number]) -> None:
        super().__init__(Number, Root)
        self.rows = rows

    async def _run(self, record: Number, call: Call) -> Root:
        for row in self.rows:
            row.value = -99
        self.rows.reverse()
        await asyncio.sleep(0)
        return Root(value=float(record.value))


class Half(Block[Root, Root]):
    """Divides by two."""

    async def _run(self, record: Root, call: Call) -> Root:
        return Root(value=record.value / 2)


@pytest.mark.usefixtures("host")
def test_records_that_change_while_they_are_answered_are_answered_as_they_were():
    def numbers() -> list[Number]:
        return [Number(value=value) for value in range(100)]

    rows = numbers()
    assert Meddling(rows).batch(rows) == [Root(value=float(value)) for value in range(100)]
    rows = numbers()
    pipeline = Meddling(rows) >> Half(Root, Root)
    assert pipeline.batch(rows) == [Root(value=value / 2) for value in range(100)]
    [row, *_] = rows = numbers()
    assert Meddling(rows)(row) == Root(value=0.0)


@pytest.mark.usefixtures("host")
def test_one_record_that_is_given_again_and_again_is_taken_as_it_was_each_time():
    record = Number(value=0)

    def growing() -> Iterator[Number]:
        for value in (1, 4, 9):
            record.value = value
            yield record

    assert SquareRoot().batch(growing()) == [Root(value=value) for value in (1.0, 2.0, 3.0)]  # pyright: ignore[reportArgumentType]  # any iterable is taken


def test_a_batch_runs_many_records_at_once_and_not_too_many(host: LoopHost):
    block = SquareRoot()

    answers = block.batch([Number(value=1)] * (3 * BATCH_WINDOW))

    assert not [answer for answer in answers if isinstance(answer, ConduitError)]
    assert block.most == BATCH_WINDOW


def test_an_empty_batch_has_no_answers(host: LoopHost):
    assert SquareRoot().batch([]) == []


def test_an_interrupt_cancels_the_work_and_lets_it_clean_up(
    host: LoopHost, interrupt_when: InterruptWhen
):
    block = Waiting()

    interrupt_when(lambda: block.started.wait(10))
    with pytest.raises(KeyboardInterrupt):
        block(Number(value=1))

    assert block.cleaned_up.is_set()
    failed = host.seen[-1]
    assert isinstance(failed, BlockFailed)
    assert isinstance(failed.error, Interrupted)


def test_an_interrupt_that_does_not_break_off_the_wait_cancels_the_work_soon(
    host: LoopHost, interrupt_elsewhere: Presser
):
    block = Waiting()

    is_seen_soon = interrupt_elsewhere(block.started, block.cleaned_up)
    with pytest.raises(KeyboardInterrupt):
        block(Number(value=1))

    assert is_seen_soon()


def test_an_interrupt_before_the_work_begins_keeps_it_from_beginning(host: LoopHost):
    block = SquareRoot()
    submit = host.submit

    def interrupted_submit(work: Coroutine[Any, Any, Any]) -> Any:
        submit(work)
        raise KeyboardInterrupt

    host.submit = interrupted_submit  # type: ignore[method-assign]  # the worst of moments
    held = threading.Event()
    host.loop.call_soon_threadsafe(held.wait, 10)
    with pytest.raises(KeyboardInterrupt):
        block(Number(value=4))
    held.set()
    host.submit = submit  # type: ignore[method-assign]  # and a good one again
    submit(asyncio.sleep(0)).result(timeout=10)

    assert not host.seen
    assert block.most == 0


def test_a_session_that_ends_meanwhile_is_an_interruption():
    block = Waiting()
    ended: list[Exception] = []

    def call(host: LoopHost) -> None:
        with use_host(host):
            try:
                block(Number(value=1))
            except Interrupted as error:
                ended.append(error)

    host = LoopHost()
    caller = threading.Thread(target=call, args=(host,))
    caller.start()
    block.started.wait(timeout=10)
    host.close()
    caller.join(timeout=10)

    assert len(ended) == 1


def test_waiting_on_the_sessions_own_loop_is_an_error_and_no_deadlock(host: LoopHost):
    async def careless() -> Root:
        return SquareRoot()(Number(value=9))

    with pytest.raises(ArgumentError) as caught:
        host.submit(careless()).result(timeout=10)

    assert "`await block.run(record)`" in caught.value.hint


async def test_run_can_be_awaited_without_the_sessions_loop():
    with loop_host():
        assert await SquareRoot().run(Number(value=16)) == Root(value=4.0)


def test_a_block_shows_what_it_takes_and_gives():
    assert repr(SquareRoot()) == "root: Number -> Root"
    assert Waiting().name == "Waiting"


def test_a_block_that_does_nothing_says_so(host: LoopHost):
    with pytest.raises(BlockError, match="NotImplementedError"):
        Block(Number, Root)(Number(value=1))


def test_a_bug_in_a_block_is_told_and_not_hidden(host: LoopHost):
    class Broken(Block[Number, Root]):
        async def _run(self, record: Number, call: Call) -> Root:
            raise ZeroDivisionError("1/0")

    with pytest.raises(BlockError, match=r"ZeroDivisionError.*1/0") as caught:
        Broken(Number, Root)(Number(value=1))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    failed = host.seen[-1]
    assert isinstance(failed, BlockFailed)
    assert failed.error is caught.value


def test_a_record_that_a_block_of_the_users_own_cannot_take_is_its_own_error(host: LoopHost):
    class Inverse(Block[Number, Root]):
        async def _run(self, record: Number, call: Call) -> Root:
            return Root(value=1 / record.value)

    answers = Inverse(Number, Root).batch([Number(value=2), Number(value=0), Number(value=4)])

    assert [type(answer) for answer in answers] == [Root, BlockError, Root]


def test_fields_in_the_place_of_a_record_are_told_how_one_is_made(host: LoopHost):
    with use_host(host), pytest.raises(ArgumentError, match="value=") as err:
        SquareRoot()(value=4)  # pyright: ignore[reportCallIssue]  # what a newcomer writes
    assert err.value.param == "record"
    assert "Number(value=...)" in err.value.hint


def test_one_record_in_the_place_of_many_is_refused(host: LoopHost):
    with use_host(host), pytest.raises(ArgumentError, match="Number") as err:
        SquareRoot().batch(Number(4))  # pyright: ignore[reportArgumentType]  # as above
    assert err.value.param == "records"


class Plain(Block[Number, Root]):
    """Forgets `async`."""

    def _run(self, record: Number, call: Call) -> Root:  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
        return Root(1)


def test_a_block_that_forgot_async_is_told_so(host: LoopHost):
    with use_host(host), pytest.raises(BlockError, match=r"Plain\._run") as err:
        Plain(Number, Root)(Number(4))
    assert "async def _run(self, record, call)" in err.value.hint


async def counting(ended: threading.Event, *, fails: bool = False) -> AsyncGenerator[str]:
    try:
        for number in range(3):
            yield str(number)
            await asyncio.sleep(0)
        if fails:
            raise ReplyError("E17")
        yield "last"
    finally:
        ended.set()


async def endless(ended: threading.Event) -> AsyncGenerator[str]:
    try:
        while True:
            yield "again"
            await asyncio.sleep(0.001)
    finally:
        ended.set()


def test_what_the_source_yields_comes_in_order(host: LoopHost):
    assert list(iterate(host, counting(threading.Event()))) == ["0", "1", "2", "last"]


def test_an_error_comes_after_what_was_yielded_before_it(host: LoopHost):
    seen: list[str] = []

    with pytest.raises(ReplyError, match="E17"):
        seen.extend(iterate(host, counting(threading.Event(), fails=True)))

    assert seen == ["0", "1", "2"]


def test_leaving_the_loop_ends_the_source(host: LoopHost):
    ended = threading.Event()

    for text in iterate(host, endless(ended)):
        assert text == "again"
        break

    assert ended.wait(10)


def test_nothing_begins_before_the_first_item_is_asked_for(host: LoopHost):
    ended = threading.Event()

    iterate(host, counting(ended))

    assert not ended.is_set()


def test_a_session_that_ends_meanwhile_ends_an_iteration_too():
    ended = threading.Event()
    host = LoopHost()
    texts = iterate(host, endless(ended))
    assert next(texts) == "again"

    host.close()

    with pytest.raises(Interrupted):
        list(texts)
    assert ended.is_set()


def test_reading_on_the_sessions_own_loop_is_an_error_and_no_deadlock(host: LoopHost):
    async def careless() -> list[str]:
        return list(iterate(host, counting(threading.Event())))

    with pytest.raises(ArgumentError) as caught:
        host.submit(careless()).result(timeout=10)

    assert "`await block.run(record)`" in caught.value.hint


def test_an_interrupt_that_does_not_break_off_the_wait_ends_the_source_soon(
    host: LoopHost, interrupt_elsewhere: Presser
):
    began, ended = threading.Event(), threading.Event()

    async def silent() -> AsyncGenerator[str]:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        yield "never"

    is_seen_soon = interrupt_elsewhere(began, ended)
    with pytest.raises(KeyboardInterrupt):
        next(iterate(host, silent()))

    assert is_seen_soon()
