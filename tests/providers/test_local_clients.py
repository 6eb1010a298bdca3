"""A node on this machine, and the process that launched it: killed, stopped, or alive."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from conduit_nb.providers.local import LocalProvider
from tests import waiting
from tests.local_nodes import LAUNCHES, marked, until


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def provider(state_dir: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(state_dir=state_dir, grace_s=2)
    yield provider
    for node in await provider.list_nodes():
        await provider.terminate(node.name)


@pytest.fixture
def launcher(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has launched a node and stays."""
    code = LAUNCHES.format(state_dir=str(state_dir))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate(timeout=20)


async def test_a_node_survives_the_kill_of_the_client_that_launched_it(
    provider: LocalProvider, launcher: subprocess.Popen[str]
):
    assert launcher.stdout is not None
    pid = int(await asyncio.to_thread(launcher.stdout.readline))
    launcher.kill()
    await asyncio.to_thread(launcher.wait)

    assert (await until(provider, "one", "running")).pid == pid


async def test_a_node_that_is_killed_leaves_no_zombie_in_its_launcher(
    provider: LocalProvider, launcher: subprocess.Popen[str], state_dir: Path
):
    assert launcher.stdout is not None
    pid = int(await asyncio.to_thread(launcher.stdout.readline))
    await until(provider, "one", "running")
    os.kill(pid, signal.SIGKILL)

    await waiting.until(lambda: not psutil.pid_exists(pid) and not marked(state_dir))
    assert launcher.poll() is None


def has_stopped(pid: int) -> bool:
    """Say whether every thread has stopped: the one that reaps may be the last."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    if not tasks:  # no Linux
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


async def test_a_node_whose_parent_does_not_reap_it_counts_as_gone(
    provider: LocalProvider, launcher: subprocess.Popen[str], state_dir: Path
):
    assert launcher.stdout is not None
    pid = int(await asyncio.to_thread(launcher.stdout.readline))
    await until(provider, "one", "running")
    os.kill(launcher.pid, signal.SIGSTOP)
    await waiting.until(lambda: has_stopped(launcher.pid))
    os.kill(pid, signal.SIGKILL)

    described = await until(provider, "one", "gone")
    assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert described.exit_code is None
    assert await provider.list_nodes() == []
    os.kill(launcher.pid, signal.SIGCONT)
