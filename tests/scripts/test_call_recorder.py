"""scripts/call_recorder.py: what a message causes is counted, in every thread, and nothing else."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PACKAGE = """
import asyncio, threading
from concurrent.futures import wait

def plain():
    return [one for one in range(3)] + list(one for one in range(3))

def make_class():
    class Made:
        value = plain()
    return Made

async def resumed():
    plain()
    await asyncio.sleep(0)
    return await asyncio.to_thread(plain)

def hand_over(loop):
    return asyncio.run_coroutine_threadsafe(resumed(), loop).result()

def wait_for(loop):
    return wait([asyncio.run_coroutine_threadsafe(resumed(), loop)])

def in_a_thread():
    thread = threading.Thread(target=plain)
    thread.start()
    thread.join()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("work.py", "left/out.py"):
        path = tmp_path / "ours" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PACKAGE)
    return tmp_path / "ours"


@pytest.fixture
def recorder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(SCRIPTS)
    import call_recorder

    monkeypatch.setattr(call_recorder, "QUIET_S", 0.05)
    before = sys.getprofile(), threading.getprofile()
    recorder = call_recorder.Recorder(root, leave_out=["left"])
    recorder.install()
    yield recorder
    sys.setprofile(before[0])
    threading.setprofile(before[1])
    call_recorder._cause.set(None)


@pytest.fixture
def work(root: Path, recorder: Any) -> ModuleType:
    return loaded(root / "work.py")


@pytest.fixture
def loop(recorder: Any) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as the session has one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_functions_are_counted_once_and_calls_each_time(recorder, work):
    recorder.begin()
    work.plain()
    work.plain()
    work.make_class()

    recorded = recorder.finish()

    assert recorded["files"] == {"work.py": 2}  # no comprehension, no body of a class
    assert (recorded["functions"], recorded["calls"]) == (2, 4)
    assert (recorded["hops"], recorded["thread_changes"]) == (0, 0)
    assert recorded["path"] == [[threading.current_thread().name, "work.py:plain"]]


def test_work_is_followed_to_other_threads_and_back(recorder, work, loop):
    recorder.begin()
    work.hand_over(loop)

    recorded = recorder.finish()

    assert recorded["functions"] == 3
    assert recorded["calls"] == 6  # the coroutine began, and was resumed twice
    assert recorded["hops"] == 4
    assert recorded["handed_over"] == {
        "back to who waits": 1,
        "call_soon_threadsafe": 1,
        "executor, there and back": 2,
    }
    here, worker = threading.current_thread().name, recorded["path"][2][0]
    assert worker not in (here, "loop")
    assert recorded["path"] == [
        [here, "work.py:hand_over"],
        ["loop", "work.py:resumed"],
        [worker, "work.py:plain"],
        ["loop", "work.py:resumed"],
        [here, "work.py:hand_over"],
    ]


def test_a_wait_for_several_results_is_a_way_back_as_well(recorder, work, loop):
    recorder.begin()
    work.wait_for(loop)

    recorded = recorder.finish()

    assert recorded["hops"] == 4
    assert recorded["path"][-1] == [threading.current_thread().name, "work.py:wait_for"]


def test_a_thread_that_is_started_is_a_hop(recorder, work):
    recorder.begin()
    work.in_a_thread()

    assert recorder.finish()["handed_over"] == {"thread started": 1}


def test_what_others_do_meanwhile_is_told_apart(recorder, work, loop):
    async def of_another() -> None:
        work.plain()

    beat = of_another()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
    recorder.begin()
    work.make_class()
    other = threading.Thread(target=lambda: asyncio.run(beat))
    other.start()
    other.join()

    recorded = recorder.finish()

    assert recorded["calls"] == 2
    assert recorded["other_calls"] == 1


def test_what_is_left_out_is_not_counted_and_an_import_is_named(recorder, root, work):
    recorder.begin()
    loaded(root / "left" / "out.py").plain()
    loaded(root / "work.py")

    recorded = recorder.finish()

    assert (recorded["files"], recorded["other_calls"]) == ({}, 0)
    assert recorded["imported"] == ["work.py:<module>"]


def test_only_the_message_after_follow_is_recorded(recorder, work):
    async def cell(_: object) -> None:
        await work.resumed()

    handlers = {"execute_request": cell, "comm_msg": lambda _: work.plain(), "other": cell}
    recorder.listen(handlers)

    async def messages() -> None:
        await handlers["comm_msg"]("before")
        recorder.follow()
        await handlers["execute_request"]("it")
        await handlers["comm_msg"]("after")

    asyncio.run(messages())

    recorded = recorder.finish()
    assert recorded["calls"] == 5
    assert recorded["other_calls"] == 1
