"""deployments/adoption.py: nodes that no row names are shown, and taken over when asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from conduit_nb.deployments.adoption import OTHER_KEY, adopt, unclaimed
from conduit_nb.errors import ArgumentError, DeploymentError
from conduit_nb.state.installation import Installation
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.testing.runpod_server import Behaviour
from tests.deployments.deployed import INSTALLATION, Bench, rented, request

pytestmark = pytest.mark.system  # a rented node for each test

OTHER = Installation(id="fedcba9876543210", secret=b"o" * 32)


@pytest.fixture
async def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A client with a state and an account of its own."""
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    with ExitStack() as stack:
        bench = Bench(tmp_path, cloud=rented(stack, Behaviour()))
        yield bench
        for record in await bench.manager().deployments():
            await bench.manager().terminate(record.id)


@pytest.fixture
def ours(theirs: Bench, tmp_path: Path) -> Bench:
    """A client with another state and the same account."""
    (tmp_path / "ours").mkdir()
    return Bench(tmp_path / "ours", cloud=theirs.cloud)


async def node_of(bench: Bench, record: DeploymentRecord) -> NodeRecord:
    (node,) = await bench.context().read(bench.context().store.nodes, record.id)
    return node


async def test_a_foreign_node_is_shown_and_can_only_be_ended(theirs: Bench, ours: Bench):
    name = (await node_of(theirs, await theirs.manager().deploy(request("runpod")))).name
    manager = ours.manager(OTHER)

    (shown,) = await unclaimed(manager.context)
    record = await manager.adopt(name)
    await manager.reconcile()
    node = await node_of(ours, record)

    assert (shown.node.name, shown.is_ours) == (name, False)
    assert await unclaimed(manager.context) == []
    assert (node.status, node.detail) == ("running", OTHER_KEY)
    assert node.usd_per_hour > 0
    assert node.budget_usd == ours.caps.deployment_usd
    (charge,) = await manager.context.read(manager.context.store.charges, record.id)
    assert (charge.end, charge.begin) == (None, node.created_at)
    with pytest.raises(DeploymentError, match=record.name) as not_ours:
        await manager.restart(record.name)
    assert (not_ours.value.code, not_ours.value.__cause__) == ("deployment", None)
    assert f"%conduit terminate {record.name}" in not_ours.value.hint
    with pytest.raises(DeploymentError) as not_taken:
        await manager.extend(record.name, 60)
    assert isinstance(not_taken.value.__cause__, httpx2.HTTPStatusError)
    assert (await manager.find(record.name)).lease_until == record.lease_until
    await manager.terminate(record.name)
    assert ours.running() == []


async def test_one_of_ours_whose_row_is_lost_is_adopted_whole(theirs: Bench, ours: Bench):
    before = await theirs.manager().deploy(request("runpod"))
    name = (await node_of(theirs, before)).name
    manager = ours.manager(INSTALLATION)

    (shown,) = await unclaimed(manager.context)
    record = await manager.adopt(name)
    node = await node_of(ours, record)
    await manager.extend(record.name, 60)
    await manager.stop(record.name)
    await manager.start(record.name)

    assert shown.is_ours
    assert (record.id, record.runtime) == (before.id, "lmlite")
    assert node.detail == ""
    assert abs((record.lease_until - before.lease_until).total_seconds()) < 1
    assert await manager.gc() == []
    assert ours.running() == [name]
    await manager.terminate(record.name)
    assert ours.running() == []


async def test_a_stopped_node_is_adopted_as_stopped(theirs: Bench, ours: Bench):
    before = await theirs.manager().deploy(request("runpod"))
    name = (await node_of(theirs, before)).name
    await theirs.manager().stop(before.name)
    manager = ours.manager(OTHER)

    record = await manager.adopt(name)

    assert record.status == "stopped"
    assert (await node_of(ours, record)).status == "stopped"
    (charge,) = await manager.context.read(manager.context.store.charges, record.id)
    assert charge.state == "stopped"
    assert charge.usd_per_hour > 0
    await manager.terminate(record.name)
    assert ours.running() == []


async def test_a_node_whose_price_nobody_tells_is_not_adopted(theirs: Bench, ours: Bench):
    name = (await node_of(theirs, await theirs.manager().deploy(request("runpod")))).name
    assert ours.cloud is not None
    ours.cloud.behaviour.is_price_hidden = True
    manager = ours.manager(OTHER)

    with pytest.raises(DeploymentError) as caught:
        await manager.adopt(name)

    assert name in str(caught.value)
    assert name in caught.value.hint
    assert await manager.deployments() == []
    assert ours.running() == [name]


async def test_a_node_that_was_adopted_as_stopped_costs_what_it_costs_once_it_runs(
    theirs: Bench, ours: Bench
):
    before = await theirs.manager().deploy(request("runpod"))
    rate = (await node_of(theirs, before)).usd_per_hour
    name = (await node_of(theirs, before)).name
    await theirs.manager().stop(before.name)
    manager = ours.manager(INSTALLATION)
    record = await manager.adopt(name)
    ours.clock.advance(hours=0.5)

    await manager.start(record.name)

    node = await node_of(ours, record)
    charges = await manager.context.read(manager.context.store.charges, record.id)
    assert node.usd_per_hour == pytest.approx(rate, rel=0.01)
    assert node.not_after is not None
    assert [one.state for one in charges if one.end != one.begin] == ["stopped", "running"]
    assert charges[-1].usd_per_hour == pytest.approx(rate, rel=0.01)
    assert charges[-1].begin - charges[0].begin > timedelta(hours=0.5)
    await manager.terminate(record.name)


async def test_what_a_row_names_and_what_is_not_there_cannot_be_adopted(theirs: Bench):
    record = await theirs.manager().deploy(request("runpod"))
    name = (await node_of(theirs, record)).name

    with pytest.raises(ArgumentError, match=record.name) as known:
        await adopt(theirs.context(), name)
    assert known.value.param == "name"
    for unknown in ("conduit-" + "a" * 12 + "-abcdefgh-0-1", "somebody-elses-pod"):
        with pytest.raises(ArgumentError, match=f"'{unknown}'") as caught:
            await adopt(theirs.context(), unknown)
        assert caught.value.param == "name"


async def test_two_that_share_a_database_leave_each_others_nodes_alone(theirs: Bench):
    before = await theirs.manager().deploy(request("runpod"))
    theirs.clock.advance(hours=200)

    await theirs.manager(OTHER).gc()

    assert (await node_of(theirs, before)).status == "running"
    assert len(theirs.running()) == 1
