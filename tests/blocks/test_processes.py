from __future__ import annotations

import os
import subprocess

import psutil

from conduit_nb.blocks import processes


def started(command: str, mark: str) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own and wait until it says that it is ready."""
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        env={**os.environ, processes.MARK_VARIABLE: mark},
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_daemon_that_left_its_session_and_lost_its_parent_is_found_by_its_mark():
    process = started("setsid -f bash -c 'echo ready; exec sleep 7101'; exit", "mark-1")
    assert process.stdout is not None
    process.wait()

    assert processes.end_all(process.pid, "mark-1") == 1

    assert process.stdout.read() == b""  # nobody holds the pipe any more
    process.stdout.close()


def test_processes_with_another_mark_are_left_alone():
    mine = started("echo ready; exec sleep 7102", "mark-2")
    other = started("echo ready; exec sleep 7102", "mark-3")
    assert mine.stdout is not None
    assert other.stdout is not None

    processes.end_all(mine.pid, "mark-2")

    assert mine.wait(timeout=10) < 0
    assert psutil.Process(other.pid).is_running()
    processes.end_group(other.pid)
    other.wait(timeout=10)
    mine.stdout.close()
    other.stdout.close()


def test_ending_what_is_gone_ends_nothing():
    process = started("echo ready", "mark-4")
    assert process.stdout is not None
    process.wait()
    process.stdout.close()

    assert processes.end_all(process.pid, "mark-4") == 0
