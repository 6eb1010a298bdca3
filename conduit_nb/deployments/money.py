"""What a node costs, what may still be spent, and how long that lasts.

Layer 4: pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import SpendCapError
from conduit_nb.state.ledger import day_of, spent_today_usd, spent_usd
from conduit_nb.state.records import Charge, NodeRecord
from conduit_nb.units import dollars

HOURS_PER_MONTH = 730
HOLDERS_SHOWN = 5
LEAST_HELD_USD = 0.00005
LEAST_MINUTES = 5
"""Money that lasts less long is not worth a boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a node costs per hour, disk included: while it runs, and while it is stopped."""

    running_usd_per_hour: float
    stopped_usd_per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What may be spent: by one deployment, and by all of them in a day."""

    deployment_usd: float
    day_usd: float


def rates_of(offering: ComputeOffering, disk_gib: float) -> Rates:
    """Return what a node of that offering with such a disk costs."""
    per_gib = (offering.disk_usd_per_gib_month or 0.0) / HOURS_PER_MONTH
    stopped_per_gib = (offering.stopped_disk_usd_per_gib_month or 0.0) / HOURS_PER_MONTH
    return Rates(
        running_usd_per_hour=offering.usd_per_hour + per_gib * disk_gib,
        stopped_usd_per_hour=(offering.stopped_usd_per_hour or 0.0) + stopped_per_gib * disk_gib,
    )


def rate_of(node: NodeRecord) -> float:
    """Return what a node costs per hour as it is; 0 where nothing of it is left."""
    if not node.is_live:
        return 0.0
    is_stopped = node.status == "stopped"
    return node.stopped_usd_per_hour if is_stopped else node.usd_per_hour


def left_usd(
    caps: Caps,
    *,
    deployment: str,
    charges: Sequence[Charge],
    nodes: Iterable[NodeRecord],
    now: datetime,
) -> float:
    """Return what a new node of the deployment may spend.

    What live nodes may still spend counts as spent: no two budgets share a dollar.
    """
    own = committed = own_committed = 0.0
    for node in nodes:
        of_node = [charge for charge in charges if charge.node == node.name]
        rest = max((node.budget_usd or 0.0) - spent_usd(of_node, now), 0.0)
        committed += rest
        own_committed += rest if node.deployment == deployment else 0.0
    own = spent_usd((one for one in charges if one.deployment == deployment), now)
    return max(
        min(
            caps.deployment_usd - own - own_committed,
            caps.day_usd - spent_today_usd(charges, now) - committed,
        ),
        0.0,
    )


def held_usd(
    charges: Sequence[Charge], nodes: Iterable[NodeRecord], now: datetime
) -> dict[str, float]:
    """Return what each deployment holds of the day's cap: spent today, or promised to its nodes."""
    held: dict[str, float] = {}
    for deployment in {charge.deployment for charge in charges}:
        own = [charge for charge in charges if charge.deployment == deployment]
        held[deployment] = spent_today_usd(own, now)
    for node in nodes:
        of_node = [charge for charge in charges if charge.node == node.name]
        rest = max((node.budget_usd or 0.0) - spent_usd(of_node, now), 0.0)
        held[node.deployment] = held.get(node.deployment, 0.0) + rest
    return held


def with_holders(
    error: SpendCapError, held_by: Mapping[str, float], day_usd: float
) -> SpendCapError:
    """Return the error of a day whose cap others hold, with who they are."""
    most = sorted(held_by.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{name} {dollars(usd)}" for name, usd in most[:HOLDERS_SHOWN])
    more = f" and {len(most) - HOLDERS_SHOWN} more" if len(most) > HOLDERS_SHOWN else ""
    return SpendCapError(
        f"{str(error).rstrip('.')}. Of the {dollars(day_usd)} for the day (UTC) other deployments"
        f" hold, spent or reserved: {shown}{more}.",
        left_usd=error.left_usd,
        held_by=held_by,
        hint=f"Terminate one of them (conduit terminate {most[0][0]}), or raise"
        " CONDUIT_MAX_USD_PER_DAY.",
    )


def require_money(left: float, rate_usd_per_hour: float, *, caps: Caps, is_day: bool) -> None:
    """Raise SpendCapError where what is left would not even pay some minutes."""
    least = rate_usd_per_hour * LEAST_MINUTES / 60
    if rate_usd_per_hour <= 0 or left > least:
        return
    knob = (
        f"CONDUIT_MAX_USD_PER_DAY (${caps.day_usd:g})"
        if is_day
        else f"--max-usd, or CONDUIT_MAX_USD_PER_DEPLOYMENT (${caps.deployment_usd:g})"
    )
    raise SpendCapError(
        f"${rate_usd_per_hour:.2f}/h is more than the ${left:.2f} that may still be spent last"
        f" for {LEAST_MINUTES} minutes.",
        left_usd=left,
        hint=f"Raise {knob}, or end what runs: %conduit ps.",
    )


def require_affordable(usd: float, left: float, *, what: str) -> None:
    """Raise SpendCapError where an estimate is above what is left."""
    if usd <= left:
        return
    raise SpendCapError(
        f"{what} is estimated at ${usd:.2f}, and ${left:.2f} may still be spent.",
        left_usd=left,
        hint="Raise --max-usd, or CONDUIT_MAX_USD_PER_DAY; or ask for less.",
    )


def require_rest(name: str, left: float, rate_usd_per_hour: float) -> None:
    """Raise SpendCapError where the rest of a node's budget would not even pay some minutes."""
    if left > rate_usd_per_hour * LEAST_MINUTES / 60:
        return
    raise SpendCapError(
        f"{name} has ${max(left, 0):.2f} left of its budget, and costs ${rate_usd_per_hour:.2f}/h.",
        left_usd=max(left, 0.0),
        hint="Terminate it, and deploy again with a larger --max-usd.",
    )


def is_day_the_limit(caps: Caps, charges: Sequence[Charge], now: datetime) -> bool:
    """Say whether the day's cap leaves less than a deployment's."""
    return caps.day_usd - spent_today_usd(charges, now) < caps.deployment_usd


def relevant_since(now: datetime) -> datetime:
    """Return the moment from which charges count towards the day."""
    return day_of(now)
