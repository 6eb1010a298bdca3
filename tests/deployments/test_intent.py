"""deployments/intent.py: a place is taken once, and the guard keeps the node's own deadlines."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.intent import Slot, intend, launch_spec
from conduit_nb.errors import StateConflictError
from conduit_nb.models.config import LmLiteModelConfig
from tests.deployments.deployed import Bench, rented, request
from tests.models.hub_server import Hub, hub_server
from tests.models.model_files import model_bytes


async def test_a_place_is_taken_once_and_what_takes_it_has_its_deadlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    service, context = bench.service(), bench.context()
    await service.deploy(request())
    (record,) = bench.records()
    (server,) = (await service.quote(request())).servers
    candidate = server.candidates[0]

    with pytest.raises(StateConflictError):
        await intend(context, record, Slot(replica=0, server=server), candidate)
    slot = Slot(replica=1, server=server)
    node = await intend(context, record, slot, candidate)
    spec = launch_spec(context, record, slot, candidate, node)

    assert (node.status, node.attempt, node.budget_usd) == ("launching", 2, None)
    assert node in context.store.nodes(record.id)
    assert spec.name == node.name
    assert spec.guard is not None
    assert spec.guard.boot_until == node.boot_until
    assert spec.guard.lease_until == record.lease_until
    assert spec.guard.not_after is None  # what costs nothing may run as long as its lease
    await node_work.end(context, node)
    await service.terminate(record.name)


@pytest.mark.parametrize(
    ("model", "is_referred"),
    [
        ("m/open", False),
        ("m/renamed", False),
        ("m/ggufs", False),
        ("m/gated", True),
        ("m/private", True),
        ("/models/mine", False),
    ],
)
async def test_a_pod_refers_to_the_stored_token_only_for_models_that_are_not_open(
    model: str, is_referred: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    models = {"m/open": model_bytes(), "m/gated": model_bytes(), "m/ggufs": {"a.gguf": b"GGUF"}}
    moved = {"m/renamed": "m/open"}
    with ExitStack() as stack:
        hub = stack.enter_context(hub_server(Hub(models, gated={"m/gated"}, moved=moved)))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        cloud = rented(stack, runs=False)
        bench = Bench(tmp_path, cloud=cloud)
        asked = request("runpod", models=(LmLiteModelConfig(model),))
        service, context = bench.service(), bench.context()
        await service.deploy(request())
        (record,) = bench.records()
        (server,) = (await service.quote(asked)).servers
        slot = Slot(replica=1, server=server)

        node = await node_work.create(context, record, slot, server.candidates[0])

        (call,) = (one for one in cloud.exchanges if (one.method, one.path) == ("POST", "/v2/pods"))
        environment = json.loads(call.body)["env"]
        assert environment.get("HF_TOKEN", "") == (
            "{{ RUNPOD_SECRET_hf_token }}" if is_referred else ""
        )
        assert any("hf_token" in line and model in line for line in bench.told) == is_referred
        assert "hf_mine" not in call.body.decode() + "".join(bench.told)
        await node_work.end(context, node)
        await service.terminate(record.name)
