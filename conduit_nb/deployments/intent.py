"""What is written of a node before it is asked for: its name, its money, its spec.

Layer 4.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from conduit_nb import credentials, settings
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.deployments import money
from conduit_nb.deployments.owners import this_process
from conduit_nb.deployments.quote import Candidate, ServerQuote, server_request
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import SpendCapError, StateConflictError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.models.hub import is_open
from conduit_nb.providers.naming import INSTALLATION_LENGTH, NodeName
from conduit_nb.state.ledger import lasts, spent_usd
from conduit_nb.state.records import Charge, DeploymentRecord, NodeRecord

HUB_SECRET = credentials.HUB.variables[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place that one node of a deployment fills: which server, which of its replicas."""

    replica: int
    server: ServerQuote


async def end_of_money(tools: Tools, node: NodeRecord) -> datetime | None:
    """Return until when a node that is started again may run; None where it costs nothing.

    Its own budget is what it had, less what it has cost since, stopped or not.
    Raises SpendCapError where that does not last for a boot.
    """
    if node.budget_usd is None:
        return None
    charges = await tools.read(tools.store.charges, node.deployment)
    now = tools.clock()
    left = _rest(node, charges, now)
    money.require_rest(node.name, left, node.usd_per_hour)
    lifetime = lasts(left, node.usd_per_hour)
    return now + lifetime if lifetime is not None else None


async def charged_since(tools: Tools, node: NodeRecord) -> datetime:
    """Return since when a node costs what it costs now."""
    charges = await tools.read(tools.store.charges, node.deployment)
    begun = [one.begin for one in charges if one.node == node.name and one.end is None]
    return max(begun, default=node.created_at)


async def money_left(tools: Tools, record: DeploymentRecord) -> tuple[float, list[Charge]]:
    """Return what the caps leave for one more node of the deployment, and what was counted."""
    return await _left(tools, record.id, record.max_usd)


async def may_spend_usd(
    tools: Tools, record: DeploymentRecord | None, max_usd: float | None
) -> float:
    """Return what a deployment may still spend: what its nodes have been given, or a new one gets.

    `max_usd` replaces the cap of a deployment, for a new one.
    """
    if record is None:
        left, _ = await _left(tools, "", max_usd or tools.caps().deployment_usd)
        return left
    nodes = await tools.read(tools.store.nodes, record.id)
    charges = await tools.read(tools.store.charges, record.id)
    return sum(_rest(node, charges, tools.clock()) for node in nodes)


def _rest(node: NodeRecord, charges: Iterable[Charge], now: datetime) -> float:
    """Return what is left of a node's budget."""
    return (node.budget_usd or 0.0) - spent_usd(
        (one for one in charges if one.node == node.name), now
    )


async def _left(tools: Tools, deployment: str, cap_usd: float) -> tuple[float, list[Charge]]:
    now = tools.clock()
    every = await _counted(tools, deployment)
    left = money.left_usd(
        replace(tools.caps(), deployment_usd=cap_usd),
        deployment=deployment,
        charges=every,
        nodes=await tools.read(tools.store.nodes),
        now=now,
    )
    return left, every


async def _counted(tools: Tools, deployment: str) -> list[Charge]:
    """Return the charges of the day, and all of a deployment's."""
    since = money.relevant_since(tools.clock())
    charges = await tools.read(tools.store.charges, since=since)
    own = await tools.read(tools.store.charges, deployment)
    return list({(one.node, one.begin): one for one in (*charges, *own)}.values())


async def holders_named(
    tools: Tools, error: SpendCapError, deployment: str, cap_usd: float
) -> SpendCapError:
    """Return the error with who holds the day's cap, where that is what keeps a deployment out."""
    charges, now = await _counted(tools, deployment), tools.clock()
    nodes = await tools.read(tools.store.nodes)
    held = money.held_usd(charges, nodes, now)
    own = spent_usd((one for one in charges if one.deployment == deployment), now)
    own += sum(
        max(_rest(node, charges, now), 0.0) for node in nodes if node.deployment == deployment
    )
    if tools.caps().day_usd - sum(held.values()) >= cap_usd - own:
        return error
    names = {one.id: one.name for one in await tools.read(tools.store.deployments, live_only=False)}
    others = {
        names.get(one, one): usd
        for one, usd in held.items()
        if one != deployment and usd >= money.LEAST_HELD_USD
    }
    return money.with_holders(error, others, tools.caps().day_usd) if others else error


async def intend(
    tools: Tools, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    """Write who is to be created, for how much.

    Raises SpendCapError where there is no money, StateConflictError where the place is taken.
    """
    while True:
        as_of = await tools.read(tools.store.revision)
        node = await _intent(tools, record, slot, candidate)
        try:
            return await tools.write(tools.store.insert_node, node, as_of=as_of)
        except StateConflictError:
            # Somebody has written meanwhile: the money is counted again, unless that was our node.
            nodes = await tools.read(tools.store.nodes, record.id)
            if any(one.replica == slot.replica for one in nodes):
                raise


async def _intent(
    tools: Tools, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    now = tools.clock()
    rate = candidate.rates.running_usd_per_hour
    budget = await node_budget(tools, record, rate) if rate > 0 else None
    attempt = await tools.read(tools.store.last_attempt, record.id) + 1
    name = NodeName(
        installation=tools.installation.id[:INSTALLATION_LENGTH],
        deployment=record.id,
        replica=slot.replica,
        attempt=attempt,
    )
    lifetime = lasts(budget, rate) if budget is not None else None
    return NodeRecord(
        name=str(name),
        deployment=record.id,
        replica=slot.replica,
        attempt=attempt,
        provider=candidate.provider,
        status="launching",
        owner=this_process(),
        created_at=now,
        boot_until=now + timedelta(seconds=boot_s(tools, candidate)),
        usd_per_hour=rate,
        stopped_usd_per_hour=candidate.rates.stopped_usd_per_hour,
        budget_usd=budget,
        not_after=now + lifetime if lifetime is not None else None,
        offering=json.dumps(
            {
                "id": candidate.offering.id,
                "region": candidate.offering.region,
                "gpu": candidate.offering.accelerator,
                "count": candidate.offering.count,
                "memory_gib": candidate.offering.memory_gib,
                "quoted_usd_per_hour": rate,
            }
        ),
        models=json.dumps([model.model_id for model in slot.server.models]),
    )


async def node_budget(tools: Tools, record: DeploymentRecord, rate: float) -> float:
    """Return what one more node of the deployment may spend; SpendCapError without money for it."""
    left, charges = await money_left(tools, record)
    # Each place has its share of the cap, so that one node leaves the others theirs.
    left = min(left, record.max_usd / _places(tools, record))
    caps = replace(tools.caps(), deployment_usd=record.max_usd)
    is_day = money.is_day_the_limit(caps, charges, tools.clock())
    try:
        money.require_money(left, rate, caps=caps, is_day=is_day)
    except SpendCapError as err:
        raise await holders_named(tools, err, record.id, record.max_usd) from None
    return left


def _places(tools: Tools, record: DeploymentRecord) -> int:
    """Return how many nodes the deployment may have at most."""
    request = record.request
    is_split = tools.runtime(record.runtime).models_per_server is not None
    return request.replicas.max * (len(request.models) if is_split else 1)


def boot_s(tools: Tools, candidate: Candidate) -> float:
    """Return how long a node may boot; what is rented or in a container may fetch its model."""
    is_rented = tools.provider(candidate.provider).capabilities.is_billable
    is_long = is_rented or candidate.place == "container"
    return settings.node_boot_timeout_s() if is_long else settings.boot_timeout_s()


def launch_spec(
    tools: Tools,
    record: DeploymentRecord,
    slot: Slot,
    candidate: Candidate,
    node: NodeRecord,
    *,
    with_hub_token: bool = False,
) -> LaunchSpec:
    """Return what the provider is to start, with the deadlines that its guard keeps."""
    asked = server_request(record.request, slot.server, candidate, name=node.name)
    spec = tools.runtime(record.runtime).launch_spec(asked)
    terms = GuardTerms(
        idle_s=record.idle_s,
        boot_until=node.boot_until,
        lease_until=record.lease_until,
        not_after=node.not_after,
        as_of=tools.clock(),
    )
    tokens = (HUB_SECRET,) if with_hub_token else ()
    return replace(spec, guard=terms, secrets=(*spec.secrets, *tokens))


async def secrets_of(
    tools: Tools, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> dict[str, str]:
    """Return the secrets that a node's spec may name, by name; the hub's token where it is needed.

    A process of this machine finds the token as the user does. Where a provider only refers to a
    secret that the user has stored there, open models do without, and of others that is told: no
    API says whether the secret is there. Raises CredentialsError where a login's file is malformed.
    """
    key = tools.installation.endpoint_key(record.id)
    secrets = {"CONDUIT_API_KEY": key, "VLLM_API_KEY": key}
    token = credentials.find(credentials.HUB) if candidate.place == "container" else None
    if token is None:
        return secrets
    if tools.provider(candidate.provider).capabilities.refers_to_secrets:
        models = slot.server.models
        closed = [one for one in models if not await asyncio.to_thread(_is_open, one)]
        if not closed:
            return secrets
        tools.tell(
            f"{closed[0].model_id} is gated or private, as far as can be seen from here. Its node "
            f"reads the token from the secret {HUB_SECRET.lower()} at {candidate.provider}: store "
            "your Hugging Face token there under that name, unless you have."
        )
    return {**secrets, HUB_SECRET: token.value}


def _is_open(model: LmLiteModelConfig) -> bool:
    return is_open(model.model_id, model.revision) or False
