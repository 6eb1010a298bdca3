"""Nodes on this machine, as real processes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conduit_nb.compute.detection import detect_devices
from conduit_nb.errors import ArgumentError, DeploymentError, StorageError
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.processes import is_listening, is_same_process
from tests import waiting
from tests.local_nodes import KEY, LAUNCHES, SECRETS, marked, spec, until


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def provider(state_dir: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(state_dir=state_dir, grace_s=2)
    yield provider
    for node in await provider.list_nodes():
        await provider.terminate(node.name)


async def until_logged(provider: LocalProvider, name: str, text: str) -> None:
    async with asyncio.timeout(20):
        async for line in provider.logs(name, follow=True):
            if text in line:
                return


async def test_a_node_is_starting_then_running_then_gone(provider: LocalProvider):
    launched = await provider.launch(spec(), SECRETS)
    running = await until(provider, "one", "running")
    await provider.terminate("one")

    assert launched.status in ("starting", "running")
    assert running.pid == launched.pid
    assert running.url == launched.url
    gone = await provider.describe("one")
    assert gone is not None
    assert gone.status == "gone"
    assert not psutil.pid_exists(running.pid or 0)


async def test_the_record_is_private_and_holds_no_secret(provider: LocalProvider, state_dir: Path):
    node = await provider.launch(spec(), SECRETS)
    path = state_dir / "nodes" / "one.json"
    text = path.read_text()
    record = json.loads(text)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert record["pid"] == node.pid
    assert record["port"] == int(node.url.rpartition(":")[2])
    assert KEY not in text
    await until(provider, "one", "running")
    assert KEY not in (state_dir / "logs" / "one.log").read_text()


async def test_a_node_is_detached_and_knows_no_key_but_its_own(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, state_dir: Path
):
    keys = ("CONDUIT_SECRET_KEY", "CONDUIT_DB_URI", "RUNPOD_API_KEY", "AWS_SECRET_ACCESS_KEY")
    for name in keys:
        monkeypatch.setenv(name, "of the user alone")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    node = await provider.launch(spec(), SECRETS)
    process = psutil.Process(node.pid)
    await until(provider, "one", "running")

    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.cwd() == str(state_dir)
    assert process.environ()["CONDUIT_API_KEY"] == KEY
    assert "of the user alone" not in process.environ().values()
    assert process.environ()["OMP_NUM_THREADS"] == "1"
    assert KEY not in " ".join(process.cmdline())


async def test_another_client_finds_the_node(provider: LocalProvider, state_dir: Path):
    await provider.launch(spec(), SECRETS)
    mine = await until(provider, "one", "running")
    other = LocalProvider(state_dir=state_dir)

    assert await other.describe("one") == mine
    assert await other.list_nodes() == [mine]


async def test_a_launch_is_told_from_a_later_one_of_its_name(
    provider: LocalProvider, state_dir: Path
):
    other = LocalProvider(state_dir=state_dir)
    first = await provider.launch(spec("--dies", "3"), SECRETS)
    await until(other, "one", "gone")
    later = await other.launch(spec(), SECRETS)

    for client in (provider, other):
        await client.terminate("one", first.id)
        assert psutil.pid_exists(later.pid or 0)
        for node_id in (None, later.id):
            now = await client.describe("one", node_id)
            assert now is not None
            assert (now.id, now.pid) == (later.id, later.pid)
    assert await other.describe("one", first.id) is None
    ended = await provider.describe("one", first.id)
    assert ended is not None
    assert (ended.status, ended.exit_code) == ("gone", 3), "who launched it knows how it ended"
    await provider.terminate("one", later.id)
    assert await provider.list_nodes() == []


async def test_a_name_is_taken_only_once(provider: LocalProvider):
    node = await provider.launch(spec(), SECRETS)

    with pytest.raises(DeploymentError, match=rf"\bone\b.*\b{node.pid}\b"):
        await provider.launch(spec(), SECRETS)


async def test_nobody_is_asked_while_another_process_holds_the_port(state_dir: Path):
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        provider = LocalProvider(state_dir=state_dir, choose_port=lambda: port)
        node = await provider.launch(spec("--never-listens"), SECRETS)
        described = await provider.describe("one")
        assert is_listening(os.getpid(), port)
        await provider.terminate("one")

    assert node.status == "starting"
    assert described is not None
    assert described.status == "starting"


async def test_a_port_in_use_shows_in_the_exit_code(state_dir: Path):
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        provider = LocalProvider(state_dir=state_dir, choose_port=lambda: port)
        await provider.launch(spec(), SECRETS)
        node = await until(provider, "one", "gone")

    assert node.exit_code == 98


async def test_a_process_that_dies_is_reaped_and_its_record_put_away(
    provider: LocalProvider, state_dir: Path
):
    launched = await provider.launch(spec("--dies", "3"), SECRETS)
    node = await until(provider, "one", "gone")

    assert node.exit_code == 3
    assert not psutil.pid_exists(launched.pid or 0)
    assert not (state_dir / "nodes" / "one.json").exists()
    assert await LocalProvider(state_dir=state_dir).describe("one") is None


async def test_a_killed_process_takes_its_children_with_it(
    provider: LocalProvider, state_dir: Path
):
    await provider.launch(spec("--spawns"), SECRETS)
    node = await until(provider, "one", "running")
    assert len(marked(state_dir)) == 2
    os.kill(node.pid or 0, signal.SIGKILL)
    gone = await until(provider, "one", "gone")

    await waiting.until(lambda: not marked(state_dir))
    assert gone.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("stopped", [False, True])
async def test_terminate_makes_a_process_end_that_does_not_want_to(state_dir: Path, stopped: bool):
    provider = LocalProvider(state_dir=state_dir, grace_s=0.3)
    await provider.launch(spec("--ignores-sigterm"), SECRETS)
    node = await until(provider, "one", "running")
    if stopped:
        os.kill(node.pid or 0, signal.SIGSTOP)
    await provider.terminate("one")

    assert marked(state_dir) == []


async def test_to_terminate_what_is_gone_or_was_never_there_is_success(provider: LocalProvider):
    await provider.launch(spec("--dies", "0"), SECRETS)
    await until(provider, "one", "gone")
    await provider.terminate("one")
    await provider.terminate("never")


async def test_a_pid_that_was_given_away_again_is_neither_found_nor_ended(
    provider: LocalProvider, state_dir: Path
):
    await provider.launch(spec(), SECRETS)
    node = await until(provider, "one", "running")
    path = state_dir / "nodes" / "one.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "pid": os.getpid()}))

    other = LocalProvider(state_dir=state_dir)
    described = await other.describe("one")

    assert described is not None
    assert described.status == "gone"
    assert not is_same_process(os.getpid(), record["created"])
    assert node.pid != os.getpid()
    await other.terminate("one")


async def test_what_a_dead_client_launched_without_a_record_is_ended_by_the_next_launch(
    provider: LocalProvider, state_dir: Path
):
    lost = await provider.launch(spec(), SECRETS)
    await until(provider, "one", "running")
    (state_dir / "nodes" / "one.json").unlink()

    await LocalProvider(state_dir=state_dir).launch(spec(), SECRETS)
    found = await until(LocalProvider(state_dir=state_dir), "one", "running")

    assert marked(state_dir) == [found.pid]
    assert found.pid != lost.pid


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "one"}'])
async def test_a_broken_record_is_no_node(provider: LocalProvider, state_dir: Path, content: str):
    (state_dir / "nodes").mkdir(parents=True)
    (state_dir / "nodes" / "one.json").write_text(content)

    assert await provider.describe("one") is None
    assert await provider.list_nodes() == []
    await provider.launch(spec(), SECRETS)
    await until(provider, "one", "running")


async def test_a_node_of_another_machine_in_a_shared_folder_is_left_alone(
    provider: LocalProvider, state_dir: Path
):
    node = await provider.launch(spec(), SECRETS)
    path = state_dir / "nodes" / "one.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "machine": "elsewhere"}))

    other = LocalProvider(state_dir=state_dir)
    assert await other.list_nodes() == []
    await other.terminate("one")
    assert path.exists()
    path.write_text(json.dumps(record))
    assert (await until(provider, "one", "running")).pid == node.pid


async def test_a_command_that_does_not_exist_is_an_error_and_leaves_no_record(
    provider: LocalProvider, state_dir: Path
):
    with pytest.raises(DeploymentError, match="/no/such/program"):
        await provider.launch(replace(spec(), command=("/no/such/program",)), SECRETS)

    assert not (state_dir / "nodes" / "one.json").exists()


async def test_a_state_folder_that_cannot_be_written_is_an_error_and_starts_nothing(
    tmp_path: Path,
):
    (tmp_path / "file").write_text("in the way")
    state_dir = tmp_path / "file" / "state"

    with pytest.raises(StorageError) as caught:
        await LocalProvider(state_dir=state_dir).launch(spec(), SECRETS)

    assert "CONDUIT_STATE_DIR" in caught.value.hint
    assert marked(state_dir) == []


@pytest.mark.needs("mount")
def test_a_read_only_state_folder_is_an_error_that_names_the_variable(state_dir: Path):
    state_dir.mkdir()
    code = LAUNCHES.format(state_dir=str(state_dir))
    script = f'mount -t tmpfs -o ro tmpfs {state_dir} && exec {sys.executable} -c "$0"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert "StorageError" in done.stderr
    assert os.strerror(errno.EROFS) in done.stderr
    assert "CONDUIT_STATE_DIR" in done.stderr


async def test_a_record_that_cannot_be_written_ends_the_process_again(
    provider: LocalProvider, state_dir: Path
):
    (state_dir / "nodes" / "one.json").mkdir(parents=True)

    with pytest.raises(StorageError):
        await provider.launch(spec(), SECRETS)

    assert [pid for pid in marked(state_dir) if psutil.Process(pid).status() != "zombie"] == []
    (state_dir / "nodes" / "one.json").rmdir()


@pytest.mark.parametrize("name", ["", "../one", "a/b", ".hidden", "a b", "x" * 200])
async def test_a_name_that_cannot_be_a_files_is_refused(provider: LocalProvider, name: str):
    with pytest.raises(ArgumentError) as caught:
        await provider.describe(name)

    assert caught.value.param == "name"


async def test_logs_are_the_servers_own_words_and_stay_when_it_is_gone(provider: LocalProvider):
    await provider.launch(spec(), SECRETS)
    await until_logged(provider, "one", "begins")
    await provider.terminate("one")

    lines = [line async for line in provider.logs("one", tail=5)]
    assert lines[0].startswith("--- ")
    assert lines[1] == "fake LmLite begins"
    assert [line async for line in provider.logs("one", tail=1)] == lines[-1:]
    assert [line async for line in provider.logs("never")] == []


async def test_following_logs_ends_with_the_node(provider: LocalProvider):
    await provider.launch(spec(), SECRETS)
    await until(provider, "one", "running")
    following = asyncio.create_task(_collect(provider))
    await provider.terminate("one")

    assert "fake LmLite begins" in await asyncio.wait_for(following, timeout=20)


async def _collect(provider: LocalProvider) -> list[str]:
    return [line async for line in provider.logs("one", follow=True)]


async def test_this_machine_offers_its_cpu_free_of_charge(provider: LocalProvider):
    listing = await provider.offerings()

    [cpu] = [one for one in listing.offerings if one.hardware.is_cpu]
    assert (cpu.provider, cpu.usd_per_hour, cpu.launchable) == ("local", 0.0, True)
    assert cpu.memory_gib > 0.1


async def test_what_this_machine_cannot_see_of_itself_is_told_with_what_to_do(
    provider: LocalProvider,
):
    listing = await provider.offerings()

    assert all(problem.hint and str(problem).endswith(".") for problem in listing.problems)
    assert len(listing.problems) == len(detect_devices().problems)


async def test_what_a_killed_launch_left_without_a_record_is_ended_by_its_name(
    provider: LocalProvider, state_dir: Path
):
    node = await provider.launch(spec(), SECRETS)
    await until(provider, "one", "running")
    (state_dir / "nodes" / "one.json").unlink()  # as if the launcher had died before it wrote it
    provider = LocalProvider(state_dir=state_dir, grace_s=2)
    assert await provider.list_nodes() == []

    await provider.terminate("one")

    await waiting.until(lambda: not psutil.pid_exists(node.pid or 0))
