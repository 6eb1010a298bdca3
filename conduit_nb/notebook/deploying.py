"""`conduit_nb.deploy()` and its like: what is rented or started, and what it costs.

The shell, the cell and Python call these same functions, with the same words. Knows no IPython.
Layer 7.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest, Replicas, to_replicas
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.overview import CostReport
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.notebook.deploy_estimate import estimate_deploy
from conduit_nb.notebook.display import Table
from conduit_nb.notebook.stopping import wait_or_end
from conduit_nb.plans.answer import require_one_model
from conduit_nb.plans.options import CONSTRAINT_OPTIONS
from conduit_nb.session import process_session
from conduit_nb.units import require_hours

S_PER_HOUR = 3600


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
    *model_ids: str | LmLiteModelConfig,
    runtime: str = "lmlite",
    runtime_version: str | None = None,
    provider: str | None = "local",
    gpu: str | None = None,
    gpu_count: int | None = None,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    replicas: int | tuple[int, int] | Replicas = 1,
    image: str | None = None,
    command: Sequence[str] = (),
    max_usd: float | None = None,
    hours: float | None = None,
    name: str | None = None,
    constraint: DeploymentConstraint | None = None,
) -> Table[DeploymentInfo]:
    """Have models running, and return what runs: what is there already, else what is started now.

    `provider` None takes the best offering of any. `image` and `command` are for a server of your
    own (`{port}` and `{model}` are put into the command). `hours` is the lease: the node ends
    itself after it, unless it is extended. Raises SpendCapError where it costs more until then than
    may be spent (`max_usd` replaces the cap of a deployment), NoOfferingError where nothing would
    do.
    """
    if not model_ids:
        raise ArgumentError(
            "deploy needs a model.", param="model_ids", hint="Name an id or a folder, or several."
        )
    bounds = replicas if isinstance(replicas, Replicas) else to_replicas(replicas)
    request = DeploymentRequest(
        models=tuple(LmLiteModelConfig(one) if isinstance(one, str) else one for one in model_ids),
        runtime=runtime,
        runtime_version=runtime_version,
        provider=provider,
        gpu=gpu,
        gpu_count=gpu_count,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=bounds,
        image=image,
        command=tuple(command),
        constraint=constraint or DeploymentConstraint(),
        max_usd=max_usd,
        lease_s=_lease_s(hours),
        name=name,
    )
    return _deploy(request)


def _deploy(request: DeploymentRequest) -> Table[DeploymentInfo]:
    session = process_session()
    if request.is_sidecar:  # the server beside the kernels is that already: load it there
        _require_nothing_of_its_own(name=request.name, hours=request.lease_s)
        for config in request.models:
            session.load_model(config)
        return Table([found for found in session.ps() if found.id is None], empty="Nothing runs.")
    info = wait_or_end(session, request)
    return Table([info], empty="Nothing runs.")


def _require_nothing_of_its_own(**asked: object) -> None:
    """Raise ArgumentError where something is asked that the server of all kernels cannot have."""
    for option, value in asked.items():
        if value is not None:
            raise ArgumentError(
                f"{option}= cannot be meant: on this machine all notebooks share one "
                "LmLite server, which ends when nobody asks it.",
                param=option,
                hint=f"Leave {option} out, or take another provider (docker) or runtime.",
            )


def start(name: str) -> Table[DeploymentInfo]:
    """Start a stopped deployment again, with a new lease."""
    session = process_session()
    return Table([session.wait(session.fleet.start(name))], empty="Nothing runs.")


def restart(name: str) -> Table[DeploymentInfo]:
    """Start the programs of a deployment's nodes anew."""
    session = process_session()
    return Table([session.wait(session.fleet.restart(name))], empty="Nothing runs.")


def terminate(name: str) -> Table[DeploymentInfo]:
    """End a deployment for good, or "all"; return what was ended."""
    return Table(process_session().terminate(name), empty="Nothing was deployed.")


def extend(name: str, hours: float) -> Table[DeploymentInfo]:
    """Let a deployment live so many hours from now on, as far as its money lasts."""
    require_hours("hours", hours)
    session = process_session()
    told = session.wait(session.fleet.extend(name, hours * S_PER_HOUR))
    return Table([told], empty="Nothing runs.")


def cost() -> Table[CostRow]:
    """Return what every deployment costs and has cost, and the sum with today's."""
    session = process_session()
    return Table(cost_rows(session.wait(session.fleet.cost())), empty="Nothing costs anything.")


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


def asked_deploy(model_ids: Sequence[str], values: Mapping[str, Any]) -> Table[Any]:
    """Carry out `deploy` with the options' values as a line gave them; `dry_run` only says what."""
    require_one_model(model_ids, values["revision"])
    models = tuple(
        LmLiteModelConfig(
            model_id,
            revision=values["revision"],
            max_model_len=values["max_model_len"],
            max_model_concurrency=values["max_model_concurrency"],
            dtype=values["dtype"],
            quantization=values["quantization"],
        )
        for model_id in model_ids
    )
    provider = values["provider"]
    request = DeploymentRequest(
        models=models,
        runtime=values["runtime"],
        runtime_version=values["runtime_version"],
        provider=None if provider == "any" else provider,
        gpu=values["gpu"],
        gpu_count=values["gpu_count"],
        tensor_parallel=values["tensor_parallel"],
        pipeline_parallel=values["pipeline_parallel"],
        replicas=read_replicas(values["replicas"]),
        image=values["image"],
        command=read_command(values["command"]),
        max_usd=values["max_usd"],
        lease_s=_lease_s(values["hours"]),
        name=values["name"],
        constraint=DeploymentConstraint(
            **{option.name: values[option.name] for option in CONSTRAINT_OPTIONS}
        ),
    )
    return estimate_deploy(process_session(), request) if values["dry_run"] else _deploy(request)


def _lease_s(hours: float | None) -> float | None:
    return None if hours is None else require_hours("hours", hours) * S_PER_HOUR


def read_command(text: str | None) -> tuple[str, ...]:
    """Read a command line into its parts, as a shell would, and expand nothing."""
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as err:
        raise ArgumentError(
            f"--command {text!r} cannot be read ({err}).",
            param="command",
            hint="Close every quote.",
        ) from err


def read_replicas(text: str) -> Replicas:
    """Read a number of replicas, or the least and the most: "2", "1-4"."""
    least, _, most = text.partition("-")
    try:
        return Replicas(least=int(least), most=int(most or least))
    except ValueError as err:
        raise ArgumentError(
            f"--replicas {text!r} cannot be meant.",
            param="replicas",
            hint="Write 2, or 1-4 for the least and most.",
        ) from err
