"""`conduit_nb.deploy()` and its like: what is rented or started, and what it costs.

The shell, the cell and Python call these same functions, with the same words. Knows no IPython.
Layer 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack

from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.request import ANY, DeploymentOptions, DeploymentRequest
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.overview import CostReport
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.notebook.deploy_estimate import estimate_deploy
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.stopping import wait_or_end
from conduit_nb.session import process_session


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What one deployment costs; the last row of a table is the sum, with what today has cost."""

    name: str
    provider: str
    status: str
    usd_per_hour: float
    spent_usd: float
    billed_usd: float | None = None
    may_spend_usd: float | None = None
    lease_until: datetime | None = None


def deploy(
    *models: str | LmLiteModelConfig, dry_run: bool = False, **options: Unpack[DeploymentOptions]
) -> Table[Any]:
    """Deploy models and return what runs: a matching deployment if there is one, else a new one.

    `options` are those of DeploymentRequest: `runtime`, `provider` ("any", or None, takes the best
    offering of all), `gpu`, `hours` (the lease, after which every node ends by itself), `max_usd`,
    … With `dry_run` nothing starts: the table says what would, and what that costs.
    Raises ArgumentError, SpendCapError where it costs more until the end of its lease than may be
    spent, and NoOfferingError where no offering would do.
    """
    if not models:
        raise ArgumentError(
            "deploy needs a model.", param="models", hint="Name an id or a folder, or several."
        )
    if options.get("provider", ComputeProvider.LOCAL) is None:
        options["provider"] = ANY
    request = DeploymentRequest.parse({"models": models, **options})
    session = process_session()
    if dry_run:
        return estimate_deploy(session, request)
    return Table([wait_or_end(session, request)], empty="Nothing runs.")


def start(name: str) -> Table[DeploymentInfo]:
    """Start a stopped deployment again, with a new lease."""
    session = process_session()
    return Table([session.wait(session.deployments.start(name))], empty="Nothing runs.")


def restart(name: str) -> Table[DeploymentInfo]:
    """Start the programs of a deployment's nodes anew."""
    session = process_session()
    return Table([session.wait(session.deployments.restart(name))], empty="Nothing runs.")


def terminate(name: str) -> Table[DeploymentInfo]:
    """End a deployment for good, or "all"; return what was ended."""
    session = process_session()
    return Table(session.wait(session.deployments.terminate(name)), empty="Nothing was deployed.")


def extend(name: str, hours: float = 1.0) -> Table[DeploymentInfo]:
    """Let a deployment live so many hours from now on, as far as its money lasts."""
    session = process_session()
    told = session.wait(session.deployments.extend(name, hours))
    return Table([told], empty="Nothing runs.")


def cost() -> Table[CostRow]:
    """Return what every deployment costs and has cost, and the sum with today's."""
    session = process_session()
    return Table(
        cost_rows(session.wait(session.deployments.cost())), empty="Nothing costs anything."
    )


def cost_rows(report: CostReport) -> list[CostRow]:
    """Return a report as rows, the sum at the end."""
    rows = [
        CostRow(
            name=one.record.name,
            provider=one.nodes[0].provider if one.nodes else one.record.provider or "",
            status=one.record.status,
            usd_per_hour=one.usd_per_hour,
            spent_usd=one.spent_usd,
            billed_usd=one.billed_usd,
            may_spend_usd=one.record.max_usd,
            lease_until=one.record.lease_until,
        )
        for one in report.deployments
    ]
    total = CostRow(
        name="all, today",
        provider="",
        status="",
        usd_per_hour=report.usd_per_hour,
        spent_usd=report.today_usd,
        may_spend_usd=report.day_cap_usd,
    )
    return [*rows, total]
