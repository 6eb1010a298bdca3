"""Nodes that no row of the state names: those of other installations, and ours whose row is lost.

They are shown and never touched, until somebody adopts one: then it is a deployment like any
other, whose money counts from that moment. It keeps the key that it was started with, so only a
client with the same secret can ask it; any other can stop and end it.
Layer 4.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from conduit_nb import settings
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.context import Context, this_process
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.intent import money_left
from conduit_nb.deployments.lease import GuardTold, ask_guard
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DeploymentError,
    EndpointError,
    StateConflictError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.base import Node
from conduit_nb.providers.naming import NodeName, parse_node_name
from conduit_nb.spelling import nearest
from conduit_nb.state.ledger import lasts
from conduit_nb.state.records import DeploymentRecord, NodeRecord

LOOK_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 5.0
OTHER_KEY = "it answers to another key: it can be stopped and ended, not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """A node that no live row names; `is_ours` where this installation has made it.

    One installation may have several states (CONDUIT_DB_URI); `is_of_this_state` tells whose it is.
    """

    node: Node
    name: NodeName
    is_ours: bool
    is_of_this_state: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a node's own server says to our key."""

    models: tuple[str, ...]
    is_lmlite: bool
    guard: GuardTold | None


async def unclaimed(context: Context) -> list[Unclaimed]:
    """Ask every provider at once; one that does not answer in time is left out."""
    await context.opened()
    state_id = await context.read(context.store.state_id)
    rows = await context.read(context.store.nodes)
    named = {row.name for row in rows}
    lists = await asyncio.gather(*(_listed(context, name) for name in context.provider_names()))
    found: list[Unclaimed] = []
    for node in (one for listed in lists for one in listed):
        name = parse_node_name(node.name)
        if name is not None and node.name not in named and node.status != "gone":
            is_ours = name.is_of(context.installation.id)
            is_of_state = name.is_of_state(state_id)
            found.append(
                Unclaimed(node=node, name=name, is_ours=is_ours, is_of_this_state=is_of_state)
            )
    return found


def to_orphan(one: Unclaimed) -> DeploymentInfo:
    """Return a node that no deployment names as people are told of it."""
    whose = "of another installation"
    if one.is_ours:
        whose = "no row names it, cleanup terminates it"
        if not one.is_of_this_state:
            whose = "of another state of this installation, cleanup --force terminates it"
    return DeploymentInfo(
        name=one.node.name,
        provider=one.node.provider,
        runtime="",
        status=one.node.status,
        url=one.node.url,
        started_at=one.node.started_at,
        usd_per_hour=one.node.usd_per_hour,
        detail=f"{whose}; attach takes it over",
    )


async def terminate_orphan(context: Context, name: str) -> DeploymentInfo | None:
    """Terminate a node of ours whose row is lost, by its own name; None where there is none."""
    if parse_node_name(name) is None:
        return None
    for one in await unclaimed(context):
        if one.node.name == name and one.is_ours:
            await context.provider(one.node.provider).terminate(name, one.node.id)
            return replace(to_orphan(one), status="terminated", usd_per_hour=0.0, detail="")
    return None


async def adopt(context: Context, name: str) -> DeploymentRecord:
    """Write the node of that name into the state, and return the deployment that it is now.

    Nodes of one deployment become one again. Raises ArgumentError where there is none to adopt.
    """
    await context.opened()
    row = await context.read(context.store.node, name)
    if row is not None and row.is_live:
        owner = await context.read(context.store.deployment, row.deployment)
        raise ArgumentError(
            f"{name} is in this state already, as a node of"
            f" {owner.name if owner is not None else row.deployment}.",
            param="name",
            hint="It stands in %conduit ps; use it as it is.",
        )
    found = await unclaimed(context)
    one = next((one for one in found if one.node.name == name), None)
    if one is None or row is not None:
        names = [one.node.name for one in found]
        raise ArgumentError(
            f"No provider has a node {name!r} that could be adopted.",
            param="name",
            hint=nearest(
                name, names, then=f"There are: {', '.join(names) or 'none, see %conduit ps'}."
            ),
        )
    record = await _record(context, one)
    told = await _ask(context, one.node, record.id) if one.node.status == "running" else None
    node = await _node(context, one, record, told)  # first: it may raise
    if await context.read(context.store.deployment, record.id) is None:
        record = _described(record, told)
        await context.write(context.store.insert_deployment, record)
    try:
        await context.write(
            context.store.insert_node,
            node,
            charge="stopped" if node.status == "stopped" else "running",
        )
    except StateConflictError as err:
        raise ArgumentError(
            f"{record.name} has its node number {one.name.replica} already.",
            param="name",
            hint="End one of them: %conduit ps shows both.",
        ) from err
    return record


def require_known(record: DeploymentRecord, nodes: Sequence[NodeRecord]) -> None:
    """Raise DeploymentError where a node was adopted without its key: nobody could see it ready."""
    if any(node.detail == OTHER_KEY for node in nodes):
        raise DeploymentError(
            f"{record.name} answers to the key of another installation, so that nobody here can"
            " see when it is ready.",
            hint=f"Let its owner do so, or end it: %conduit terminate {record.name}.",
        )


async def _listed(context: Context, provider: str) -> list[Node]:
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await context.provider(provider).list_nodes()
    except (ConduitError, TimeoutError):
        return []  # `doctor` tells what is wrong with it


async def _record(context: Context, one: Unclaimed) -> DeploymentRecord:
    """Return the deployment that the node belongs to: one that lives, else a new one."""
    known = await context.read(context.store.deployment, one.name.deployment)
    if known is not None and known.installation != context.installation.id:
        raise ArgumentError(
            f"{one.node.name} belongs to another installation that shares this database.",
            param="name",
            hint="Let its owner end it there.",
        )
    if known is not None and known.is_live:
        return known
    alphabet = string.ascii_lowercase + string.digits
    now = context.clock()
    # Its key comes from its id, so it keeps that.
    taken = known is not None
    new = "".join(secrets.choice(alphabet) for _ in range(8)) if taken else one.name.deployment
    return DeploymentRecord(
        id=new,
        installation=context.installation.id,
        key=hashlib.sha256(f"adopted {one.node.name}".encode()).hexdigest(),
        name=f"adopted-{new}",
        runtime="custom",
        provider=one.node.provider,
        request=DeploymentRequest(runtime="custom", provider=one.node.provider),
        status="stopped" if one.node.status == "stopped" else "running",
        created_at=now,
        lease_until=now + timedelta(seconds=settings.lease_s()),
        idle_s=settings.idle_s(),
        max_usd=context.caps().deployment_usd,
        wanted_replicas=1,
        owner=this_process(),
    )


def _described(record: DeploymentRecord, told: _Told | None) -> DeploymentRecord:
    """Complete a new record by what its node says of itself."""
    runtime = "lmlite" if told is not None and told.is_lmlite else "custom"
    models = told.models if told is not None else ()
    request = DeploymentRequest(
        models=tuple(LmLiteModelConfig(model) for model in models),
        runtime=runtime,
        provider=record.provider,
        name=record.name,
    )
    lease = told.guard.lease_until if told is not None and told.guard else record.lease_until
    return replace(record, runtime=runtime, request=request, lease_until=lease)


async def _node(
    context: Context, one: Unclaimed, record: DeploymentRecord, told: _Told | None
) -> NodeRecord:
    now, found = context.clock(), one.node
    if found.usd_per_hour is None and context.provider(found.provider).capabilities.is_billable:
        raise DeploymentError(
            f"{found.provider} does not say what {found.name} costs, so it cannot have a budget.",
            hint=f"Try again later, or end it: %conduit terminate {found.name}.",
        )
    rate = found.usd_per_hour or 0.0
    is_stopped = found.status == "stopped"
    budget, _ = await money_left(context, record) if rate > 0 else (None, ())
    limits = [told.guard.not_after] if told is not None and told.guard else []
    lifetime = lasts(budget, rate) if budget is not None and not is_stopped else None
    if lifetime is not None:
        limits.append(now + lifetime)
    has_our_key = told is not None or (
        is_stopped and one.is_ours and record.id == one.name.deployment
    )
    return NodeRecord(
        name=found.name,
        deployment=record.id,
        replica=one.name.replica,
        attempt=one.name.attempt,
        provider=found.provider,
        status="stopped" if is_stopped else "running",
        owner=this_process(),
        created_at=now,
        boot_until=now,
        usd_per_hour=0.0 if is_stopped else rate,
        stopped_usd_per_hour=rate if is_stopped else 0.0,
        budget_usd=budget,
        not_after=min((limit for limit in limits if limit is not None), default=None),
        provider_id=found.id,
        models=json.dumps(told.models if told is not None else ()),
        url=found.url,
        detail="" if has_our_key else OTHER_KEY,
        ready_at=now if told is not None else None,
    )


async def _ask(context: Context, node: Node, deployment: str) -> _Told | None:
    """Ask a node with the key that it has if our secret made it; None where it takes another."""
    key = context.installation.endpoint_key(deployment)
    endpoint = Endpoint(node.url, key=key, dialect="openai", name=node.name)
    try:
        infos = await endpoint.models(timeout_s=PROBE_TIMEOUT_S)
    except EndpointError:
        return None
    finally:
        await endpoint.aclose()
    return _Told(
        models=tuple(info["id"] for info in infos),
        is_lmlite=any("conduit" in info for info in infos),
        guard=await ask_guard(node.url, key, now=context.clock()),
    )
