"""A client is killed before and after every write and every provider's call: nothing leaks.

`make test` takes some of the points, drawn with the run's seed; `make soak` all of them many times,
and writes how many into benchmarks/results.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from conduit_nb.deployments.service import Deployments
from conduit_nb.providers.docker import NODE_LABEL
from conduit_nb.providers.naming import NodeName, parse_node_name
from conduit_nb.state.records import NodeRecord
from conduit_nb.testing.runpod_server import Behaviour, RunpodServer
from conduit_nb.testing.runpod_server.wire import CreatePod
from tests import waiting
from tests.deployments import killed
from tests.deployments.deployed import INSTALLATION, Bench, rented
from tests.fake_lmlite import ECHO_IMAGE

pytestmark = [pytest.mark.system, pytest.mark.slow]  # each kill is a process, and its clean-up

IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
ROOT = Path(__file__).resolve().parent.parent.parent
POINTS = {"local": 6, "runpod": 8, "docker": 2}
SOAK_POINTS = {"local": 200, "runpod": 320, "docker": 132}
LIST_LAG_S = 0.2
PASSING = ("launching", "stopping", "terminating")
SETTLES_S = 20
FOREIGN = str(NodeName(installation="f" * 12, deployment="foreign1", replica=0, attempt=1))


@dataclass
class World:
    """What outlives a client: its folder, and the cloud."""

    folder: Path
    provider: str
    cloud: RunpodServer | None
    run: killed.RunClient
    engine: str | None = None

    def client(self, kill_at: int) -> killed.Ended:
        """Run a client to its end, or to where it is killed."""
        more: dict[str, Any] = {}
        if self.cloud is not None:
            more = {"api": self.cloud.url, "key": self.cloud.key, "proxy": self.cloud.proxy_url}
            more["list_lag_s"] = LIST_LAG_S
        return self.run(self.folder, self.provider, kill_at, engine=self.engine, **more)

    def bench(self) -> Bench:
        lag_s = LIST_LAG_S if self.cloud else 0.0
        return Bench(self.folder, cloud=self.cloud, engine=self.engine, list_lag_s=lag_s)


@pytest.fixture(
    params=["local", "runpod", pytest.param("docker", marks=pytest.mark.needs("docker"))]
)
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "summary"))
    with ExitStack() as stack:
        cloud = None
        if request.param == "runpod":
            cloud = rented(stack, Behaviour(list_lag_s=LIST_LAG_S))
            gpu = {"id": "NVIDIA L40S", "count": 1}
            cloud.account.create(CreatePod(name=FOREIGN, image="i", gpu=gpu))  # type: ignore[typeddict-item]  # a plain dict is one
        engine = None
        if request.param == "docker":
            engine = request.getfixturevalue("engine")
            with closing(docker.DockerClient(base_url=engine)) as client:
                client.containers.create(ECHO_IMAGE, name=FOREIGN, labels={NODE_LABEL: FOREIGN})
        run = stack.enter_context(killed.clients())
        yield World(tmp_path, request.param, cloud, run, engine)


async def test_whenever_a_client_is_killed_the_next_one_puts_all_in_order(
    world: World, pytestconfig: pytest.Config
):
    seed = pytestconfig.getoption("hypothesis_seed", None) or random.randrange(2**32)
    counting = await asyncio.to_thread(world.client, 0)
    assert counting.code == 0, counting.stderr
    total = int(counting.stdout)
    wanted = (SOAK_POINTS if IS_SOAK else POINTS)[world.provider]
    # Every point once where there are enough tries, and the rest by chance.
    points = list(range(1, total + 1))
    random.Random(seed).shuffle(points)
    points = (points * (wanted // total + 1))[:wanted]
    print(f"{world.provider}: {len(points)} of {total} kill points, seed {seed}")
    for point in points:
        done = await asyncio.to_thread(world.client, point)
        assert done.code == -9, f"point {point}: {done.stderr}"
        try:
            await _put_in_order(world)
        except AssertionError as err:
            raise AssertionError(f"killed at checkpoint {point} of {total}: {err}") from err
    if IS_SOAK:
        _report(world.provider, len(points), total, seed)


async def _put_in_order(world: World) -> None:
    bench = world.bench()
    service = bench.service()
    for _ in range(3):
        await service.look()
        await asyncio.sleep(LIST_LAG_S if world.cloud else 0.05)
        bench.clock.advance(seconds=1 + LIST_LAG_S)
    live = service.context.store.nodes()
    _require_order(bench, live)
    await _require_settled(bench, service)
    for record in bench.records():
        await service.terminate(record.name)
    for _ in range(4):
        await service.look()
        bench.clock.advance(seconds=1 + LIST_LAG_S)
    assert _of_ours(bench) == [], "something of ours bills"
    assert bench.records() == [], "a deployment lives on"
    every = service.context.store.nodes(live_only=False)
    assert not [node.name for node in every if node.is_live], "a row claims what is gone"
    charges = service.context.store.charges()
    assert all(charge.end is not None for charge in charges), "a charge goes on"
    if world.provider == "docker":
        keys = [path.name for path in (world.folder / "summary" / "docker").glob("*")]
        assert keys == [], "a key stays on the disk"
    if world.provider != "local":
        assert FOREIGN in bench.running(), "a foreign node was touched"
    if bench.cloud is not None:
        charged = {charge.node for charge in charges}
        created = {pod.name for pod in bench.cloud.account.pods() if pod.name != FOREIGN}
        assert created <= charged, "a pod has cost money that no charge tells of"


def _require_order(bench: Bench, live: list[NodeRecord]) -> None:
    there = _of_ours(bench)
    rows = {node.name for node in live}
    assert set(there) <= rows, f"bills without a row: {set(there) - rows}"
    claimed = {node.name for node in live if node.status not in ("launching", "terminating")}
    assert claimed <= set(there), f"rows claim what is gone: {claimed - set(there)}"
    places = [(node.deployment, node.replica) for node in live if node.name in there]
    assert len(places) == len(set(places)), f"created twice: {there}"


async def _require_settled(bench: Bench, service: Deployments) -> None:
    """Fail where a deployment stays on its way to a state, though nobody lives who takes it there.

    A node that boots on without its client has the time that its server really takes.
    """
    left: list[str] = []

    async def is_settled() -> bool:
        await service.look()
        nodes = service.context.store.nodes()
        left[:] = [
            f"{record.name} is {record.status} with nodes"
            f" {[node.status for node in nodes if node.deployment == record.id]}"
            for record in bench.records()
            if record.status in PASSING
        ]
        return not left

    try:
        await waiting.until(is_settled, within_s=SETTLES_S)
    except TimeoutError as err:
        raise AssertionError(f"nobody takes it further: {left}") from err


def _of_ours(bench: Bench) -> list[str]:
    found: list[str] = []
    for name in bench.running():
        parsed = parse_node_name(name)
        if parsed is not None and parsed.is_of(INSTALLATION.id):
            found.append(name)
    return found


def _report(provider: str, points: int, total: int, seed: int) -> None:
    path = ROOT / "benchmarks" / "results" / "kills.jsonl"
    told = {
        "workload": "client killed at a checkpoint",
        "provider": provider,
        "kills": points,
        "checkpoints": total,
        "leaks": 0,
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
    }
    with path.open("a") as file:
        file.write(json.dumps(told) + "\n")
