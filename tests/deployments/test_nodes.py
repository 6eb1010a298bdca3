"""deployments/nodes.py: whoever ends a node finds it ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from conduit_nb import settings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.deployments import nodes as node_work
from conduit_nb.providers.local import LocalProvider
from tests.deployments.deployed import Bench, request


async def test_what_has_to_be_fetched_first_takes_nothing_from_the_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)

    class Fetching(LocalProvider):
        async def prepare(self, spec: LaunchSpec) -> None:
            assert spec.name.startswith("conduit-")
            bench.clock.advance(seconds=2 * settings.boot_timeout_s())

    bench.local = Fetching(state_dir=tmp_path / "nodes", grace_s=1)
    manager = bench.manager()
    record = await manager.deploy(request())
    (node,) = bench.context().store.nodes(record.id)

    assert node.status == "running"
    assert node.boot_until - node.created_at > timedelta(seconds=2.9 * settings.boot_timeout_s())
    await manager.terminate(record.id)


async def test_a_node_that_others_end_at_the_same_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    manager = bench.manager()
    endpoint = await manager.ensure(request())
    await endpoint.aclose()
    context = bench.context()
    (record,) = await manager.deployments()
    (seen,) = context.store.nodes(record.id)

    together = await asyncio.gather(*(node_work.end(context, seen) for _ in range(3)))
    later = await node_work.end(context, seen)  # by what was read before somebody ended it

    assert {node.status for node in (*together, later)} == {"terminated"}
    assert later.ended_at is not None
    assert bench.running() == []
    await manager.terminate(record.id)
