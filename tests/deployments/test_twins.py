"""Two pods of one name: a creation that was refused, made again, and carried out all the same."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.testing.runpod_server import Fault
from tests.deployments.deployed import request
from tests.deployments.hostile_bench import HostileBench, hostile_bench

pytestmark = pytest.mark.system

WANTED = request("runpod")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileBench]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    with hostile_bench(tmp_path) as bench:
        busy = Fault(answer=429, retry_after_s=0, method="POST", path="/pods", takes_effect=True)
        bench.server.spoil(busy)
        yield bench


@pytest.mark.parametrize("at", ["after charge_twin", "after terminate"])
async def test_a_client_that_dies_while_it_ends_one_leaves_both_counted(
    bench: HostileBench, at: str
):
    await bench.service().deploy(WANTED)
    bench.clock.advance(minutes=20)

    await bench.look_and_die(at)

    bench.clock.advance(minutes=5)
    await bench.settle(looks=1)
    assert len(bench.billing()) == 1
    assert bench.counted_usd() == pytest.approx(bench.billed_usd(), rel=0.02)
    await bench.require_order()


@pytest.mark.parametrize("is_seen", [True, False])
async def test_it_is_ended_and_counted(bench: HostileBench, is_seen: bool):
    service = bench.service()
    info = await service.deploy(WANTED)
    first, second = bench.server.account.pods()
    assert first.name == second.name
    bench.clock.advance(minutes=5)

    await (service.look() if is_seen else service.terminate(info.name))

    assert (first.is_up, second.is_up) == (False, is_seen)
    assert bench.counted_usd() == pytest.approx(bench.billed_usd(), rel=0.02)
    await bench.require_order()


async def test_it_is_not_taken_for_the_node_where_it_stands_alone_in_a_list(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    first, second = bench.server.account.pods()

    def alone(body: bytes) -> bytes:
        listed = json.loads(body)["pods"]
        return json.dumps({"pods": [pod for pod in listed if pod["id"] == first.id]}).encode()

    bench.server.spoil(Fault(method="GET", path="/pods", falsify=alone))
    await service.look()

    (node,) = bench.nodes(info)
    assert (first.is_up, second.is_up) == (False, True)
    assert second.id == node.provider_id
    assert second.id in (node.url or "")
    await bench.require_order()


async def test_it_is_ended_where_nothing_can_be_written(bench: HostileBench):
    bench.url += "?timeout=0.05"
    await bench.service().deploy(WANTED)
    first, second = bench.server.account.pods()
    file = bench.folder / "state.sqlite3"
    state = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    state.execute("BEGIN IMMEDIATE")

    await bench.service().look()
    state.close()

    assert any(first.id in text and "locked" in text for text in bench.told)
    assert (first.is_up, second.is_up) == (False, True)
