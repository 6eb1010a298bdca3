"""The nodes of one deployment: started, completed, made more or fewer, and ended together."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.boot import endpoint_of
from conduit_nb.deployments.context import NOBODY, Context, this_process
from conduit_nb.deployments.intent import Slot
from conduit_nb.deployments.money import rate_of
from conduit_nb.deployments.quote import Quote
from conduit_nb.deployments.routing import RoutedEndpoint, Server
from conduit_nb.errors import (
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    PartlyFailedError,
    StateConflictError,
    StorageError,
)
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.together import Outcome, all_or_none, each

REPLICAS_OF_A_SERVER = 100
"""Numbers of replicas that each server of a deployment has: the second begins at 100."""


async def launch(context: Context, record: DeploymentRecord, quote: Quote) -> DeploymentRecord:
    """Fill every place; where one cannot be filled, everything ends."""
    try:
        slots = await _missing(context, record, quote)
        await all_or_none(*(node_work.fill(context, record, slot) for slot in slots))
        return await context.set_deployment(record, status="running")
    except BaseException as err:
        is_error = isinstance(err, ConduitError)
        why = str(err) if is_error else "it was stopped while it started"
        await end_at_last(context, record, why=why)
        raise


async def is_whole(context: Context, record: DeploymentRecord) -> bool:
    """Say whether every replica has its node."""
    runtime = context.runtime(record.runtime)
    count = len(record.request.models) if runtime.models_per_server == 1 else 1
    found = await context.read(context.store.nodes, record.id)
    return len(found) >= count * record.wanted_replicas


async def refill(
    context: Context, record: DeploymentRecord, quote: Quote
) -> DeploymentRecord | None:
    """Start what is missing of a deployment: a node has vanished, or more are wanted.

    What runs stays whatever fails. None where somebody else has just changed the deployment.
    """
    try:
        # Not by set_deployment: who is second must not take the work of who was first.
        record = await context.write(
            context.store.update_deployment, record, status="launching", owner=this_process()
        )
    except StateConflictError:
        return None
    try:
        failures = await _fill_missing(context, record, quote)
    except BaseException:
        await _settle_refill(context, record, why="it was stopped while it was completed")
        raise
    record = await _settle_refill(context, record, why=str(failures or ""))
    if failures is not None:
        raise failures
    return record


async def grow(
    context: Context, record: DeploymentRecord, quote: Quote, count: int
) -> DeploymentRecord:
    """Start replicas until there are `count`; what has come stays where others do not."""
    before = record.wanted_replicas
    record = await context.set_deployment(record, wanted_replicas=count)
    try:
        failures = await _fill_missing(context, record, quote)
    except BaseException:
        await _set_wanted(context, record, quote, at_least=before)
        raise
    if failures is not None:
        await _set_wanted(context, record, quote, at_least=before)
        raise failures
    return record


async def shrink(context: Context, record: DeploymentRecord, count: int) -> DeploymentRecord:
    """End the replicas of the highest numbers."""
    record = await context.set_deployment(record, wanted_replicas=count)
    found = await context.read(context.store.nodes, record.id)
    surplus = [
        node
        for number in {node.replica // REPLICAS_OF_A_SERVER for node in found}
        for node in sorted(_places(found, number).values(), key=lambda one: one.replica)[count:]
    ]
    why = "fewer replicas are wanted"
    outcome = await each({node.name: node_work.end(context, node, why=why) for node in surplus})
    await require_done(context, record, outcome, f"Scaling {record.name} down")
    return record


async def end(context: Context, record: DeploymentRecord, *, why: str) -> DeploymentRecord:
    """End every node, past those that cannot be ended; what costs ends before what is written.

    Raises what has failed: what could not be ended is looked for again by every look.
    """
    unwritten: StorageError | None = None
    try:
        record = await context.set_deployment(record, status="terminating", detail=why)
    except DeploymentEndedError:
        return await _as_it_is(context, record)  # somebody else has
    except StorageError as err:
        unwritten = err
    found = await context.read(context.store.nodes, record.id)
    end_one = node_work.end if unwritten is None else node_work.end_at_provider
    outcome = await each({node.name: end_one(context, node) for node in found})
    if unwritten is not None:
        unwritten.ended = tuple(outcome.done)
        raise unwritten
    await require_done(context, record, outcome, f"Terminating {record.name}")
    if not any(node.is_live for node in outcome.done.values()):
        try:
            record = await context.set_deployment(
                record, status="terminated", ended_at=context.clock()
            )
        except DeploymentEndedError:
            record = await _as_it_is(context, record)  # who looked meanwhile has written it
    return record


async def end_at_last(context: Context, record: DeploymentRecord, *, why: str) -> None:
    """End what something else has failed for; that it cannot be ended yet is told."""
    try:
        await end(context, record, why=why)
    except ConduitError as err:
        context.tell(f"{record.name} could not be terminated yet ({err}). It is retried.")


async def endpoint(context: Context, record: DeploymentRecord) -> RoutedEndpoint:
    """Return an endpoint over all nodes that run."""
    return RoutedEndpoint(await servers(context, record), name=record.name)


async def servers(context: Context, record: DeploymentRecord) -> list[Server]:
    """Return who answers for a deployment; DeploymentError where nobody does."""
    found = [
        Server(endpoint=endpoint_of(context, record, node), models=tuple(json.loads(node.models)))
        for node in await running_nodes(context, record)
    ]
    if not found:
        raise DeploymentError(
            f"{record.name} has no node that answers.", hint="Look at %conduit ps."
        )
    return found


async def running_nodes(context: Context, record: DeploymentRecord) -> list[NodeRecord]:
    """Return the nodes of a deployment that run."""
    found = await context.read(context.store.nodes, record.id)
    return [node for node in found if node.status == "running"]


async def require_done(
    context: Context, record: DeploymentRecord, outcome: Outcome[NodeRecord], what: str
) -> None:
    """Raise what has failed for nodes of a deployment, with what those still cost."""
    if not outcome.failures:
        return
    nodes = await context.read(context.store.nodes, record.id)
    failed = [node for node in nodes if node.name in outcome.failures]
    outcome.require_done(what, usd_per_hour=sum(map(rate_of, failed)))


@asynccontextmanager
async def given_up_on_failure(context: Context, record: DeploymentRecord) -> AsyncGenerator[None]:
    """Leave what this process has begun, and cannot finish, to others.

    A client that fails in the middle, or is interrupted, gives its work up: whoever looks next
    takes it further, as that of a client which has died.
    """
    try:
        yield
    except BaseException:
        with suppress(ConduitError):  # else only this process takes it further
            await give_up(context, record)
        raise


async def give_up(context: Context, record: DeploymentRecord) -> None:
    """Write that this process does not work on a deployment and its nodes any more."""
    fresh = await context.read(context.store.deployment, record.id)
    if fresh is not None and fresh.owner == this_process():
        with suppress(DeploymentEndedError):
            await context.set_deployment(fresh, owner=NOBODY)
    for node in await context.read(context.store.nodes, record.id):
        if node.owner == this_process():
            with suppress(DeploymentEndedError):
                await context.set_node(node, owner=NOBODY)


async def _fill_missing(
    context: Context, record: DeploymentRecord, quote: Quote
) -> ConduitError | None:
    """Fill what places can be filled, and return what failed for the others."""
    outcome = await each(
        {
            f"replica {slot.replica}": node_work.fill(context, record, slot)
            for slot in await _missing(context, record, quote)
        }
    )
    failures = {
        name: error
        for name, error in outcome.failures.items()
        if not isinstance(error, StateConflictError)  # somebody else fills that place
    }
    if not failures:
        return None
    if len(failures) == 1 and not outcome.done:
        return next(iter(failures.values()))
    return PartlyFailedError(
        f"Starting replicas of {record.name}", done=tuple(outcome.done), failures=failures
    )


async def _settle_refill(
    context: Context, record: DeploymentRecord, *, why: str
) -> DeploymentRecord:
    """Let a deployment run with the nodes it has; end it where it has none."""
    try:
        if await context.read(context.store.nodes, record.id):
            record = await context.set_deployment(record, status="running")
        else:
            await end_at_last(context, record, why=why)
    except DeploymentEndedError:
        pass  # somebody has ended it meanwhile
    return record


async def _set_wanted(
    context: Context, record: DeploymentRecord, quote: Quote, *, at_least: int
) -> None:
    """Write how many replicas there are, as those that were to come have not all come."""
    found = await context.read(context.store.nodes, record.id)
    there = [len(_places(found, number)) for number in range(len(quote.servers))]
    await context.set_deployment(record, wanted_replicas=max(at_least, min(there)))


async def _missing(context: Context, record: DeploymentRecord, quote: Quote) -> list[Slot]:
    """Return places for the replicas that are missing, of the lowest numbers that are free."""
    found = await context.read(context.store.nodes, record.id)
    slots: list[Slot] = []
    for number, server in enumerate(quote.servers):
        taken = _places(found, number)
        free = (place for place in range(REPLICAS_OF_A_SERVER) if place not in taken)
        slots += [
            Slot(replica=number * REPLICAS_OF_A_SERVER + place, server=server)
            for place in islice(free, max(record.wanted_replicas - len(taken), 0))
        ]
    return slots


async def _as_it_is(context: Context, record: DeploymentRecord) -> DeploymentRecord:
    return await context.read(context.store.deployment, record.id) or record


def _places(nodes: Sequence[NodeRecord], server: int) -> dict[int, NodeRecord]:
    """Return the nodes of one server of a deployment, by their number among its replicas."""
    first = server * REPLICAS_OF_A_SERVER
    return {
        node.replica - first: node
        for node in nodes
        if first <= node.replica < first + REPLICAS_OF_A_SERVER
    }
