"""Ends everything that a command started, also what left its process group.

A process is known to be the command's by its session, by descent, or by the mark that stands in
its environment: a daemon that called setsid and was adopted by init still carries the mark.
Layer 3.
"""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

MARK_VARIABLE = "CONDUIT_COMMAND"
ROUNDS = 20


def end_all(leader: int, mark: str) -> int:
    """Kill the session that `leader` led and all that descends from it; return how many.

    Goes round until a look finds nothing, since a process may start another while it is ended.
    The leader is killed too but not waited for and not counted: it is its parent's to reap.
    """
    _signal_group(leader, signal.SIGSTOP)  # what is stopped cannot start another meanwhile
    found = _belonging(leader, mark)
    end_group(leader)
    ended: set[int] = set()
    for _ in range(ROUNDS):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
            ended.add(process.pid)
        psutil.wait_procs(found, timeout=0.5)
        found = _belonging(leader, mark)
        if not found:
            break
    return len(ended)


def end_group(leader: int) -> None:
    """Kill the process group at once; nothing happens where it is gone."""
    _signal_group(leader, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _belonging(leader: int, mark: str) -> list[psutil.Process]:
    found = {process for process in psutil.process_iter() if _is_marked(process, leader, mark)}
    with contextlib.suppress(psutil.Error):
        found.update(psutil.Process(leader).children(recursive=True))
    spared = (leader, os.getpid())
    return [process for process in found if process.pid not in spared and _is_alive(process)]


def _is_marked(process: psutil.Process, leader: int, mark: str) -> bool:
    try:
        return os.getsid(process.pid) == leader or process.environ().get(MARK_VARIABLE) == mark
    except (psutil.Error, OSError):  # gone meanwhile, or another user's
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
