"""Stops, starts and restarts the nodes that a deployment has, and keeps their place meanwhile.

A client that fails in the middle, or is interrupted, gives its work up: whoever looks next takes it
further, as that of a client which has died.
Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.adoption import require_known
from conduit_nb.deployments.intent import end_of_money
from conduit_nb.deployments.owners import NOBODY, this_process
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import DeploymentEndedError, DeploymentError
from conduit_nb.state.records import DeploymentRecord


async def stop(tools: Tools, record: DeploymentRecord) -> DeploymentRecord:
    """Stop every node; DeploymentError where a provider cannot, before anything is changed."""
    found = await tools.read(tools.store.nodes, record.id)
    for node in found:
        if not tools.provider(node.provider).capabilities.can_stop:
            raise DeploymentError(
                f"{node.provider} cannot stop {record.name}, only end it.",
                hint=f"Terminate it: %conduit terminate {record.name}.",
            )
    record = await tools.set_deployment(record, status="stopping", owner=this_process())
    async with _given_up_on_failure(tools, record):
        await _together(node_work.stop(tools, node) for node in found)
    return await tools.set_deployment(record, status="stopped")


async def start(tools: Tools, record: DeploymentRecord, lease: timedelta) -> DeploymentRecord:
    """Start what was stopped; SpendCapError, before anything is changed, without money for it."""
    found = await tools.read(tools.store.nodes, record.id)
    require_known(record, found)
    for node in found:
        await end_of_money(tools, node)
    record = await tools.set_deployment(
        record, status="launching", lease_until=tools.clock() + lease, owner=this_process()
    )
    async with _given_up_on_failure(tools, record):
        await _together(node_work.boot_again(tools, record, node, "start") for node in found)
    return await tools.set_deployment(record, status="running")


async def restart(tools: Tools, record: DeploymentRecord) -> DeploymentRecord:
    """Start the programs of all nodes anew, one after another."""
    found = await tools.read(tools.store.nodes, record.id)
    require_known(record, found)
    async with _given_up_on_failure(tools, record):
        for node in found:
            await node_work.boot_again(tools, record, node, "restart")
    return record


async def _together(works: Iterable[Awaitable[object]]) -> None:
    """Do all at once and see each to its end; then raise the first error, if there is one."""
    for done in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done


@asynccontextmanager
async def _given_up_on_failure(tools: Tools, record: DeploymentRecord) -> AsyncGenerator[None]:
    """Leave what this process has begun, and cannot finish, to others."""
    try:
        yield
    except BaseException:
        fresh = await tools.read(tools.store.deployment, record.id)
        if fresh is not None and fresh.owner == this_process():
            with suppress(DeploymentEndedError):
                await tools.set_deployment(fresh, owner=NOBODY)
        for node in await tools.read(tools.store.nodes, record.id):
            if node.owner == this_process():
                with suppress(DeploymentEndedError):
                    await tools.set_node(node, owner=NOBODY)
        raise
