"""deployments/autoscale.py: nodes come when rows wait, and go when none do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.deployments.autoscale import AutoScale, wanted_replicas
from conduit_nb.deployments.routing import RoutedEndpoint
from conduit_nb.deployments.service import Deployments
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import ChatRequest
from tests import waiting
from tests.deployments.deployed import Bench, request
from tests.deployments.faulty_cloud import Answering, FaultyCloud, answering_server, service_of

SLOW: ChatRequest = {"model": "slow", "messages": [{"role": "user", "content": "x"}]}


async def test_replicas_follow_what_is_in_flight_and_what_is_asked_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    service = bench.service()
    wanted = request(
        models=(LmLiteModelConfig("slow", max_model_concurrency=1),),
        replicas=Replicas(min=1, max=2),
    )
    endpoint = await service.connect(wanted)
    assert isinstance(endpoint, RoutedEndpoint)
    scale = AutoScale(service, wanted, endpoint, every_s=0.1)
    held = [asyncio.create_task(endpoint.chat(SLOW)) for _ in range(3)]

    await waiting.until(lambda: len(bench.running()) == 2, within_s=60)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await waiting.until(lambda: len(bench.running()) == 1, within_s=60)
    (record,) = bench.records()
    assert record.wanted_replicas == 1
    await service.terminate(record.name)
    await waiting.until(lambda: scale.is_over)
    await endpoint.aclose()

    assert bench.running() == []


FOUR_AT_ONCE = LmLiteModelConfig("m/one", max_model_concurrency=4)
GROWS = DeploymentRequest(
    models=(FOUR_AT_ONCE,),
    runtime="fake",
    provider="faulty",
    max_usd=20,
    replicas=Replicas(min=1, max=3),
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "1000")
    with answering_server() as server:
        yield server


def deployments_on(cloud: FaultyCloud) -> Deployments:
    """Return the deployments of one client, who looks often."""
    return service_of(cloud, scale_every_s=0.02)


async def terminated(service: Deployments) -> None:
    """End everything, and wait until nobody scales it any more."""
    await service.terminate("all")
    await waiting.until(
        lambda: not [one for one in asyncio.all_tasks() if one.get_name().startswith("scale ")]
    )


async def some_looks() -> None:
    """Let whoever scales look some more times."""
    later = time.monotonic() + 0.5
    await waiting.until(lambda: time.monotonic() > later)


async def test_whoever_looks_again_does_not_make_another_who_scales(server: Answering):
    cloud = FaultyCloud(server.url)
    service = deployments_on(cloud)
    first = await service.connect(GROWS)
    first.in_flight = 12
    again = await service.connect(GROWS, fresh=True)  # as after a connection that broke
    await waiting.until(lambda: len(cloud.rented) == 3)
    await some_looks()

    assert cloud.calls.count("launch") == 3
    assert cloud.ended == []
    first.in_flight = 0
    again.in_flight = 1
    await waiting.until(lambda: len(cloud.rented) == 1)
    await terminated(service)


async def test_who_is_quiet_ends_no_node_that_another_client_keeps_busy(server: Answering):
    cloud = FaultyCloud(server.url)
    busy, quiet = deployments_on(cloud), deployments_on(cloud)
    endpoint = await busy.connect(GROWS)
    endpoint.in_flight = 12
    server.in_flight = 4  # in each node
    nodes = busy.context.store.nodes
    await waiting.until(lambda: [node.status for node in nodes()] == ["running"] * 3)

    await quiet.connect(GROWS)
    await some_looks()

    assert cloud.ended == []
    await terminated(busy)


BOUNDS = Replicas(min=1, max=4)


@pytest.mark.parametrize(
    ("now", "in_flight", "wanted"),
    [(1, 0, 1), (1, 8, 1), (1, 9, 2), (1, 100, 4), (3, 9, 3), (3, 8, 2), (2, 3, 1), (2, 5, 2)],
)
def test_replicas_follow_what_waits(now: int, in_flight: int, wanted: int):
    assert wanted_replicas(BOUNDS, now=now, in_flight=in_flight, per_replica=8) == wanted


@given(st.integers(1, 4), st.integers(0, 200), st.integers(1, 32))
def test_they_stay_within_the_bounds_and_settle(now: int, in_flight: int, per_replica: int):
    seen = [now]
    for _ in range(10):
        seen.append(
            wanted_replicas(BOUNDS, now=seen[-1], in_flight=in_flight, per_replica=per_replica)
        )

    assert all(BOUNDS.min <= one <= BOUNDS.max for one in seen)
    assert seen[-1] == seen[-2]
