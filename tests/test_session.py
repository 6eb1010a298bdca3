"""The session: one loop in a thread, one server for everybody, and words for people."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.blocks.host import current_host
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ArgumentError, BootError, ConduitError, Interrupted
from conduit_nb.events import Event, Notice
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import ChatRequest
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session, process_session
from tests.fake_lmlite import FakeRuntime


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "20")
    return tmp_path


def make_session(*flags: str) -> Session:
    return Session(
        make_runtime=lambda _: FakeRuntime(flags, name="lmlite"),
        make_provider=lambda _: LocalProvider(grace_s=1),
        provider_names=lambda: ["local"],
        hung_after_s=1.0,
    )


@pytest.fixture
def session(state_dir: Path) -> Iterator[Session]:
    session = make_session()
    yield session
    session.wait(session.deployments.terminate("all"))
    session.close()


def ps(session: Session) -> list[DeploymentInfo]:
    return session.wait(session.deployments.ps())


def stop(session: Session, name: str | None = None) -> list[DeploymentInfo]:
    return session.wait(session.deployments.stop(name))


def logs(session: Session, name: str | None = None, *, tail: int = 100) -> list[str]:
    return session.wait(session.deployments.logs(name, tail=tail))


def told(session: Session) -> list[str]:
    texts: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            texts.append(event.text)

    session.events.subscribe(listen)
    return texts


async def ask(session: Session, text: str = "hi", *, model: str = "m", fresh: bool = False) -> str:
    endpoint = await session.endpoint(DeploymentRequest(), fresh=fresh)
    request = ChatRequest(model=model, messages=[{"role": "user", "content": text}])
    return (await endpoint.chat(request))["choices"][0]["message"]["content"]


async def where() -> str:
    return threading.current_thread().name


def test_work_runs_on_one_thread_of_the_sessions_own(session: Session):
    assert {session.submit(where()).result(10) for _ in range(3)} == {"conduit"}
    assert not session.is_loop_thread()


def test_the_loop_thread_knows_itself_and_refuses_to_wait_for_itself(session: Session):
    async def inside() -> tuple[bool, str]:
        with pytest.raises(ArgumentError) as caught:
            ps(session)
        return session.is_loop_thread(), caught.value.hint

    is_inside, hint = session.submit(inside()).result(10)

    assert is_inside
    assert "block.run(" in hint
    assert "session.deployments" in hint


def test_to_cancel_the_future_is_to_cancel_the_work(session: Session):
    started, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    future = session.submit(work())
    assert started.wait(10)
    future.cancel()

    assert cancelled.wait(10)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_the_moment_after_the_work_began_cancels_it_where_it_runs(session: Session):
    began, ended = threading.Event(), threading.Event()
    cleaned_up_in: list[str] = []

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up_in.append(threading.current_thread().name)
            ended.set()

    def press(frame: Any, event: str, argument: Any) -> None:  # a profiler's
        if event == "return" and frame.f_code.co_name == "submit":
            sys.setprofile(None)
            began.wait(10)
            os.kill(os.getpid(), signal.SIGINT)

    sys.setprofile(press)
    with pytest.raises(KeyboardInterrupt):
        session.wait(work())

    assert ended.wait(10)
    assert cleaned_up_in == ["conduit"]


def test_work_runs_in_the_context_of_who_submits_it(session: Session):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("v")

    async def read() -> str:
        return variable.get()

    variable.set("mine")
    assert session.submit(read()).result(10) == "mine"


def test_close_cancels_what_is_under_way_and_a_later_call_begins_anew(session: Session):
    future = session.submit(asyncio.sleep(1000))
    session.close()

    with pytest.raises(CancelledError):
        future.result(10)
    assert session.submit(where()).result(10) == "conduit"
    session.close()
    session.close()


def test_close_does_not_wait_for_work_that_does_not_end(session: Session):
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    session.submit(stubborn())
    session.submit(where()).result(10)
    began = time.monotonic()
    thread = session._loop_thread
    session.close()

    assert time.monotonic() - began < 10
    assert thread is not None
    assert not thread._thread.is_alive()


def test_the_first_request_starts_a_server_and_the_next_uses_it(session: Session):
    first = session.submit(ask(session)).result(60)
    second = session.submit(ask(session)).result(60)

    assert first == second
    assert first.endswith(": hi")
    assert len(ps(session)) == 1


def test_requests_at_once_start_one_server(session: Session):
    async def many() -> list[str]:
        return await asyncio.gather(*[ask(session) for _ in range(64)])

    assert len(set(session.submit(many()).result(60))) == 1
    assert len(ps(session)) == 1


def test_a_fresh_endpoint_is_the_same_while_the_server_answers(session: Session):
    async def twice() -> tuple[Any, Any]:
        return await session.endpoint(DeploymentRequest()), await session.endpoint(
            DeploymentRequest(), fresh=True
        )

    first, second = session.submit(twice()).result(60)

    assert first is second


def test_a_killed_server_is_replaced_once_for_all_who_ask(session: Session):
    session.submit(ask(session)).result(60)
    (before,) = ps(session)
    os.kill(before.pid or 0, signal.SIGKILL)

    async def many() -> list[str]:
        return await asyncio.gather(*[ask(session, fresh=True) for _ in range(20)])

    assert len(set(session.submit(many()).result(60))) == 1
    (after,) = ps(session)
    assert after.pid != before.pid


def test_a_failure_is_the_same_for_all_who_ask_and_does_not_start_a_server_each(state_dir: Path):
    session = make_session("--dies", "3")
    texts = told(session)

    async def many() -> list[str | BaseException]:
        return await asyncio.gather(*[ask(session) for _ in range(20)], return_exceptions=True)

    try:
        answers = session.submit(many()).result(60)
        starts = len([text for text in texts if "Starting" in text])
        with pytest.raises(BootError):
            session.submit(ask(session)).result(60)
    finally:
        session.close()

    assert {type(answer) for answer in answers} == {BootError}
    assert starts == 1
    assert len([text for text in texts if "Starting" in text]) == 2, "who asks later tries again"


def test_an_interrupted_wait_does_not_disturb_others_who_wait_for_the_same(session: Session):
    first = session.submit(ask(session))
    second = session.submit(ask(session))
    first.cancel()

    assert second.result(60).endswith(": hi")


def test_an_unknown_provider_is_an_error_that_lists_the_registered_ones():
    session = Session()
    try:
        with pytest.raises(ArgumentError, match="'moon'") as caught:
            session.submit(session.endpoint(DeploymentRequest(provider="moon"))).result(10)
    finally:
        session.close()

    assert "local" in caught.value.hint


def test_loading_a_model_is_told_while_requests_wait_for_it(session: Session):
    texts = told(session)
    future = session.submit(ask(session, model="loading"))
    heard = threading.Event()
    session.events.subscribe(lambda event: "Loading" in getattr(event, "text", "") and heard.set())

    assert heard.wait(20)
    future.cancel()
    assert [text for text in texts if "Loading loading" in text]


def test_ps_shows_what_runs_and_stop_ends_it(session: Session):
    assert ps(session) == []
    session.submit(ask(session)).result(60)
    (info,) = ps(session)
    stopped = stop(session)

    assert (info.runtime, info.provider, info.status, info.device) == (
        "lmlite",
        "local",
        "running",
        "cpu",
    )
    assert [gone.name for gone in stopped] == [info.name]
    assert stopped[0].status == "stopped"
    assert ps(session) == []
    assert session.submit(ask(session)).result(60).endswith(": hi")


def test_to_stop_when_nothing_runs_is_no_error(session: Session):
    assert stop(session) == []
    assert stop(session, "all") == []


@pytest.mark.parametrize("word", ["all", "name"])
def test_a_server_is_stopped_by_name_or_with_all_others(session: Session, word: str):
    session.submit(ask(session)).result(60)
    (info,) = ps(session)

    assert len(stop(session, "all" if word == "all" else info.name)) == 1
    assert ps(session) == []


def test_an_unknown_name_is_an_error_that_lists_what_runs(session: Session):
    session.submit(ask(session)).result(60)
    (info,) = ps(session)

    for call in (stop, logs):
        with pytest.raises(ArgumentError, match="'nope'") as caught:
            call(session, "nope")
        assert info.name in caught.value.hint


def test_logs_are_those_of_the_shared_server_and_stay_when_it_is_gone(session: Session):
    assert logs(session) == []
    session.submit(ask(session)).result(60)
    (info,) = ps(session)
    stop(session)

    assert "fake LmLite begins" in logs(session)
    assert logs(session, info.name, tail=1) == logs(session, tail=1) == logs(session)[-1:]


def test_models_are_the_loaded_ones_then_those_that_can_be_had_here(session: Session):
    session.submit(ask(session)).result(60)
    models = session.wait(session.models())

    assert (models[0].id, models[0].state) == ("loading", "ready")
    assert {model.state for model in models[1:]} <= {"available"}


def test_a_model_is_loaded_into_the_shared_server_and_unloaded_again(session: Session):
    session.wait(session.deployments.load(LmLiteModelConfig("owner/name"), replicas=2))
    loaded = [model.id for model in session.wait(session.models())]

    (unloaded,) = session.wait(session.deployments.unload("owner/name"))

    assert "owner/name" in loaded
    assert unloaded.id == "owner/name"
    assert "owner/name" not in [model.id for model in session.wait(session.models())]
    assert session.wait(session.deployments.unload("owner/name")) == []


def test_a_call_that_is_waiting_when_the_session_is_closed_is_interrupted(session: Session):
    session.submit(where()).result(10)
    caught: list[ConduitError] = []
    entered = threading.Event()

    async def never() -> None:
        entered.set()
        await asyncio.Event().wait()

    def wait() -> None:
        try:
            session.wait(never())
        except Interrupted as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert entered.wait(10)
    session.close()
    thread.join(10)

    assert len(caught) == 1


def test_a_process_has_one_session_however_many_threads_ask_first():
    code = (
        "import threading\n"
        "from conduit_nb.session import process_session\n"
        "made = []\n"
        "gate = threading.Barrier(16)\n"
        "def ask():\n    gate.wait()\n    made.append(process_session())\n"
        "threads = [threading.Thread(target=ask) for _ in range(16)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "print(len({id(session) for session in made}))\n"
    )

    assert run_python(code) == "1\n"


def test_a_forked_child_has_a_loop_and_listeners_of_its_own():
    code = (
        "import os, sys, threading\n"
        "from conduit_nb.events import Notice\n"
        "from conduit_nb.session import process_session\n"
        "session = process_session()\n"
        "async def where():\n    return os.getpid()\n"
        "session.submit(where()).result(10)\n"
        "session.events.subscribe(lambda event: print('parent heard', flush=True))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    session = process_session()\n"
        "    session.events.emit(Notice(text='x'))\n"
        "    print(session.submit(where()).result(10) == os.getpid(), flush=True)\n"
        "    sys.exit(0)\n"
        "print(os.waitpid(pid, 0)[1], session.submit(where()).result(10) == os.getpid())\n"
    )

    assert run_python(code, "-W", "ignore::DeprecationWarning") == "True\n0 True\n"


def test_a_process_ends_at_once_with_work_under_way(state_dir: Path):
    code = (
        "import asyncio\n"
        "from conduit_nb.session import process_session\n"
        "session = process_session()\n"
        "session.submit(asyncio.sleep(1000))\n"
        "session.submit(asyncio.to_thread(print, 'begin')).result()\n"
        "print('end')\n"
    )
    began = time.monotonic()

    assert run_python(code) == "begin\nend\n"
    assert time.monotonic() - began < 15


def test_the_process_session_is_what_a_block_finds_by_itself():
    assert current_host() is process_session()


def run_python(code: str, *flags: str) -> str:
    """Run `code` in a fresh interpreter; whatever it writes on stderr is a failure."""
    command = [sys.executable, *flags, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
