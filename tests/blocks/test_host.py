from __future__ import annotations

import asyncio
import threading

from conduit_nb.blocks.host import current_host, use_host
from conduit_nb.session import process_session
from tests.loop_host import LoopHost, loop_host


def test_without_another_the_host_is_the_session_of_the_process():
    assert current_host() is process_session()
    assert current_host() is current_host()


def test_a_host_is_used_inside_its_with_and_no_longer(host: LoopHost):
    with loop_host() as inner:
        assert current_host() is inner
    assert current_host() is host


def test_another_thread_has_its_own_host(host: LoopHost):
    seen: list[object] = []

    thread = threading.Thread(target=lambda: seen.append(current_host()))
    thread.start()
    thread.join()

    assert seen == [process_session()]


def test_work_on_the_hosts_loop_finds_the_host_that_it_was_given_to(host: LoopHost):
    async def look() -> object:
        return current_host()

    with use_host(host):
        assert host.submit(look()).result(timeout=10) is host


async def test_tasks_find_the_host_of_whoever_made_them(host: LoopHost):
    async def look() -> object:
        return current_host()

    with use_host(host):
        task = asyncio.create_task(look())
    assert await task is host
