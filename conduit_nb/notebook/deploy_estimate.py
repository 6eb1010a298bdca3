"""What a deployment would start and cost until its lease ends, said before anything is created.

Knows no IPython.
Layer 7.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb import settings
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.vram import GIB
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.quote import Quote
from conduit_nb.notebook.display import Table
from conduit_nb.session import Session

S_PER_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployEstimate:
    """One server's best offering, the sum in the last row where there are several.

    `needs_gib` is the plan's largest device, `has_gib` what each device has; `usd` is what `hours`
    of its lease cost, `may_spend_usd` what the caps leave, and `lasts_hours` how long that pays.
    """

    starts: str
    provider: str = ""
    device: str = ""
    region: str | None = None
    nodes: int = 1
    needs_gib: float | None = None
    has_gib: float | None = None
    usd_per_hour: float
    hours: float
    usd: float
    may_spend_usd: float | None = None
    lasts_hours: float | None = None


def estimate_deploy(
    session: Session, request: DeploymentRequest
) -> Table[DeployEstimate] | Table[DeploymentInfo]:
    """Return what the request would start, or the deployment that serves it already.

    Raises what `deploy` would be refused with: NoOfferingError, SpendCapError, a name that is
    taken. Providers are asked; nothing is created.
    """
    live = session.wait(session.fleet.left_of(request))
    if live is not None:
        return Table([live], empty="")
    left = session.wait(session.fleet.may_spend_usd(request))
    quote = session.wait(session.fleet.quote(request))
    session.wait(session.fleet.require_deployable(quote))
    return Table(_rows(quote, lease_hours(request), left), empty="")


def lease_hours(request: DeploymentRequest) -> float:
    """Return how long the request's nodes may live without an extension."""
    return (request.lease_s or settings.lease_s()) / S_PER_HOUR


def _device(offering: ComputeOffering) -> str:
    if offering.accelerator is None:
        return "cpu"
    return f"{offering.count} x {offering.accelerator}"


def _rows(quote: Quote, hours: float, left: float) -> list[DeployEstimate]:
    nodes = quote.request.replicas.min
    rows: list[DeployEstimate] = []
    for server in quote.servers:
        best = server.candidates[0]
        offering, rate = best.offering, best.rates.running_usd_per_hour * nodes
        rows.append(
            DeployEstimate(
                starts=", ".join(model.model_id for model in server.models),
                provider=best.provider,
                device=_device(offering),
                region=offering.region,
                nodes=nodes,
                needs_gib=server.plan.largest_device_bytes / GIB if server.plan else None,
                has_gib=offering.hardware.memory_gib,
                usd_per_hour=rate,
                hours=hours,
                usd=rate * hours,
            )
        )
    rate = quote.usd_per_hour
    total = DeployEstimate(
        starts="in all",
        nodes=nodes * len(rows),
        usd_per_hour=rate,
        hours=hours,
        usd=rate * hours,
        may_spend_usd=left,
        lasts_hours=left / rate if rate > 0 else None,
    )
    return [*rows, total]
