"""`conduit_nb.plan()` and `conduit_nb.find_offerings()`: what a model needs, and what can hold it.

The shell, the cell and Python call these same two, with the same words. Knows no IPython, so that
a script can use it.
Layer 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.vram import Plan
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.plans.answer import PlanOptions, answer_plan, make_plan
from conduit_nb.plans.choice import choose
from conduit_nb.plans.options import (
    CONSTRAINT_OPTIONS,
    DEFAULT_RUNTIME,
    DEFAULT_TIMEOUT_S,
    PLAN_OPTIONS,
)
from conduit_nb.session import process_session
from conduit_nb.units import require_seconds


def plan(
    *model_ids: str,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    replicas: int = 1,
    dtype: str = "auto",
    kv_dtype: str = "auto",
    quantization: str | None = None,
    max_model_len: int | None = None,
    max_model_concurrency: int = 1,
    runtime: str = DEFAULT_RUNTIME,
    runtime_version: str | None = None,
    revision: str | None = None,
    gpu: str | None = None,
) -> PlanView:
    """Return what the models need together on each device, and whether it fits.

    A model is an id (`owner/name`, or `owner/name@revision`), or a folder that may hold nothing but
    a config.json. Without `gpu` the plan is
    held against this machine. That it does not fit is an answer; raises ModelError, PlanError or
    ArgumentError where there can be no plan.
    """
    options = PlanOptions(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=replicas,
        dtype=dtype,
        kv_dtype=kv_dtype,
        quantization=quantization,
        max_model_len=max_model_len,
        max_model_concurrency=max_model_concurrency,
        runtime=runtime,
        runtime_version=runtime_version,
        revision=revision,
    )
    return PlanView(answer_plan(make_plan(model_ids, options), gpu=gpu))


def find_offerings(
    holding: PlanView | Plan | None = None,
    *,
    gpu: str | None = None,
    constraint: DeploymentConstraint | None = None,
    objective: str = "usd_per_gib",
    only_launchable: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    fresh: bool = False,
) -> OfferingsView:
    """Ask every source of offerings at once, and rank what holds the plan `holding`, if given.

    A source that does not answer in time is among `failures`, and delays no other. Lists of the
    last minute are used again, unless it must be `fresh`; each offering has its age. Offerings that
    are known by their price only are ranked as well, and say so, unless `only_launchable`.
    """
    require_seconds("timeout_s", timeout_s)
    plan = holding.plan if isinstance(holding, PlanView) else holding
    if not isinstance(plan, Plan | None):  # pyright: ignore[reportUnnecessaryIsInstance]  # users give other things
        raise ArgumentError(
            f"{plan!r:.80} is no plan.",
            param="holding",
            hint="Plan first: find_offerings(plan(ID, …), …).",
        )
    constraint = constraint or DeploymentConstraint()
    market = process_session().find_offerings(
        providers=constraint.providers, timeout_s=timeout_s, is_fresh=fresh
    )
    choice = choose(
        market,
        plan,
        constraint=constraint,
        objective=objective,
        gpu=gpu,
        only_launchable=only_launchable,
    )
    return OfferingsView(choice)


def asked_plan(model_ids: Sequence[str], values: Mapping[str, Any]) -> PlanView:
    """Carry out `plan` with the options' values as a line gave them."""
    return plan(*model_ids, **{name: values[name] for name in (*_PLAN_NAMES, "gpu")})


def asked_offerings(
    values: Mapping[str, Any], *, fresh: bool = False, known_plan: Plan | None = None
) -> OfferingsView:
    """Carry out `offerings` with the options' values as a line gave them.

    `known_plan` is the plan of these values, where it was made before.
    """
    options = {name: values[name] for name in _PLAN_NAMES}
    models: Sequence[str] = values["models"] or ()
    defaults = PlanOptions()
    unused = [name for name, value in options.items() if value != getattr(defaults, name)]
    if unused and not models:
        raise ArgumentError(
            f"{unused[0]} says how a model is served, and none is named.",
            param=unused[0],
            hint="Name it with --for ID, or leave the option out.",
        )
    constraint = DeploymentConstraint(**{one.name: values[one.name] for one in CONSTRAINT_OPTIONS})
    view = find_offerings(
        known_plan or (make_plan(models, PlanOptions(**options)) if models else None),
        gpu=values["gpu"],
        constraint=constraint,
        objective=values["objective"],
        only_launchable=values["only_launchable"],
        timeout_s=values["timeout_s"],
        fresh=fresh,
    )
    return OfferingsView(view.choice, limit=values["limit"], show_why=values["why"])


_PLAN_NAMES = tuple(option.name for option in PLAN_OPTIONS)
