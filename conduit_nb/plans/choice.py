"""What is offered, within a constraint, ranked against a plan where there is one, and why not.

Asks nobody: it is given what the sources said.
Layer 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from conduit_nb.compute.accelerators import find_accelerator, find_accelerators
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.judging import (
    Reason,
    ReasonCode,
    price_reason,
    single_device_reason,
    terms_reasons,
)
from conduit_nb.compute.objectives import Objective, known_objective
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.selection import Explanation, Selection, rank_offerings
from conduit_nb.compute.vram import Plan
from conduit_nb.displayed import Displayed
from conduit_nb.errors import ArgumentError
from conduit_nb.plugins import registered_names
from conduit_nb.providers.sources import Market, SourceFailure

RUNTIMES_GROUP = "conduit_nb.runtimes"
# What an offering is worth without a plan.
_WORTH: Mapping[str, Callable[[ComputeOffering], float]] = {
    "usd_per_gib": lambda offering: offering.usd_per_gib_hour,
    "usd_per_hour": lambda offering: offering.usd_per_hour,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Displayed):
    """What is offered: `ranked` the best first, `excluded` with everything that speaks against it.

    `selection` is the ranking against a plan, None where no plan was given. `other_gpus` counts
    what was left out because another GPU was asked for; `failures` are the sources, or parts of
    them, that could not be read. Without `has_runtime` nothing here starts the plan's runtime.
    """

    objective: Objective
    constraint: DeploymentConstraint
    ranked: Sequence[Explanation]
    excluded: Sequence[Explanation]
    failures: tuple[SourceFailure, ...] = ()
    other_gpus: int = 0
    selection: Selection | None = None
    has_runtime: bool = True

    @property
    def plan(self) -> Plan | None:
        """Return the plan that was to be held."""
        return self.selection.plan if self.selection else None

    def is_launchable(self, offering: ComputeOffering) -> bool:
        """Say whether something here can start the offering, and what is planned on it."""
        return offering.launchable and self.has_runtime

    @property
    def best(self) -> ComputeOffering | None:
        """Return the first of the ranking, None where nothing is left."""
        return self.ranked[0].offering if self.ranked else None

    def reason_counts(self) -> Mapping[ReasonCode, int]:
        """Count how many offerings each reason speaks against, the most frequent first."""
        if self.selection is not None:
            return self.selection.reason_counts()
        counts: Counter[ReasonCode] = Counter(
            reason.code for one in self.excluded for reason in one.reasons
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def choose(
    market: Market,
    plan: Plan | None = None,
    *,
    constraint: DeploymentConstraint,
    objective: str = "usd_per_gib",
    gpu: str | None = None,
    only_launchable: bool = False,
) -> Choice:
    """Rank the market's offerings; raise ArgumentError for a GPU or objective that is not known."""
    offerings = market.offerings if gpu is None else _with_gpu(market.offerings, gpu)
    named = known_objective(objective)
    other_gpus = len(market.offerings) - len(offerings)
    if plan is None:
        ranked, excluded = _within(offerings, constraint, named, only_launchable=only_launchable)
        return Choice(
            objective=named,
            constraint=constraint,
            ranked=ranked,
            excluded=excluded,
            failures=market.failures,
            other_gpus=other_gpus,
        )
    has_runtime = plan.runtime in registered_names(RUNTIMES_GROUP)
    if only_launchable and not has_runtime:
        raise ArgumentError(
            f"Nothing here starts {plan.runtime}, so no offering can be launched for it.",
            param="only_launchable",
            hint="Leave only_launchable out to compare prices, or plan for another runtime.",
        )
    selection = rank_offerings(
        plan,
        offerings,
        constraint=constraint,
        objective=named,
        only_launchable=only_launchable,
    )
    inside = set(map(id, selection.ranked))
    return Choice(
        objective=named,
        constraint=constraint,
        ranked=_Explained(selection, list(selection.ranked)),
        excluded=_Explained(selection, [one for one in offerings if id(one) not in inside]),
        failures=market.failures,
        other_gpus=other_gpus,
        selection=selection,
        has_runtime=has_runtime,
    )


class _Explained(Sequence[Explanation]):
    """Explanations of a selection's offerings, each made when it is asked for."""

    def __init__(self, selection: Selection, offerings: list[ComputeOffering]) -> None:
        self._selection = selection
        self._offerings = offerings

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Explanation]: ...
    def __getitem__(self, index: int | slice) -> Explanation | list[Explanation]:
        if isinstance(index, slice):
            return [self._selection.explain(one) for one in self._offerings[index]]
        return self._selection.explain(self._offerings[index])

    def __len__(self) -> int:
        return len(self._offerings)

    def __iter__(self) -> Iterator[Explanation]:
        return map(self._selection.explain, self._offerings)


def _with_gpu(offerings: Sequence[ComputeOffering], name: str) -> list[ComputeOffering]:
    """Return the offerings of that device, by the table or by the provider's own name."""
    known = find_accelerators(name)
    said = name.casefold()
    found = [
        one
        for one in offerings
        if one.hardware.accelerator in known
        or (one.hardware.accelerator is None and said in (one.accelerator or "").casefold())
    ]
    if not known and not found:
        find_accelerator(name)  # it has the words
    return found


def _within(
    offerings: Sequence[ComputeOffering],
    constraint: DeploymentConstraint,
    objective: Objective,
    *,
    only_launchable: bool,
) -> tuple[list[Explanation], list[Explanation]]:
    """Return what the constraint allows, by price, and the rest, where no plan is to be held."""
    worth = _WORTH.get(objective)
    if worth is None:
        raise ArgumentError(
            f"objective={objective!r} needs to know what is to be served.",
            param="objective",
            hint=f"Name a model with --for, or use {' or '.join(_WORTH)}.",
        )

    def explained(
        offering: ComputeOffering, rank: int | None, against: list[Reason]
    ) -> Explanation:
        return Explanation(
            offering=offering,
            objective=objective,
            rank=rank,
            value=None if against else worth(offering),
            instances=1,
            usd_per_hour=offering.usd_per_hour,
            tokens_per_s=None,
            reasons=tuple(against),
        )

    allowed: list[ComputeOffering] = []
    excluded: list[Explanation] = []
    for offering in offerings:
        against = list(_reasons(offering, constraint, only_launchable=only_launchable))
        if against:
            excluded.append(explained(offering, None, against))
        else:
            allowed.append(offering)
    allowed.sort(key=lambda one: (worth(one), one.usd_per_hour, one.provider, one.id))
    return [explained(one, rank, []) for rank, one in enumerate(allowed, 1)], excluded


def _reasons(
    offering: ComputeOffering, constraint: DeploymentConstraint, *, only_launchable: bool
) -> Iterator[Reason]:
    yield from terms_reasons(offering.terms, constraint, only_launchable=only_launchable)
    if constraint.single_device and (reason := single_device_reason(offering.hardware)):
        yield reason
    limit = constraint.max_usd_per_hour
    if limit is not None and offering.usd_per_hour > limit:
        yield price_reason(offering.usd_per_hour, limit)
