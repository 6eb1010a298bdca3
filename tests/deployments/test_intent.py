"""deployments/intent.py: a place is taken once, and the guard keeps the node's own deadlines."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.intent import Slot, intend, launch_spec
from conduit_nb.errors import StateConflictError
from tests.deployments.deployed import Bench, request


async def test_a_place_is_taken_once_and_what_takes_it_has_its_deadlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    bench = Bench(tmp_path)
    manager, tools = bench.manager(), bench.tools()
    await (await manager.ensure(request())).aclose()
    (record,) = await manager.deployments()
    (server,) = (await manager.quote(request())).servers
    candidate = server.candidates[0]

    with pytest.raises(StateConflictError):
        await intend(tools, record, Slot(replica=0, server=server), candidate)
    slot = Slot(replica=1, server=server)
    node = await intend(tools, record, slot, candidate)
    spec = launch_spec(tools, record, slot, candidate, node)

    assert (node.status, node.attempt, node.budget_usd) == ("launching", 2, None)
    assert node in tools.store.nodes(record.id)
    assert spec.name == node.name
    assert spec.guard is not None
    assert spec.guard.boot_until == node.boot_until
    assert spec.guard.lease_until == record.lease_until
    assert spec.guard.not_after is None  # what costs nothing may run as long as its lease
    await node_work.end(tools, node)
    await manager.terminate(record.id)
