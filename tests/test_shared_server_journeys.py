"""The shared server's life among kernels: started once, found again, killed, replaced, stopped.

Kernels are processes of their own, the server is LmLite itself with a tiny model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

pytest.importorskip("torch")

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ConduitError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.processes import MARK
from conduit_nb.session import Session
from conduit_nb.testing.tiny_models import make_tiny_model
from tests.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.slow]  # torch is loaded by each server

KERNEL = """
import json, sys, time
began = time.perf_counter()
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.session import process_session
session = process_session()

async def ask(model):
    endpoint = await session.endpoint(DeploymentRequest())
    found = time.perf_counter() - began
    reply = await endpoint.chat({
        "model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]
    })
    return found, reply["usage"]["completion_tokens"]

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    found, tokens = session.submit(ask(json.loads(line))).result(120)
    (info,) = session.wait(session.deployments.ps())
    answer = {"pid": info.pid, "name": info.name, "found_s": found, "tokens": tokens}
    print(json.dumps(answer), flush=True)
"""


@dataclass
class Kernel:
    """A process that asks the shared server when it is told to."""

    process: subprocess.Popen[str] = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, "-c", KERNEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )

    def __post_init__(self) -> None:
        assert self._read() == "ready"

    def send(self, model: Path) -> None:
        assert self.process.stdin is not None
        print(json.dumps(str(model)), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        return self._read()

    def ask(self, model: Path) -> dict[str, Any]:
        self.send(model)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)

    def _read(self) -> Any:
        stream: IO[str] | None = self.process.stdout
        assert stream is not None
        return json.loads(stream.readline() or '"it ended"')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), context_tokens=20_000)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_THREADS", "1")
    return tmp_path / "state"


@pytest.fixture
def session(state_dir: Path) -> Iterator[Session]:
    session = Session()
    yield session
    session.wait(session.deployments.terminate("all"))
    session.close()


@pytest.fixture
def kernels(session: Session) -> Iterator[list[Kernel]]:
    """Put kernels here; they are killed at the end, before the server is stopped."""
    started: list[Kernel] = []
    yield started
    for kernel in started:
        kernel.kill()


def ps(session: Session) -> list[DeploymentInfo]:
    return session.wait(session.deployments.ps())


def processes_of(state_dir: Path) -> list[int]:
    """Return whatever runs that was started for this state folder."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(state_dir)):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_kernels_that_start_at_once_and_one_that_comes_when_they_were_killed_get_one_server(
    model: Path, state_dir: Path, kernels: list[Kernel]
):
    kernels += [Kernel(), Kernel()]
    for kernel in kernels:
        kernel.send(model)
    first, second = [kernel.answer() for kernel in kernels]

    assert first["pid"] == second["pid"]
    assert processes_of(state_dir) == [first["pid"]]

    for kernel in kernels:
        kernel.kill()
    began = time.perf_counter()
    kernels.append(Kernel())
    after = kernels[-1].ask(model)
    whole_s = time.perf_counter() - began

    print(f"found in {after['found_s']:.3f} s, answered {whole_s:.3f} s after the kernel's start")
    assert after["pid"] == first["pid"]
    assert processes_of(state_dir) == [first["pid"]]
    # The figure to keep is 2 s; a busy machine gets more before this counts as broken.
    assert after["found_s"] < 10


async def test_a_shared_server_that_is_killed_amid_a_call_is_replaced_and_the_call_ends(
    model: Path, state_dir: Path, session: Session
):
    block = LMLiteBlock(models=[LmLiteModelConfig(str(model))])
    messages: Any = [{"role": "user", "content": "talk"}]

    def call() -> str | ConduitError:
        with use_host(session):
            try:
                return block(model_id=str(model), messages=messages, max_tokens=2000)
            except ConduitError as error:
                return error

    def running_pid() -> int | None:
        assert not any(future.done() for future in calls), [future.result() for future in calls]
        is_at_work = any(found.running for found in session.wait(session.models()))
        return ps(session)[0].pid if is_at_work else None

    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(call) for _ in range(4)]
        killed = await until(running_pid, within_s=120)
        os.kill(killed or 0, signal.SIGKILL)
        answers = [future.result(timeout=120) for future in calls]

    print("ended with", [type(answer).__name__ for answer in answers])
    (replaced,) = ps(session)
    assert replaced.pid != killed
    assert processes_of(state_dir) == [replaced.pid]
    session.wait(session.deployments.stop())
    assert processes_of(state_dir) == []
    assert not psutil.pid_exists(killed or 0)


def test_a_shared_server_ends_by_itself_when_nobody_asks_and_the_next_call_gets_another(
    model: Path, state_dir: Path, kernels: list[Kernel], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_SIDECAR_IDLE_S", "3")
    kernels.append(Kernel())
    first = kernels[0].ask(model)
    psutil.wait_procs([psutil.Process(first["pid"])], timeout=30)
    kernels.append(Kernel())
    second = kernels[1].ask(model)

    assert first["name"] == second["name"]
    assert first["pid"] != second["pid"]
