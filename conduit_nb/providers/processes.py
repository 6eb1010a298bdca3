"""Processes that outlive the one that started them: start, recognise, find their children, end.

A pid alone proves nothing, it is given away again: a process is the one meant when it was also
created at the time that was noted. Whatever a process starts inherits its mark in the environment,
and is found by it when the process itself is gone.
Layer 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from conduit_nb.errors import DeploymentError

MARK = "CONDUIT_NODE"
CREATED_WITHIN_S = 2.0  # how far the clock may be set between two readings of a creation time
POLL_S = 0.05
KILL_TIMEOUT_S = 10.0


class Child:
    """A process that we started. It is reaped when it ends, and its own children are killed."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: IO[bytes],
    ) -> None:
        self._mark = environment[MARK]
        # It must live on without us: a session of its own, no terminal, no pipe to us.
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and a runtime's own command
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.created = _creation_time(self.pid)
        self._reaper = threading.Thread(target=self._reap, name=f"reap-{self.pid}", daemon=True)
        self._reaper.start()

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs; a moment after its end is waited for."""
        if not is_same_process(self.pid, self.created):
            self._reaper.join(timeout=2)
        return self._process.returncode

    def _reap(self) -> None:
        self._process.wait()
        kill_all(marked_processes(self._mark))


def is_same_process(pid: int, created: float) -> bool:
    """Say whether the process that had this pid then still runs (a zombie does not)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(process.create_time() - created) < CREATED_WITHIN_S
    except psutil.Error:
        return False


def is_listening(pid: int, port: int) -> bool:
    """Say whether the process or one of its children takes connections at `port`.

    Where the system does not let us look, the answer is yes.
    """
    try:
        process = psutil.Process(pid)
        return _listens(process, port) or any(
            _listens(child, port) for child in process.children(recursive=True)
        )
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def marked_processes(mark: str) -> list[psutil.Process]:
    """Return every process of this user whose mark begins with `mark`."""
    found: list[psutil.Process] = []
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if process.environ().get(MARK, "").startswith(mark):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Send SIGKILL to every one that still runs."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


async def end_process(pid: int, created: float, *, mark: str, grace_s: float) -> None:
    """Ask the process to end, and after `grace_s` make it; then kill what it started.

    Raises DeploymentError when something survives even SIGKILL.
    """
    if is_same_process(pid, created):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).terminate()
        deadline = time.monotonic() + grace_s
        # Only a parent can await a process; everybody else has to look again.
        while is_same_process(pid, created) and time.monotonic() < deadline:  # noqa: ASYNC110 see above
            await asyncio.sleep(POLL_S)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while left := _left(pid, created, mark):
        kill_all(left)
        if time.monotonic() > deadline:
            raise DeploymentError(
                f"Process {left[0].pid} does not end, not even by SIGKILL.",
                hint="It waits for a device or a disk; look at `ps -l` and end it by hand.",
            )
        await asyncio.sleep(POLL_S)


def _left(pid: int, created: float, mark: str) -> list[psutil.Process]:
    """Return what still runs: the process itself (if it has lost its mark) and all marked."""
    left = [process for process in marked_processes(mark) if _runs(process)]
    if is_same_process(pid, created) and all(process.pid != pid for process in left):
        left.append(psutil.Process(pid))
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _listens(process: psutil.Process, port: int) -> bool:
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in process.net_connections("tcp")
        if connection.laddr
    )


def _creation_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0  # it ended at once, and a record with this time names no process
