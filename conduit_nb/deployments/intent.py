"""What is written of a node before it is asked for: its name, its money, its spec.

Layer 4.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from conduit_nb import credentials, settings
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments import money
from conduit_nb.deployments.context import Context, this_process
from conduit_nb.deployments.quote import Candidate, ServerQuote, server_request
from conduit_nb.errors import SpendCapError, StateConflictError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.models.hub import is_open
from conduit_nb.providers.naming import DEPLOYMENT_LENGTH, INSTALLATION_LENGTH, NodeName
from conduit_nb.state.ledger import lasts, spent_usd
from conduit_nb.state.records import Charge, DeploymentRecord, NodeRecord

HUB_SECRET = credentials.HUB.variables[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place that one node of a deployment fills: which server, which of its replicas."""

    replica: int
    server: ServerQuote


async def new_record(context: Context, request: DeploymentRequest) -> DeploymentRecord:
    """Return what is to be, as it is written before anything is started."""
    now = context.clock()
    alphabet = string.ascii_lowercase + string.digits
    own = "".join(secrets.choice(alphabet) for _ in range(DEPLOYMENT_LENGTH))
    deployment_id = own + await context.read(context.store.state_id)
    return DeploymentRecord(
        id=deployment_id,
        installation=context.installation.id,
        key=key_of(request),
        name=request.name or _name_of(request, deployment_id),
        runtime=request.runtime,
        provider=request.provider,
        request=request,
        status="launching",
        created_at=now,
        lease_until=now + lease_of(request.lease_s),
        idle_s=request.idle_s or settings.idle_s(),
        max_usd=request.max_usd or context.caps().deployment_usd,
        wanted_replicas=request.replicas.min,
        owner=this_process(),
    )


def key_of(request: DeploymentRequest) -> str:
    """Return what two live deployments never share: equal requests have it in common."""
    return hashlib.sha256(request.identity().encode()).hexdigest()


def lease_of(seconds: float | None) -> timedelta:
    """Return a lease; None is that of the settings."""
    return timedelta(seconds=seconds or settings.lease_s())


def _name_of(request: DeploymentRequest, deployment_id: str) -> str:
    """Return a name that people can read and type: the first model's, and a piece of the id."""
    first = request.models[0].model_id if request.models else request.runtime
    short = first.rstrip("/").rpartition("/")[2].lower()
    return f"{short[:40]}-{deployment_id[:4]}"


async def end_of_money(context: Context, node: NodeRecord) -> datetime | None:
    """Return until when a node that is started again may run; None where it costs nothing.

    Its own budget is what it had, less what it has cost since, stopped or not.
    Raises SpendCapError where that does not last for a boot.
    """
    if node.budget_usd is None:
        return None
    charges = await context.read(context.store.charges, node.deployment)
    now = context.clock()
    left = _rest(node, charges, now)
    money.require_rest(node.name, left, node.usd_per_hour)
    lifetime = lasts(left, node.usd_per_hour)
    return now + lifetime if lifetime is not None else None


async def charged_since(context: Context, node: NodeRecord) -> datetime:
    """Return since when a node costs what it costs now."""
    charges = await context.read(context.store.charges, node.deployment)
    begun = [one.begin for one in charges if one.node == node.name and one.end is None]
    return max(begun, default=node.created_at)


async def money_left(context: Context, record: DeploymentRecord) -> tuple[float, list[Charge]]:
    """Return what the caps leave for one more node of the deployment, and what was counted."""
    return await _left(context, record.id, record.max_usd)


async def may_spend_usd(
    context: Context, record: DeploymentRecord | None, max_usd: float | None
) -> float:
    """Return what a deployment may still spend: what its nodes have been given, or a new one gets.

    `max_usd` replaces the cap of a deployment, for a new one.
    """
    if record is None:
        left, _ = await _left(context, "", max_usd or context.caps().deployment_usd)
        return left
    nodes = await context.read(context.store.nodes, record.id)
    charges = await context.read(context.store.charges, record.id)
    return sum(_rest(node, charges, context.clock()) for node in nodes)


def _rest(node: NodeRecord, charges: Iterable[Charge], now: datetime) -> float:
    """Return what is left of a node's budget."""
    return (node.budget_usd or 0.0) - spent_usd(
        (one for one in charges if one.node == node.name), now
    )


async def _left(context: Context, deployment: str, cap_usd: float) -> tuple[float, list[Charge]]:
    now = context.clock()
    every = await _counted(context, deployment)
    left = money.left_usd(
        replace(context.caps(), deployment_usd=cap_usd),
        deployment=deployment,
        charges=every,
        nodes=await context.read(context.store.nodes),
        now=now,
    )
    return left, every


async def _counted(context: Context, deployment: str) -> list[Charge]:
    """Return the charges of the day, and all of a deployment's."""
    since = money.relevant_since(context.clock())
    charges = await context.read(context.store.charges, since=since)
    own = await context.read(context.store.charges, deployment)
    return list({(one.node, one.begin): one for one in (*charges, *own)}.values())


async def holders_named(
    context: Context, error: SpendCapError, deployment: str, cap_usd: float
) -> SpendCapError:
    """Return the error with who holds the day's cap, where that is what keeps a deployment out."""
    charges, now = await _counted(context, deployment), context.clock()
    nodes = await context.read(context.store.nodes)
    held = money.held_usd(charges, nodes, now)
    own = spent_usd((one for one in charges if one.deployment == deployment), now)
    own += sum(
        max(_rest(node, charges, now), 0.0) for node in nodes if node.deployment == deployment
    )
    if context.caps().day_usd - sum(held.values()) >= cap_usd - own:
        return error
    names = {
        one.id: one.name for one in await context.read(context.store.deployments, live_only=False)
    }
    others = {
        names.get(one, one): usd
        for one, usd in held.items()
        if one != deployment and usd >= money.LEAST_HELD_USD
    }
    return money.with_holders(error, others, context.caps().day_usd) if others else error


async def intend(
    context: Context, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    """Write who is to be created, for how much.

    Raises SpendCapError where there is no money, StateConflictError where the place is taken.
    """
    while True:
        as_of = await context.read(context.store.revision)
        node = await _intent(context, record, slot, candidate)
        try:
            return await context.write(context.store.insert_node, node, as_of=as_of)
        except StateConflictError:
            # Somebody has written meanwhile: the money is counted again, unless that was our node.
            nodes = await context.read(context.store.nodes, record.id)
            if any(one.replica == slot.replica for one in nodes):
                raise


async def _intent(
    context: Context, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    now = context.clock()
    rate = candidate.rates.running_usd_per_hour
    budget = await node_budget(context, record, rate) if rate > 0 else None
    attempt = await context.read(context.store.last_attempt, record.id) + 1
    name = NodeName(
        installation=context.installation.id[:INSTALLATION_LENGTH],
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
        boot_until=now + timedelta(seconds=boot_s(context, candidate)),
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


async def node_budget(context: Context, record: DeploymentRecord, rate: float) -> float:
    """Return what one more node of the deployment may spend; SpendCapError without money for it."""
    left, charges = await money_left(context, record)
    # Each place has its share of the cap, so that one node leaves the others theirs.
    left = min(left, record.max_usd / _places(context, record))
    caps = replace(context.caps(), deployment_usd=record.max_usd)
    is_day = money.is_day_the_limit(caps, charges, context.clock())
    try:
        money.require_money(left, rate, caps=caps, is_day=is_day)
    except SpendCapError as err:
        raise await holders_named(context, err, record.id, record.max_usd) from None
    return left


def _places(context: Context, record: DeploymentRecord) -> int:
    """Return how many nodes the deployment may have at most."""
    request = record.request
    is_split = context.runtime(record.runtime).models_per_server is not None
    return request.replicas.max * (len(request.models) if is_split else 1)


def boot_s(context: Context, candidate: Candidate) -> float:
    """Return how long a node may boot; what is rented or in a container may fetch its model."""
    is_rented = context.provider(candidate.provider).capabilities.is_billable
    is_long = is_rented or candidate.place == "container"
    return settings.node_boot_timeout_s() if is_long else settings.boot_timeout_s()


def launch_spec(
    context: Context,
    record: DeploymentRecord,
    slot: Slot,
    candidate: Candidate,
    node: NodeRecord,
    *,
    with_hub_token: bool = False,
) -> LaunchSpec:
    """Return what the provider is to start, with the deadlines that its guard keeps."""
    asked = server_request(record.request, slot.server, candidate, name=node.name)
    spec = context.runtime(record.runtime).launch_spec(asked)
    terms = GuardTerms(
        idle_s=record.idle_s,
        boot_until=node.boot_until,
        lease_until=record.lease_until,
        not_after=node.not_after,
        as_of=context.clock(),
    )
    tokens = (HUB_SECRET,) if with_hub_token else ()
    return replace(spec, guard=terms, secrets=(*spec.secrets, *tokens))


async def secrets_of(
    context: Context, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> dict[str, str]:
    """Return the secrets that a node's spec may name, by name; the hub's token where it is needed.

    A process of this machine finds the token as the user does. Where a provider only refers to a
    secret that the user has stored there, open models do without, and of others that is told: no
    API says whether the secret is there. Raises CredentialsError where a login's file is malformed.
    """
    key = context.installation.endpoint_key(record.id)
    values = {"CONDUIT_API_KEY": key, "VLLM_API_KEY": key}
    token = credentials.find(credentials.HUB) if candidate.place == "container" else None
    if token is None:
        return values
    if context.provider(candidate.provider).capabilities.refers_to_secrets:
        models = slot.server.models
        closed = [one for one in models if not await asyncio.to_thread(_is_open, one)]
        if not closed:
            return values
        context.tell(
            f"{closed[0].model_id} is gated or private, as far as can be seen from here. Its node "
            f"reads the token from the secret {HUB_SECRET.lower()} at {candidate.provider}: store "
            "your Hugging Face token there under that name, unless you have."
        )
    return {**values, HUB_SECRET: token.value}


def _is_open(model: LmLiteModelConfig) -> bool:
    return is_open(model.model_id, model.revision) or False
