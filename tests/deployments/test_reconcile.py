"""deployments/reconcile.py: what a look at the providers changes, and what it must not."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import docker
import pytest

from conduit_nb.providers.naming import NodeName
from conduit_nb.state.installation import Installation
from conduit_nb.testing.runpod_server import Behaviour
from tests.deployments import killed
from tests.deployments.deployed import INSTALLATION, Bench, rented, request

pytestmark = pytest.mark.system  # real processes, and a rented node for each test

OTHER = Installation(id="fedcba9876543210", secret=b"o" * 32)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Two rented worlds in one account, whose list lags."""
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    with ExitStack() as stack:
        cloud = rented(stack, Behaviour())
        bench = Bench(tmp_path, cloud=cloud, list_lag_s=30)
        yield bench
        for installation in (INSTALLATION, OTHER):
            await bench.service(installation).terminate("all")


def behaviour(bench: Bench) -> Behaviour:
    assert bench.cloud is not None
    return bench.cloud.behaviour


async def test_a_node_that_a_list_does_not_show_is_not_given_up_at_once(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    assert bench.cloud is not None
    bench.cloud.vanish(node.provider_id or "")

    await service.look()
    (missing,) = bench.nodes(info)
    assert missing.status == "running"
    assert missing.missing_since is not None
    bench.clock.advance(seconds=31)
    await service.look()

    assert bench.records() == []
    lost = service.context.store.node(node.name)
    assert lost is not None
    assert lost.status == "lost"
    (charge,) = bench.charges(info)
    assert charge.end == missing.missing_since


async def test_one_that_is_seen_again_was_never_lost(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    await service.context.set_node(node, missing_since=bench.clock())
    bench.clock.advance(seconds=60)

    await service.look()

    (again,) = bench.nodes(info)
    assert (again.status, again.missing_since) == ("running", None)


async def test_nodes_of_another_installation_are_left_alone(bench: Bench):
    theirs = await bench.service(OTHER).deploy(request("runpod"))
    ours = await bench.service().deploy(request("runpod"))
    assert ours.id != theirs.id

    ended = await bench.service().cleanup()
    await bench.service().terminate(ours.name)
    await bench.service().cleanup()

    assert ended == []
    assert len(bench.running()) == 1
    (left,) = bench.records(OTHER)
    assert left.id == theirs.id


async def test_a_node_of_ours_whose_row_is_lost_is_ended_by_gc_alone(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    with closing(sqlite3.connect(bench.folder / "state.sqlite3", isolation_level=None)) as state:
        state.execute("DELETE FROM conduit_nodes")
        state.execute("DELETE FROM conduit_deployments")

    await bench.service().look()
    assert bench.running() == [node.name]
    ended = await bench.service().cleanup()

    assert ended == [node.name]
    assert bench.running() == []


async def test_what_another_state_of_the_installation_runs_ends_only_by_force(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    other = Bench(bench.folder / "other", cloud=bench.cloud, url="sqlite://")
    other.folder.mkdir()
    other.url = f"sqlite:///{other.folder / 'empty.sqlite3'}"

    ended = await other.service().cleanup()

    assert ended == []
    assert bench.running() == [node.name]
    assert any(node.name in text and "--force" in text for text in other.told)
    assert bench.record(info).status == "running"
    assert await other.service().cleanup(force=True) == [node.name]
    assert bench.running() == []


async def test_a_node_that_comes_after_its_row_has_ended_is_ended_too(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    await service.context.set_node(node, status="terminating")
    current = service.context.store.node(node.name)
    assert current is not None
    now = bench.clock()
    await service.context.set_node(
        current, status="terminated", ended_at=now, end_charge=True, at=now
    )

    await service.look()

    assert bench.running() == []


async def test_a_pod_that_stopped_by_itself_is_charged_as_stopped(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    assert bench.cloud is not None
    bench.cloud.account.act(node.provider_id or "", "stop")

    await service.look()

    (stopped,) = bench.nodes(info)
    charges = bench.charges(info)
    assert stopped.status == "stopped"
    assert [charge.state for charge in charges] == ["running", "stopped"]


async def test_what_has_stopped_by_itself_is_started_again_by_whoever_asks_next(bench: Bench):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    assert bench.cloud is not None
    bench.cloud.account.act(node.provider_id or "", "stop")
    await service.look()
    assert bench.record(info).status == "stopped"

    endpoint = await service.connect(request("runpod"))

    (again,) = bench.nodes(info)
    assert (again.name, again.status) == (node.name, "running")
    assert bench.record(info).status == "running"
    await endpoint.aclose()


async def test_a_provider_that_does_not_answer_is_told_and_changes_nothing(bench: Bench):
    service = bench.service()
    before = bench.record(await service.deploy(request("runpod")))
    assert bench.cloud is not None
    there, nowhere = bench.cloud.url, "http://127.0.0.1:9/v2"
    bench.cloud.url = nowhere
    await service.look()
    bench.cloud.url = there

    assert any("runpod" in text and nowhere in text for text in bench.told)
    (left,) = bench.records()
    assert left == replace(before, revision=left.revision)


def test_names_of_two_installations_never_meet():
    ours = NodeName(installation="0123456789ab", deployment="abcdefgh", replica=0, attempt=1)

    assert not ours.is_of(OTHER.id)


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_provider_that_is_not_installed_here_stops_no_look_at_the_others(
    bench: Bench, is_live: bool
):
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (node,) = bench.nodes(info)
    if not is_live:
        await service.terminate(info.name)
        node = service.context.store.node(node.name)
    assert node is not None
    node = await service.context.set_node(node, provider="uninstalled")

    await service.look()
    assert len(bench.records()) == is_live

    await service.context.set_node(node, provider="runpod")


@pytest.mark.needs("docker")
@pytest.mark.parametrize("killed_at", ["after launch", "after update_node"])
async def test_a_container_that_never_boots_is_ended_at_its_deadline_for_real(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "4")
    flags = ["--never-listens"]
    client = await asyncio.to_thread(
        killed.run, tmp_path, "docker", killed_at, engine=engine, flags=flags
    )
    assert client.code == -signal.SIGKILL, client.stderr
    bench = Bench(tmp_path, engine=engine)
    service = bench.service()
    (node,) = service.context.store.nodes()
    assert bench.running() == [node.name]

    # Nobody of ours looks: it is the engine that tells when its first process ends.
    with closing(docker.DockerClient(base_url=engine)) as engine_client:
        container = engine_client.containers.get(node.name)
        ended = await asyncio.to_thread(container.wait, timeout=120)
        container.reload()
        finished = datetime.fromisoformat(f"{container.attrs['State']['FinishedAt'][:19]}+00:00")
        said = container.logs().decode()
    assert ended["StatusCode"] == 0
    assert "ready" in said.splitlines()[-1], "the guard's last words"
    assert timedelta(seconds=-1) <= finished - node.boot_until < timedelta(seconds=60)

    await service.look()

    assert bench.running() == []
    assert not list((tmp_path / "state" / "docker").glob("*")), "its key stays on the disk"
    assert bench.records() == []
    record = service.context.store.deployment(node.deployment)
    assert record is not None
    assert record.status == "failed"
    assert said.splitlines()[-1] in record.detail
    gone = service.context.store.node(node.name)
    assert gone is not None
    assert gone.status == "terminated"


@pytest.mark.parametrize("word", ["before stop", "after stop", "before renew", "before start"])
async def test_a_client_that_died_while_it_stopped_or_started_leaves_it_stopped(
    bench: Bench, word: str
):
    cloud = bench.cloud
    assert cloud is not None
    done = await asyncio.to_thread(
        killed.run,
        bench.folder,
        "runpod",
        word,
        api=cloud.url,
        key=cloud.key,
        proxy=cloud.proxy_url,
    )
    assert done.code == -signal.SIGKILL, done.stderr
    service = bench.service()
    (left,) = bench.records()
    assert left.status in ("stopping", "launching")

    await service.look()
    await service.look()

    (record,) = bench.records()
    (node,) = bench.nodes(record)
    (pod,) = cloud.account.pods()
    assert (record.status, node.status, pod.status) == ("stopped", "stopped", "EXITED")
    assert (await service.start(record.name)).status == "running"
