"""deployments/replicas.py: a stop or start that fails is given up, and taken further by others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduit_nb.compute.request import Replicas
from conduit_nb.errors import NoCapacityError, PartlyFailedError
from conduit_nb.testing.runpod_server import Behaviour, Fault
from tests import waiting
from tests.deployments.deployed import Bench, rented, request

pytestmark = pytest.mark.system  # a rented node for each test

ACTIONS = "/pods/[^/]+/action"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, cloud=rented(stack, Behaviour()))


async def states(bench: Bench) -> tuple[str, list[str]]:
    """Return what another client finds once it has looked: of the deployment, of its nodes."""
    await bench.service().look()
    (record,) = bench.records()
    return record.status, [node.status for node in bench.nodes(record)]


async def test_a_stop_that_the_provider_refuses_is_tried_again_by_whoever_looks_next(bench: Bench):
    assert bench.cloud is not None
    info = await bench.service().deploy(request(provider="runpod"))
    bench.cloud.spoil(Fault(answer=400, method="POST", path=ACTIONS))

    with pytest.raises(NoCapacityError):
        await bench.service().stop(info.name)

    assert await states(bench) == ("stopped", ["stopped"])


async def test_a_start_that_the_provider_refuses_leaves_it_stopped(bench: Bench):
    assert bench.cloud is not None
    service = bench.service()
    info = await service.deploy(request(provider="runpod"))
    await service.stop(info.name)
    bench.cloud.spoil(Fault(answer=400, method="POST", path=ACTIONS))

    with pytest.raises(NoCapacityError):
        await bench.service().start(info.name)

    assert await states(bench) == ("stopped", ["stopped"])
    assert (await bench.service().start(info.name)).status == "running"


async def test_a_stop_that_is_interrupted_is_finished_by_whoever_looks_next(bench: Bench):
    info = await bench.service().deploy(request(provider="runpod"))
    began = asyncio.Event()
    bench.checkpoint = lambda name: began.set() if name == "before stop" else None
    stopping = asyncio.create_task(bench.service().stop(info.name))
    await began.wait()

    stopping.cancel()
    await waiting.until(stopping.done)

    assert stopping.cancelled()
    assert await states(bench) == ("stopped", ["stopped"])


async def test_one_node_that_cannot_stop_keeps_no_other_from_stopping(bench: Bench):
    assert bench.cloud is not None
    info = await bench.service().deploy(request(provider="runpod", replicas=Replicas(2, 2)))
    bench.cloud.spoil(Fault(answer=400, method="POST", path=ACTIONS))

    with pytest.raises(PartlyFailedError) as raised:
        await bench.service().stop(info.name)
    (refused,) = raised.value.failures.values()
    assert isinstance(refused, NoCapacityError)
    assert len(raised.value.done) == 1
    assert raised.value.usd_per_hour > 0.7

    assert sorted(node.status for node in bench.nodes(info)) == ["stopped", "stopping"]
    assert await states(bench) == ("stopped", ["stopped", "stopped"])


async def test_what_another_client_has_taken_over_stays_its_own(bench: Bench):
    assert bench.cloud is not None
    service = bench.service()
    info = await service.deploy(request(provider="runpod"))
    bench.cloud.spoil(Fault(answer=400, method="POST", path=ACTIONS))

    def take_over(name: str) -> None:
        if name == "before stop":
            bench.context().store.update_deployment(bench.record(info), owner="elsewhere|1|1.0")

    bench.checkpoint = take_over
    with pytest.raises(NoCapacityError):
        await bench.service().stop(info.name)

    (now,) = bench.records()
    assert now.owner == "elsewhere|1|1.0"
