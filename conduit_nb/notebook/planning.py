"""`conduit_nb.plan()` and `conduit_nb.find_offerings()`: what a model needs, and what can hold it.

The shell, the cell and Python call these same functions, with the same words. Knows no IPython, so
that a script can use it.
"""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.vram import Plan
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.options import options_of, parse_options
from conduit_nb.plans.answer import answer_plan, make_plan
from conduit_nb.plans.choice import choose
from conduit_nb.plans.options import (
    DEFAULT_LIMIT,
    DEFAULT_TIMEOUT_S,
    OfferingsOptions,
    PlanOptions,
)
from conduit_nb.session import process_session
from conduit_nb.units import require_seconds


class PlanKeywords(TypedDict, total=False):
    """The options of a plan as keywords, for type checkers: see PlanOptions."""

    tensor_parallel: int
    pipeline_parallel: int
    replicas: int
    dtype: str
    kv_dtype: str
    quantization: str | None
    max_model_len: int | None
    max_concurrency: int
    runtime: str
    runtime_version: str | None
    revision: str | None


def plan(*model_ids: str, gpu: str | None = None, **options: Unpack[PlanKeywords]) -> PlanView:
    """Return what the models need together on each device, and whether it fits.

    A model is an id (`owner/name`, or `owner/name@revision`), or a folder that may hold nothing but
    a config.json. Without `gpu` the plan is held against this machine. `options` are those of
    PlanOptions. That it does not fit is an answer; raises ModelError, PlanError or ArgumentError
    where there can be no plan.
    """
    return PlanView(answer_plan(make_plan(model_ids, parse_options(PlanOptions, options)), gpu=gpu))


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


def offerings(
    *,
    why: bool = False,
    limit: int = DEFAULT_LIMIT,
    fresh: bool = False,
    known_plan: Plan | None = None,
    **options: Any,
) -> OfferingsView:
    """Return what is offered, for the options of `conduit offerings`, given as texts or typed.

    `known_plan` is the plan of these options, where it was made before.
    """
    of_plan = {one.name for one in options_of(PlanOptions)}
    own = {one.name for one in options_of(OfferingsOptions)}
    accepted = {
        name: value for name, value in options.items() if name not in of_plan and name not in own
    }
    asked = parse_options(
        OfferingsOptions, {name: value for name, value in options.items() if name in own}
    )
    planned = {name: value for name, value in options.items() if name in of_plan}
    if planned and not asked.models:
        name = next(iter(planned))
        raise ArgumentError(
            f"{name} says how a model is served, and no model is named.",
            param=name,
            hint="Name it with --for ID, or leave the option out.",
        )
    if known_plan is None and asked.models:
        known_plan = make_plan(asked.models, parse_options(PlanOptions, planned))
    view = find_offerings(
        known_plan,
        gpu=asked.gpu,
        constraint=parse_options(DeploymentConstraint, accepted),
        objective=asked.objective,
        only_launchable=asked.only_launchable,
        timeout_s=asked.timeout_s,
        fresh=fresh,
    )
    return OfferingsView(view.choice, limit=limit, show_why=why)
