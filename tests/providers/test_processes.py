"""Processes that outlive the one that started them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conduit_nb.providers.processes import (
    MARK,
    Child,
    end_process,
    is_listening,
    is_same_process,
    kill_all,
    marked_processes,
)
from tests.waiting import until

SLEEPS = "import time; time.sleep(1000)"
LISTENS = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(1000)"
LISTENS_IN_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    mark = f"{tmp_path}#1"
    yield mark
    kill_all(marked_processes(mark))


def start(mark: str, folder: Path, code: str) -> Child:
    with (folder / "log").open("ab") as log:
        return Child(
            [sys.executable, "-c", code],
            environment={**os.environ, MARK: mark},
            folder=folder,
            log=log,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_child_tells_how_it_ended(mark: str, tmp_path: Path):
    child = start(mark, tmp_path, "print('hello'); raise SystemExit(7)")
    await until(lambda: child.exit_code() is not None)

    assert child.exit_code() == 7
    assert (tmp_path / "log").read_text() == "hello\n"


async def test_a_child_has_no_exit_code_while_it_runs(mark: str, tmp_path: Path):
    child = start(mark, tmp_path, SLEEPS)

    assert child.exit_code() is None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(child.pid))
    assert child.exit_code() == -signal.SIGKILL


async def test_a_process_is_known_by_pid_and_creation_time(mark: str, tmp_path: Path):
    child = start(mark, tmp_path, SLEEPS)

    assert is_same_process(child.pid, child.created)
    assert not is_same_process(child.pid, child.created - 60)
    assert not is_same_process(2**30, child.created)


@pytest.mark.parametrize("code", [LISTENS, LISTENS_IN_A_CHILD])
async def test_a_port_belongs_to_the_process_or_to_its_child(mark: str, tmp_path: Path, code: str):
    port = free_port()
    inner = LISTENS.format(port=port)
    child = start(mark, tmp_path, inner if code == LISTENS else code.format(code=inner))

    await until(lambda: is_listening(child.pid, port))
    assert not is_listening(start(mark, tmp_path, SLEEPS).pid, port)
    assert not is_listening(2**30, port)


async def test_marked_processes_are_found_and_no_others(mark: str, tmp_path: Path):
    child = start(mark, tmp_path, SLEEPS)
    await until(lambda: marked_processes(mark))

    assert [process.pid for process in marked_processes(mark)] == [child.pid]
    assert marked_processes(f"{mark}0") == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_process_is_ended_with_what_it_started(mark: str, tmp_path: Path, stubborn: bool):
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    spawn = f"subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], start_new_session=True)\n"
    child = start(mark, tmp_path, f"{ignore}import subprocess, sys\n{spawn}{SLEEPS}")
    await until(lambda: len(marked_processes(mark)) == 2)
    await end_process(child.pid, child.created, mark=mark, grace_s=0.3)

    assert marked_processes(mark) == []
    await until(lambda: child.exit_code() == (-signal.SIGKILL if stubborn else -signal.SIGTERM))


async def test_to_end_a_process_whose_pid_was_given_away_touches_nobody(mark: str):
    await end_process(os.getpid(), 1.0, mark=mark, grace_s=0.1)
