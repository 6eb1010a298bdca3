"""What runs and what it costs, for people: from the state, without asking anybody.

Layer 4.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conduit_nb.deployments.context import Context
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.money import relevant_since
from conduit_nb.errors import StorageError
from conduit_nb.state.ledger import spent_today_usd, spent_usd, usd_per_hour
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.state.summary import KnownNode, Summary, write_summary


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCost:
    """What one deployment has cost, costs, and may cost at most."""

    record: DeploymentRecord
    nodes: tuple[NodeRecord, ...]
    usd_per_hour: float
    spent_usd: float
    billed_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What all deployments of this installation cost; ended ones of today count in `today_usd`."""

    deployments: tuple[DeploymentCost, ...]
    usd_per_hour: float
    today_usd: float
    day_cap_usd: float
    as_of: datetime


async def cost_report(context: Context) -> CostReport:
    """Return what is spent and goes on to be spent, as the ledger has it."""
    await context.opened()
    now = context.clock()
    records = await context.read(context.store.deployments, context.installation.id)
    costs: list[DeploymentCost] = []
    for record in records:
        charges = await context.read(context.store.charges, record.id)
        nodes = await context.read(context.store.nodes, record.id)
        billed = [one.billed_usd for one in charges if one.billed_usd is not None]
        costs.append(
            DeploymentCost(
                record=record,
                nodes=tuple(nodes),
                usd_per_hour=usd_per_hour(charges),
                spent_usd=spent_usd(charges, now),
                billed_usd=sum(billed) if billed else None,
            )
        )
    today = await context.read(context.store.charges, since=relevant_since(now))
    return CostReport(
        deployments=tuple(costs),
        usd_per_hour=sum(one.usd_per_hour for one in costs),
        today_usd=spent_today_usd(today, now),
        day_cap_usd=context.caps().day_usd,
        as_of=now,
    )


async def write_overview(context: Context) -> CostReport:
    """Write the small summary that is read where the state itself is too slow, or broken.

    That it cannot be written fails nothing: what it tells of has happened all the same. Returns
    what it was made of.
    """
    report = await cost_report(context)
    ends = [one.record.lease_until for one in report.deployments if one.nodes]
    summary = Summary(
        deployments=len(report.deployments),
        nodes=sum(len(one.nodes) for one in report.deployments),
        usd_per_hour=report.usd_per_hour,
        spent_usd=sum(one.spent_usd for one in report.deployments),
        written_at=report.as_of,
        next_end=min(ends, default=None),
        installation=context.installation.id,
        known=tuple(
            KnownNode(
                name=node.name,
                provider=node.provider,
                id=node.provider_id,
                deployment=one.record.name,
            )
            for one in report.deployments
            for node in one.nodes
        ),
    )
    with suppress(StorageError):
        await context.read(write_summary, summary)
    return report


def to_info(cost: DeploymentCost) -> DeploymentInfo:
    """Return a deployment as people are told of it."""
    record, nodes = cost.record, cost.nodes
    first = nodes[0] if nodes else None
    offering: dict[str, Any] = json.loads(first.offering) if first and first.offering else {}
    ready = sum(node.status == "running" for node in nodes)
    return DeploymentInfo(
        name=record.name,
        provider=first.provider if first is not None else record.provider or "",
        runtime=record.runtime,
        status=_status(record.status, nodes),
        url=(first.url if first is not None else None) or "",
        started_at=record.created_at,
        device=_device(offering),
        region=offering.get("region"),
        models={model: "ready" for node in nodes for model in json.loads(node.models)},
        nodes=f"{ready}/{len(nodes)}",
        usd_per_hour=cost.usd_per_hour,
        spent_usd=cost.spent_usd,
        lease_until=record.lease_until,
        id=record.id,
        detail=record.detail or (first.detail if first is not None else ""),
    )


def _status(status: str, nodes: Sequence[NodeRecord]) -> str:
    if status == "running" and not any(node.status == "running" for node in nodes):
        return "not answering"
    return status


def _device(offering: dict[str, Any]) -> str | None:
    if not offering:
        return None
    gpu, count = offering.get("gpu"), offering.get("count")
    return "cpu" if gpu is None else f"{count} x {gpu}" if count != 1 else str(gpu)
