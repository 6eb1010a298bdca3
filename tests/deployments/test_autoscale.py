"""deployments/autoscale.py: nodes come when rows wait, and go when none do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from conduit_nb.compute.request import Replicas
from conduit_nb.deployments.autoscale import AutoScale
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import ChatRequest
from tests import waiting
from tests.deployments.deployed import Bench, request

SLOW: ChatRequest = {"model": "slow", "messages": [{"role": "user", "content": "x"}]}


async def test_replicas_follow_what_is_in_flight_and_what_is_asked_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    manager = bench.manager()
    wanted = request(
        models=(LmLiteModelConfig("slow", max_model_concurrency=1),),
        replicas=Replicas(least=1, most=2),
    )
    endpoint = await manager.ensure(wanted)
    scale = AutoScale(manager, wanted, endpoint, every_s=0.1)
    held = [asyncio.create_task(endpoint.chat(SLOW)) for _ in range(3)]

    await waiting.until(lambda: len(bench.running()) == 2, within_s=60)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await waiting.until(lambda: len(bench.running()) == 1, within_s=60)
    (record,) = await manager.deployments()
    assert record.wanted_replicas == 1
    await manager.terminate(record.name)
    await waiting.until(lambda: scale.is_over)
    await endpoint.aclose()

    assert bench.running() == []
