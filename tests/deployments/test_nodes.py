"""deployments/nodes.py: whoever ends a node finds it ended."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from conduit_nb import settings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.money import held_usd
from conduit_nb.errors import ArgumentError
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.runtimes.base import ServerRequest
from tests.deployments.deployed import Bench, rented, request
from tests.fake_lmlite import FakeRuntime


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
    service = bench.service()
    info = await service.deploy(request())
    (node,) = bench.nodes(info)

    assert node.status == "running"
    assert node.boot_until - node.created_at > timedelta(seconds=2.9 * settings.boot_timeout_s())
    await service.terminate(info.name)


async def test_a_node_that_others_end_at_the_same_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    service = bench.service()
    context = bench.context()
    info = await service.deploy(request())
    (seen,) = bench.nodes(info)

    together = await asyncio.gather(*(node_work.end(context, seen) for _ in range(3)))
    later = await node_work.end(context, seen)  # by what was read before somebody ended it

    assert {node.status for node in (*together, later)} == {"terminated"}
    assert later.ended_at is not None
    assert bench.running() == []
    await service.terminate(info.name)


class BreaksLate(FakeRuntime):
    """Can be started as far as a quote shows, and not once there is a node to start."""

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        if parse_node_name(request.name) is not None:
            raise ArgumentError("Its image has gone.", param="image", hint="Choose another.")
        return super().launch_spec(request)


async def test_a_node_that_no_provider_was_asked_for_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    with ExitStack() as stack:
        bench = Bench(tmp_path, cloud=rented(stack), list_lag_s=60)
        service = bench.service(runtime=lambda _: BreaksLate())
        context = service.context

        with pytest.raises(ArgumentError) as caught:
            await service.deploy(request("runpod"))

        assert caught.value.param == "image"
        assert [one.status for one in context.store.nodes(live_only=False)] == ["failed"]
        assert [one.status for one in context.store.deployments(live_only=False)] == ["terminated"]
        assert held_usd(context.store.charges(), context.store.nodes(), context.clock()) == {}


async def test_a_node_that_is_stopped_while_its_image_is_fetched_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    is_fetching = asyncio.Event()

    class Fetching(LocalProvider):
        async def prepare(self, spec: LaunchSpec) -> None:
            is_fetching.set()
            await asyncio.Event().wait()

    bench.local = Fetching(state_dir=tmp_path / "nodes", grace_s=1)
    bench.local.capabilities = replace(bench.local.capabilities, list_lag_s=60.0)
    deploying = asyncio.create_task(bench.service().deploy(request()))
    await is_fetching.wait()
    deploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deploying

    store = bench.context().store
    assert [one.status for one in store.nodes(live_only=False)] == ["failed"]
    assert [one.status for one in store.deployments(live_only=False)] == ["terminated"]
