"""One shared server for several processes that want it at once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from conduit_nb.deployments.shared import LAUNCHES
from conduit_nb.providers.base import Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.runtimes.base import ServerRequest
from tests import waiting
from tests.deployments.shared_clients import Client, Result, connect, shared_server, started
from tests.fake_lmlite import FakeRuntime
from tests.local_nodes import marked

pytestmark = pytest.mark.system  # several processes for each test

CLIENTS = 5


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "20")


@pytest.fixture
def process(tmp_path: Path, folders: None) -> Iterator[subprocess.Popen[str]]:
    with started(tmp_path) as process:
        yield process


@pytest.fixture
async def provider(folders: None) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(grace_s=1)
    yield provider
    for node in await provider.list_nodes():
        await provider.terminate(node.name)


async def connected(process: subprocess.Popen[str], *clients: Client) -> list[Result]:
    return await asyncio.to_thread(connect, process, clients)


async def launched(provider: LocalProvider, *flags: str) -> Node:
    """Launch the server as a client does that ends at once."""
    shared = shared_server(Client())
    spec = FakeRuntime(flags).launch_spec(ServerRequest(name=shared.name))
    return await provider.launch(spec, {"CONDUIT_API_KEY": "k"})


async def the_only(provider: LocalProvider, state_dir: Path) -> Node:
    """Return the one server that runs, of all that was ever launched."""
    (node,) = await provider.list_nodes()
    assert marked(state_dir) == [node.pid], "a launch is left that nobody knows"
    return node


def launches(state_dir: Path) -> int:
    (log,) = (state_dir / "logs").glob("*.log")
    return sum(line.startswith("--- ") for line in log.read_text().splitlines())


async def test_clients_at_once_start_one_server(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    results = await connected(process, *[Client()] * CLIENTS)

    assert [one.error for one in results] == [""] * CLIENTS
    assert {one.url for one in results} == {(await the_only(provider, tmp_path)).url}
    assert launches(tmp_path) == 1
    assert sum("Starting" in text for one in results for text in one.told) == 1


async def test_a_server_that_hangs_is_replaced_by_one_of_them(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    await connected(process, Client())
    hung = await the_only(provider, tmp_path)
    os.kill(hung.pid or 0, signal.SIGSTOP)

    results = await connected(process, *[Client()] * CLIENTS)

    assert [one.error for one in results] == [""] * CLIENTS
    node = await the_only(provider, tmp_path)
    assert {one.url for one in results} == {node.url}
    assert node.pid != hung.pid
    assert launches(tmp_path) == 2


async def test_a_launch_that_dies_is_an_error_to_each_of_them_and_leaves_nothing(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    results = await connected(process, *[Client(flags=("--dies", "3"))] * CLIENTS)

    assert [one.error.partition(":")[0] for one in results] == ["BootError"] * CLIENTS
    assert await provider.list_nodes() == []
    assert marked(tmp_path) == []
    assert launches(tmp_path) <= CLIENTS * LAUNCHES


async def test_a_port_that_is_taken_for_all_of_them_ends_in_an_error_for_each(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    results = await connected(process, *[Client(flags=("--dies", "98"))] * CLIENTS)

    assert [one.error.partition(":")[0] for one in results] == ["BootError"] * CLIENTS
    assert await provider.list_nodes() == []
    assert launches(tmp_path) <= CLIENTS * LAUNCHES


async def test_clients_of_two_secrets_do_not_replace_each_others_server_for_ever(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    one, other = Client(secret="a" * 32), Client(secret="b" * 32)

    results = await connected(process, one, other, one, other)

    assert [result.code for result in results] == [0] * 4
    assert any(result.url for result in results)
    assert launches(tmp_path) <= 4 * LAUNCHES
    await the_only(provider, tmp_path)


async def test_a_client_that_is_killed_once_it_has_launched_leaves_its_server_to_the_others(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    results = await connected(process, *[Client(dies=True)] * 2, *[Client()] * CLIENTS)

    assert [one.error for one in results] == [""] * len(results)
    node = await the_only(provider, tmp_path)
    left = [one for one in results if one.code == 0]
    assert {one.url for one in left} == {node.url}
    assert len(left) >= len(results) - 1, "only who launches is killed"
    assert launches(tmp_path) == 1


async def test_a_server_that_is_killed_while_they_wait_is_started_again_by_one_of_them(
    process: subprocess.Popen[str], provider: LocalProvider, tmp_path: Path
):
    first = await launched(provider, "--never-listens")
    waiting_for = asyncio.create_task(connected(process, *[Client()] * CLIENTS))
    await waiting.until(lambda: len(psutil.Process(process.pid).children()) == CLIENTS)
    os.kill(first.pid or 0, signal.SIGKILL)

    results = await waiting_for

    assert [one.error for one in results] == [""] * CLIENTS
    assert {one.url for one in results} == {(await the_only(provider, tmp_path)).url}
    assert launches(tmp_path) == 2
