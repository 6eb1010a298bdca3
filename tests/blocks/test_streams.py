from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from conduit_nb.blocks.streams import iterate
from conduit_nb.errors import ArgumentError, Interrupted, ReplyError
from tests.blocks.conftest import Presser
from tests.loop_host import LoopHost


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


def test_a_session_that_ends_meanwhile_is_an_interruption():
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
