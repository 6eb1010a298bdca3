"""What runs and what it costs, for people: from the state, without asking anybody.

Layer 4.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from conduit_nb.deployments.money import relevant_since
from conduit_nb.deployments.tools import Tools
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


async def cost_report(tools: Tools) -> CostReport:
    """Return what is spent and goes on to be spent, as the ledger has it."""
    now = tools.clock()
    records = await tools.read(tools.store.deployments, tools.installation.id)
    costs: list[DeploymentCost] = []
    for record in records:
        charges = await tools.read(tools.store.charges, record.id)
        nodes = await tools.read(tools.store.nodes, record.id)
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
    today = await tools.read(tools.store.charges, since=relevant_since(now))
    return CostReport(
        deployments=tuple(costs),
        usd_per_hour=sum(one.usd_per_hour for one in costs),
        today_usd=spent_today_usd(today, now),
        day_cap_usd=tools.caps().day_usd,
        as_of=now,
    )


async def write_overview(tools: Tools) -> None:
    """Write the small summary that is read where the state itself is too slow, or broken.

    That it cannot be written fails nothing: what it tells of has happened all the same.
    """
    report = await cost_report(tools)
    ends = [one.record.lease_until for one in report.deployments if one.nodes]
    summary = Summary(
        deployments=len(report.deployments),
        nodes=sum(len(one.nodes) for one in report.deployments),
        usd_per_hour=report.usd_per_hour,
        spent_usd=sum(one.spent_usd for one in report.deployments),
        written_at=report.as_of,
        next_end=min(ends, default=None),
        installation=tools.installation.id,
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
        await tools.read(write_summary, summary)
