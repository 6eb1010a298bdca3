"""deployments/adoption.py: nodes that no row names are shown, and taken over when asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from conduit_nb.deployments.adoption import OTHER_KEY, adopt, unclaimed
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ArgumentError, DeploymentError
from conduit_nb.state.installation import Installation
from conduit_nb.state.records import NodeRecord
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
        await bench.service().terminate("all")


@pytest.fixture
def ours(theirs: Bench, tmp_path: Path) -> Bench:
    """A client with another state and the same account."""
    (tmp_path / "ours").mkdir()
    return Bench(tmp_path / "ours", cloud=theirs.cloud)


def node_of(bench: Bench, info: DeploymentInfo) -> NodeRecord:
    (node,) = bench.nodes(info)
    return node


async def test_a_foreign_node_is_shown_and_can_only_be_ended(theirs: Bench, ours: Bench):
    name = node_of(theirs, await theirs.service().deploy(request("runpod"))).name
    service = ours.service(OTHER)

    (shown,) = await unclaimed(service.context)
    info = await service.attach(name)
    await service.look()
    node = node_of(ours, info)

    assert (shown.node.name, shown.is_ours) == (name, False)
    assert await unclaimed(service.context) == []
    assert (node.status, node.detail) == ("running", OTHER_KEY)
    assert node.usd_per_hour > 0
    assert node.budget_usd == ours.caps.deployment_usd
    (charge,) = ours.charges(info)
    assert (charge.end, charge.begin) == (None, node.created_at)
    with pytest.raises(DeploymentError, match=info.name) as not_ours:
        await service.restart(info.name)
    assert (not_ours.value.code, not_ours.value.__cause__) == ("deployment", None)
    assert f"%conduit terminate {info.name}" in not_ours.value.hint
    with pytest.raises(DeploymentError) as not_taken:
        await service.extend(info.name, 1 / 60)
    assert isinstance(not_taken.value.__cause__, httpx2.HTTPStatusError)
    assert ours.record(info).lease_until == info.lease_until
    await service.terminate(info.name)
    assert ours.running() == []


async def test_one_of_ours_whose_row_is_lost_is_adopted_whole(theirs: Bench, ours: Bench):
    before = await theirs.service().deploy(request("runpod"))
    name = node_of(theirs, before).name
    service = ours.service(INSTALLATION)

    (shown,) = await unclaimed(service.context)
    info = await service.attach(name)
    node, lease_until = node_of(ours, info), ours.record(info).lease_until
    await service.extend(info.name, 1 / 60)
    await service.stop(info.name)
    await service.start(info.name)

    assert shown.is_ours
    assert (info.id, info.runtime) == (before.id, "lmlite")
    assert node.detail == ""
    assert abs((lease_until - theirs.record(before).lease_until).total_seconds()) < 1
    assert await service.cleanup() == []
    assert ours.running() == [name]
    await service.terminate(info.name)
    assert ours.running() == []


async def test_a_stopped_node_is_adopted_as_stopped(theirs: Bench, ours: Bench):
    before = await theirs.service().deploy(request("runpod"))
    name = node_of(theirs, before).name
    await theirs.service().stop(before.name)
    service = ours.service(OTHER)

    info = await service.attach(name)

    assert info.status == "stopped"
    assert node_of(ours, info).status == "stopped"
    (charge,) = ours.charges(info)
    assert charge.state == "stopped"
    assert charge.usd_per_hour > 0
    await service.terminate(info.name)
    assert ours.running() == []


async def test_a_node_whose_price_nobody_tells_is_not_adopted(theirs: Bench, ours: Bench):
    name = node_of(theirs, await theirs.service().deploy(request("runpod"))).name
    assert ours.cloud is not None
    ours.cloud.behaviour.is_price_hidden = True
    service = ours.service(OTHER)

    with pytest.raises(DeploymentError) as caught:
        await service.attach(name)

    assert name in str(caught.value)
    assert name in caught.value.hint
    assert ours.records(OTHER) == []
    assert ours.running() == [name]


async def test_a_node_that_was_adopted_as_stopped_costs_what_it_costs_once_it_runs(
    theirs: Bench, ours: Bench
):
    before = await theirs.service().deploy(request("runpod"))
    rate = node_of(theirs, before).usd_per_hour
    name = node_of(theirs, before).name
    await theirs.service().stop(before.name)
    service = ours.service(INSTALLATION)
    info = await service.attach(name)
    ours.clock.advance(hours=0.5)

    await service.start(info.name)

    node = node_of(ours, info)
    charges = ours.charges(info)
    assert node.usd_per_hour == pytest.approx(rate, rel=0.01)
    assert node.not_after is not None
    assert [one.state for one in charges if one.end != one.begin] == ["stopped", "running"]
    assert charges[-1].usd_per_hour == pytest.approx(rate, rel=0.01)
    assert charges[-1].begin - charges[0].begin > timedelta(hours=0.5)
    await service.terminate(info.name)


async def test_what_a_row_names_and_what_is_not_there_cannot_be_adopted(theirs: Bench):
    info = await theirs.service().deploy(request("runpod"))
    name = node_of(theirs, info).name

    with pytest.raises(ArgumentError, match=info.name) as known:
        await adopt(theirs.context(), name)
    assert known.value.param == "name"
    for unknown in ("conduit-" + "a" * 12 + "-abcdefgh-0-1", "somebody-elses-pod"):
        with pytest.raises(ArgumentError, match=f"'{unknown}'") as caught:
            await adopt(theirs.context(), unknown)
        assert caught.value.param == "name"


async def test_two_that_share_a_database_leave_each_others_nodes_alone(theirs: Bench):
    before = await theirs.service().deploy(request("runpod"))
    theirs.clock.advance(hours=200)

    await theirs.service(OTHER).cleanup()

    assert node_of(theirs, before).status == "running"
    assert len(theirs.running()) == 1
