"""Brings the state and the providers together, whatever has died in between.

What a provider lists is matched by name. Nothing is believed at the first look: a list may lag, so
a node counts as gone only when it was missing for longer than that. Nodes of other installations
are never touched.
Layer 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments.context import Context, ahead_of, is_given_up
from conduit_nb.errors import (
    ConduitError,
    DeploymentEndedError,
    MissingExtraError,
    ProviderKeyMissingError,
    SpendCapError,
    StateConflictError,
    StorageError,
)
from conduit_nb.providers.base import Node, NodeStatus, Provider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.state.records import DeploymentRecord, NodeRecord, NodeState
from conduit_nb.together import each

FOREIGN_OWNER_AFTER = timedelta(minutes=30)
"""An owner on another machine, whom nobody here can see, is given up on so long after its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look came to: nodes that nobody wanted and that were ended, and what failed.

    `failures` has the errors by the name of a provider, a node or a deployment. `of_other_states`
    are nodes of this installation that this state has not made, and that were left alone. `unseen`
    has why a provider or a node could not be looked at, whether that is a failure or not.
    """

    ended: list[str] = field(default_factory=list[str])
    of_other_states: list[str] = field(default_factory=list[str])
    failures: dict[str, ConduitError] = field(default_factory=dict[str, ConduitError])
    unseen: dict[str, ConduitError] = field(default_factory=dict[str, ConduitError])


async def reconcile(
    context: Context,
    *,
    ends_unknown: bool = False,
    of_any_state: bool = False,
    tells_unseen: bool = True,
) -> Looked:
    """Look at every provider that may have something of ours, past all that fails.

    `ends_unknown` ends nodes of this state whose rows are lost, too, and with `of_any_state` every
    node of this installation that no row of this state names. What fails is told, and left for the
    next look; it is no failure where the state names no node and nothing can be billed: at a
    provider that was never set up here, or that is free. Whoever looks again and again shows what
    cannot be seen itself, with `tells_unseen` off.
    """
    await context.opened()
    unsettled = await _charged(context)
    named = {
        node.provider
        for node in await _own_nodes(context)
        if node.is_live or _ended_recently(context, node) or node.name in unsettled
    }
    names = named | {*context.provider_names()} if ends_unknown else named
    looked = Looked()
    for name in sorted(names):
        try:
            provider = context.provider(name)
            await _reconcile_provider(context, provider, ends_unknown, of_any_state, looked)
        except (MissingExtraError, ProviderKeyMissingError) as err:
            if name in named:
                looked.unseen[name] = looked.failures[name] = err
        except ConduitError as err:
            looked.unseen[name] = err
            if name in named or context.provider(name).capabilities.is_billable:
                looked.failures[name] = err
    if tells_unseen:
        for name, error in looked.unseen.items():
            context.tell(f"{name} could not be looked at: {error}")
    await _settle_deployments(context, looked)
    return looked


async def _reconcile_provider(
    context: Context, provider: Provider, ends_unknown: bool, of_any_state: bool, looked: Looked
) -> None:
    every = await provider.list_nodes()
    known = {
        node.name: node for node in await _own_nodes(context) if node.provider == provider.name
    }
    listed: dict[str, Node] = {}
    twins: list[Node] = []
    for one in every:
        row = known.get(one.name)
        is_twin = row is not None and row.is_live and row.provider_id not in (None, one.id)
        if is_twin:
            twins.append(one)
        else:
            listed[one.name] = one
    for node in known.values():
        if node.is_live:
            try:
                await _look_at(context, provider, node, listed.get(node.name))
            except StorageError:
                raise
            except ConduitError as err:
                looked.unseen[node.name] = looked.failures[node.name] = err
    for twin in twins:
        try:
            if await node_work.end_twin(context, twin.name, twin):
                looked.ended.append(twin.name)
        except ConduitError as err:
            second = f"The second node {twin.name} ({twin.id})"
            context.tell(f"{second} could not be terminated and charged: {err}")
            looked.failures[twin.name] = err
    for name in await _charged(context):
        row = known.get(name)
        if row is not None and not row.is_live and name not in listed:
            await node_work.end_late(context, row, None)
    state_id = await context.read(context.store.state_id)
    for name, found in listed.items():
        parsed = parse_node_name(name)
        row = known.get(name)
        if parsed is None or (row is None and not parsed.is_of(context.installation.id)):
            continue
        if row is None and ends_unknown and not of_any_state and not parsed.is_of_state(state_id):
            looked.of_other_states.append(name)
        elif (row is None and ends_unknown) or (row is not None and not row.is_live):
            # Its row says that it has ended, and there it is: a create call came late.
            try:
                if row is None:
                    await context.call("terminate", provider.terminate(name, found.id))
                elif not await node_work.end_late(context, row, found):
                    continue
            except ConduitError as err:
                context.tell(f"{name} could not be terminated: {err}")
                looked.failures[name] = err
            else:
                looked.ended.append(name)


async def _own_nodes(context: Context) -> list[NodeRecord]:
    """Return every node, ended ones too, of this installation: others may share the database."""
    records = await context.read(
        context.store.deployments, context.installation.id, live_only=False
    )
    own = {record.id for record in records}
    nodes = await context.read(context.store.nodes, live_only=False)
    return [node for node in nodes if node.deployment in own]


async def _charged(context: Context) -> set[str]:
    """Return the names of nodes that are charged now, also of those that have ended."""
    charges = await context.read(context.store.charges, since=context.clock())
    return {one.node for one in charges if one.end is None}


async def _look_at(
    context: Context, provider: Provider, node: NodeRecord, found: Node | None
) -> None:
    """Take a node as far as what the provider knows of it allows."""
    try:
        if node.status in ("launching", "booting") and not _is_abandoned(context, node):
            return  # somebody is at work on it
        if node.status == "terminating":
            await node_work.end(context, node, why=node.detail)
            return
        if node.provider_id is not None and (found is None or not _is_as_written(node, found)):
            # A list may be older than what has happened since: the node itself is asked.
            found = await provider.describe(node.name, node.provider_id)
            if found is not None and found.status == "gone":
                found = None
        if found is None:
            await _missing(context, provider, node)
        else:
            await _present(context, provider, node, found)
    except DeploymentEndedError:
        return  # another client has just changed it


def _is_as_written(node: NodeRecord, found: Node) -> bool:
    """Say whether an entry of a list is what the state has of the node: its status and price."""
    if found.status not in AS_WRITTEN.get(node.status, ()):
        return False
    rate = found.usd_per_hour
    return node.status == "stopped" or rate is None or node_work.is_same_price(rate, node)


async def _missing(context: Context, provider: Provider, node: NodeRecord) -> None:
    """Note that a node is missing; take it for gone when it has been so for long enough."""
    now = context.clock()
    if node.status == "launching":
        if now >= node_work.settled_at(provider, node):
            await provider.terminate(node.name)  # no list may show what was only half made
            await context.set_node(node, status="failed", detail="never came to be", ended_at=now)
        return
    since = node.missing_since
    if since is None:
        node = await context.set_node(node, missing_since=now)
        since = now
    lag = timedelta(seconds=provider.capabilities.list_lag_s)
    if now >= since + lag:
        await context.set_node(
            node,
            status="lost",
            detail="it has vanished from its provider",
            ended_at=now,
            end_charge=True,
            at=since,
        )


async def _present(context: Context, provider: Provider, node: NodeRecord, found: Node) -> None:
    """Write what the provider knows of a node, and end what nobody will take further."""
    node = await _by_this_clock(context, provider, node, found)
    if node.missing_since is not None:
        node = await context.set_node(node, missing_since=None)
    record = await context.read(context.store.deployment, node.deployment)
    assert record is not None, "a node has a deployment"
    if node.status == "launching":
        node = await node_work.confirm(context, node, found)
    if node.status in ("booting", "running"):
        try:
            node = await node_work.reprice(context, record, node, found, set())
        except SpendCapError as err:
            await node_work.end_at_last(context, node, why=str(err))
            return
    if (why := _why_end(context, provider, record, node)) is not None:
        await node_work.end(context, node, why=why)
    elif found.status == "unknown":
        context.tell(f"{node.name} is {found.detail} at {node.provider}. Waiting.")
    elif node.status == "stopped" and found.status in ("starting", "running"):
        await _stop_again(context, node)
    elif found.status == "failed":
        await node_work.end(context, node, why=f"the provider says: {found.detail}")
    elif found.status == "stopped" and node.status == "booting" and node.ready_at is None:
        # It has ended by itself, at its deadline or before: there is nothing in it to keep.
        why = str(await node_work.boot_error(context, node, found))
        await node_work.end(context, node, why=why)
    elif found.status == "stopped" and node.status in ("running", "booting", "stopping"):
        await context.set_node(node, status="stopped", charge="stopped", at=context.clock())
    elif node.status == "booting":
        await _boot_on(context, provider, record, node, found)
    elif found.url != node.url:
        await context.set_node(node, url=found.url)


def _why_end(
    context: Context, provider: Provider, record: DeploymentRecord, node: NodeRecord
) -> str | None:
    """Say why a node is to end now, whatever its provider says of it."""
    now = _now(context, provider)
    if not record.is_live or record.status == "terminating":
        return "its deployment has ended"
    if now >= record.lease_until:
        return "its lease is over"
    if context.clock() >= record.lease_until:
        node_work.tell_clock(context, provider)
    is_up = node.status in ("booting", "running")
    return "its money is spent" if is_up and now >= (node.not_after or now + LATE) else None


async def _stop_again(context: Context, node: NodeRecord) -> None:
    """Stop what was taken for stopped and runs; it has cost as one that runs since then."""
    charges = await context.read(context.store.charges, node.deployment)
    since = max((one.begin for one in charges if one.node == node.name), default=context.clock())
    try:
        node = await context.write(
            context.store.update_node, node, status="stopping", charge="running", at=since
        )
    except StateConflictError:
        return  # somebody has just started it
    context.tell(f"{node.name} was stopped, and runs at {node.provider}. Stopping it again.")
    await node_work.stop(context, node)


def _now(context: Context, provider: Provider) -> datetime:
    """Return the time by which a limit is over: the provider's, where this clock is ahead of it.

    A clock that has jumped (a laptop that slept, its virtual machine) ends nothing before its time;
    a node's guard ends it in time, whatever is thought here.
    """
    now = context.clock()
    ahead = ahead_of(provider, now)
    return now - ahead if AHEAD_AFTER <= ahead < AHEAD_AT_MOST else now


async def _by_this_clock(
    context: Context, provider: Provider, node: NodeRecord, found: Node
) -> NodeRecord:
    """Correct moments that a clock wrote which was ahead: nothing begins in the future."""
    ahead = node.created_at - context.clock()
    if ahead < AHEAD_AFTER or ahead_of(provider, context.clock()) <= -AHEAD_AFTER:
        return node  # or it is this clock that is behind
    began = min(found.started_at or context.clock(), context.clock())
    shift = node.created_at - began
    context.tell(f"{node.name} was started by a clock that was ahead. Its times are corrected.")
    record = await context.read(context.store.deployment, node.deployment)
    if record is not None and record.created_at - context.clock() >= AHEAD_AFTER:
        await context.set_deployment(
            record, created_at=record.created_at - shift, lease_until=record.lease_until - shift
        )
    is_stopped = node.status in ("stopped", "launching")
    charge = {} if is_stopped else {"charge": "running", "at": began}
    return await context.set_node(
        node,
        created_at=began,
        boot_until=node.boot_until - shift,
        not_after=node.not_after - shift if node.not_after is not None else None,
        ready_at=node.ready_at - shift if node.ready_at is not None else None,
        **charge,
    )


async def _boot_on(
    context: Context, provider: Provider, record: DeploymentRecord, node: NodeRecord, found: Node
) -> None:
    """Take over a node whose client has died while it booted."""
    if found.url != node.url:
        node = await context.set_node(node, url=found.url)
    if found.status == "running" and await node_work.answers(context, record, node):
        await context.set_node(node, status="running", ready_at=context.clock())
    elif _now(context, provider) >= node.boot_until:
        await node_work.end(context, node, why="it was not ready by its deadline")


async def _settle_deployments(context: Context, looked: Looked) -> None:
    """Give deployments the state that their nodes leave them."""
    for record in await context.read(context.store.deployments, context.installation.id):
        nodes = await context.read(context.store.nodes, record.id)
        by_state: Mapping[str, int] = {node.status: 1 for node in nodes}
        try:
            if not nodes:
                await _settle_empty(context, record)
            elif record.status in ("launching", "stopping") and is_given_up(
                record.owner, record.id
            ):
                await _take_further(context, record, nodes)
            elif record.status == "running" and by_state.keys() == {"stopped"}:
                # By themselves, as when nobody asks for long: whoever asks next starts them again.
                await _has_stopped(context, record)
            elif record.status == "terminating":
                await _end_all(context, record, nodes)
            elif "stopped" not in by_state and _is_lease_over(context, record, nodes):
                record = await context.set_deployment(
                    record, status="terminating", detail="its lease is over"
                )
                await _end_all(context, record, nodes)
        except StorageError:
            raise
        except DeploymentEndedError:
            continue
        except ConduitError as err:
            context.tell(f"{record.name} could not be taken further: {err}")
            looked.failures[record.name] = err


def _is_lease_over(context: Context, record: DeploymentRecord, nodes: list[NodeRecord]) -> bool:
    if context.clock() < record.lease_until:
        return False
    providers = {node.provider: context.provider(node.provider) for node in nodes}
    return all(_now(context, one) >= record.lease_until for one in providers.values())


async def _end_all(context: Context, record: DeploymentRecord, nodes: list[NodeRecord]) -> None:
    outcome = await each({node.name: node_work.end(context, node) for node in nodes})
    outcome.require_done(f"Terminating {record.name}")
    if not any(node.is_live for node in outcome.done.values()):
        await context.set_deployment(record, status="terminated", ended_at=context.clock())


async def _take_further(
    context: Context, record: DeploymentRecord, nodes: list[NodeRecord]
) -> None:
    """Finish what a client had begun that died while it started or stopped a deployment."""
    states = {node.status for node in nodes}
    if record.status == "stopping" and states <= {"running", "booting", "stopping", "stopped"}:
        outcome = await each({node.name: node_work.stop(context, node) for node in nodes})
        outcome.require_done(f"Stopping {record.name}")
        await context.set_deployment(record, status="stopped")
    elif record.status == "launching" and states == {"stopped"}:
        await _has_stopped(context, record)  # not one had been started: it costs what it cost
    elif record.status == "launching" and states <= {"running", "stopped"}:
        await context.set_deployment(record, status="running")


async def _has_stopped(context: Context, record: DeploymentRecord) -> None:
    for status in ("running", "stopping", "stopped"):
        record = await context.set_deployment(record, status=status)


async def _settle_empty(context: Context, record: DeploymentRecord) -> None:
    """End a deployment that has no node left, unless its first is just about to be written."""
    now = context.clock()
    if record.status == "terminating":
        await context.set_deployment(record, status="terminated", ended_at=now)
        return
    every = await context.read(context.store.nodes, record.id, live_only=False)
    gone = is_given_up(record.owner, record.id)
    nobody_works = now >= record.created_at + FOREIGN_OWNER_AFTER if gone is None else gone
    if record.status == "launching" and not nobody_works:
        return  # between two nodes, or before the first
    why = every[-1].detail if every else "its client has died before it started anything"
    await context.set_deployment(record, status="failed", ended_at=now, detail=why)


def _is_abandoned(context: Context, node: NodeRecord) -> bool:
    gone = is_given_up(node.owner, node.deployment)
    if gone is None:
        return context.clock() >= node.created_at + FOREIGN_OWNER_AFTER
    return gone


def _ended_recently(context: Context, node: NodeRecord) -> bool:
    """Say whether a create call that was given up might still take effect."""
    if node.is_live or node.ended_at is None:
        return False
    try:
        lag = timedelta(seconds=context.provider(node.provider).capabilities.list_lag_s)
    except ConduitError:  # a package that is not installed here (any more) has brought it
        return False
    # One that nobody has ever seen may have been created all the same, and show up any time.
    late = LATE if node.provider_id is not None else VERY_LATE
    return context.clock() < node.ended_at + 2 * lag + late


AS_WRITTEN: Mapping[NodeState, tuple[NodeStatus, ...]] = {
    "booting": ("starting", "running"),
    "running": ("running",),
    "stopped": ("stopped",),
}
"""What a provider says of a node that is in a state: anything else is looked at again."""
LATE, VERY_LATE = timedelta(minutes=5), timedelta(hours=1)
AHEAD_AFTER, AHEAD_AT_MOST = timedelta(seconds=60), timedelta(days=1)
