"""Stops, starts and restarts the nodes that a deployment has, and keeps their place meanwhile.

A client that fails in the middle, or is interrupted, gives its work up: whoever looks next takes it
further, as that of a client which has died.
Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.adoption import require_known
from conduit_nb.deployments.intent import end_of_money
from conduit_nb.deployments.money import rate_of
from conduit_nb.deployments.owners import NOBODY, at_work, this_process
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import ConduitError, DeploymentEndedError, DeploymentError
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.together import Outcome, each


async def stop(tools: Tools, record: DeploymentRecord) -> DeploymentRecord:
    """Stop every node; DeploymentError where a provider cannot, before anything is changed."""
    found = await tools.read(tools.store.nodes, record.id)
    for node in found:
        if not tools.provider(node.provider).capabilities.can_stop:
            raise DeploymentError(
                f"{node.provider} cannot stop {record.name}, only end it.",
                hint=f"Terminate it: %conduit terminate {record.name}.",
            )
    with at_work(record.id):
        record = await tools.set_deployment(record, status="stopping", owner=this_process())
        async with _given_up_on_failure(tools, record):
            outcome = await each({node.name: node_work.stop(tools, node) for node in found})
            await require_done(tools, record, outcome, f"Stopping {record.name}")
    return await tools.set_deployment(record, status="stopped")


async def start(tools: Tools, record: DeploymentRecord, lease: timedelta) -> DeploymentRecord:
    """Start what was stopped; SpendCapError, before anything is changed, without money for it."""
    found = await tools.read(tools.store.nodes, record.id)
    require_known(record, found)
    for node in found:
        await end_of_money(tools, node)
    until = tools.clock() + lease
    with at_work(record.id):
        record = await tools.set_deployment(
            record, status="launching", lease_until=until, owner=this_process()
        )
        async with _given_up_on_failure(tools, record):
            outcome = await each(
                {node.name: node_work.boot_again(tools, record, node, "start") for node in found}
            )
            await require_done(tools, record, outcome, f"Starting {record.name}")
    return await tools.set_deployment(record, status="running")


async def restart(tools: Tools, record: DeploymentRecord) -> DeploymentRecord:
    """Restart the programs of all nodes, one after another, past those that fail."""
    found = await tools.read(tools.store.nodes, record.id)
    require_known(record, found)
    one_at_a_time = asyncio.Lock()  # so that the others answer meanwhile

    async def again(node: NodeRecord) -> NodeRecord:
        async with one_at_a_time:
            return await node_work.boot_again(tools, record, node, "restart")

    with at_work(record.id):
        async with _given_up_on_failure(tools, record):
            outcome = await each({node.name: again(node) for node in found})
            await require_done(tools, record, outcome, f"Restarting {record.name}")
    return record


async def require_done(
    tools: Tools, record: DeploymentRecord, outcome: Outcome[NodeRecord], what: str
) -> None:
    """Raise what has failed for nodes of a deployment, with what those still cost."""
    if not outcome.failures:
        return
    nodes = await tools.read(tools.store.nodes, record.id)
    failed = [node for node in nodes if node.name in outcome.failures]
    outcome.require_done(what, usd_per_hour=sum(map(rate_of, failed)))


@asynccontextmanager
async def _given_up_on_failure(tools: Tools, record: DeploymentRecord) -> AsyncGenerator[None]:
    """Leave what this process has begun, and cannot finish, to others."""
    try:
        yield
    except BaseException:
        with suppress(ConduitError):  # else only this process takes it further
            await give_up(tools, record)
        raise


async def give_up(tools: Tools, record: DeploymentRecord) -> None:
    """Write that this process does not work on a deployment and its nodes any more."""
    fresh = await tools.read(tools.store.deployment, record.id)
    if fresh is not None and fresh.owner == this_process():
        with suppress(DeploymentEndedError):
            await tools.set_deployment(fresh, owner=NOBODY)
    for node in await tools.read(tools.store.nodes, record.id):
        if node.owner == this_process():
            with suppress(DeploymentEndedError):
                await tools.set_node(node, owner=NOBODY)
