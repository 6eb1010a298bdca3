"""deployments/context.py: states follow the table, and somebody else's change is no obstacle."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_nb.errors import DeploymentEndedError
from tests.deployments.deployed import Bench
from tests.state.stores import NOW, deployment, node


async def test_a_change_is_made_on_what_another_client_has_changed_meanwhile(tmp_path: Path):
    context = Bench(tmp_path).context()
    read = context.store.insert_node(node())
    context.store.update_node(read, url="http://elsewhere")

    changed = await context.set_node(read, status="booting")

    assert (changed.status, changed.url) == ("booting", "http://elsewhere")


async def test_what_has_ended_meanwhile_is_not_brought_back(tmp_path: Path):
    context = Bench(tmp_path).context()
    read = context.store.insert_node(node())
    record = context.store.insert_deployment(deployment())
    context.store.update_node(read, status="failed", ended_at=NOW)
    context.store.update_deployment(record, status="failed", ended_at=NOW)

    with pytest.raises(DeploymentEndedError, match=r"\bfailed\b.*\bbooting\b"):
        await context.set_node(read, status="booting")
    with pytest.raises(DeploymentEndedError, match=r"\bfailed\b.*\brunning\b"):
        await context.set_deployment(record, status="running")


async def test_every_write_and_call_has_a_checkpoint_before_and_after(tmp_path: Path):
    passed: list[str] = []
    context = Bench(tmp_path, checkpoint=passed.append).context()

    async def called() -> int:
        return 7

    await context.write(context.store.insert_node, node())
    assert await context.call("launch", called()) == 7

    assert passed == ["before insert_node", "after insert_node", "before launch", "after launch"]
