"""Which offerings hold a plan, in which order, and why not the others.

Hardware is judged once for each kind and terms once for each combination, so that many offerings
cost little; the words of a reason are written when somebody asks.
Layer 2: pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter, eq
from typing import TYPE_CHECKING, overload

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.detection import local_offerings
from conduit_nb.compute.judging import (
    KNOBS,
    Reason,
    ReasonCode,
    is_acceptable,
    price_reason,
    terms_reasons,
)
from conduit_nb.compute.objectives import Fit, Objective, fit_of, known_objective
from conduit_nb.compute.offerings import ComputeOffering, Hardware, OfferingTable, Terms
from conduit_nb.compute.planning import plan as plan_models
from conduit_nb.compute.throughput import Range
from conduit_nb.compute.vram import GIB, Plan, PlannedModel
from conduit_nb.errors import NoOfferingError

if TYPE_CHECKING:
    import pandas as pd

_usd_per_hour = attrgetter("usd_per_hour")
_terms = attrgetter("terms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a selection says of one offering. `rank` counts from 1; None where it does not fit.

    `value` is the objective's, `usd_per_hour` the price of the `instances` that the plan needs.
    """

    offering: ComputeOffering
    objective: Objective
    rank: int | None
    value: float | None
    instances: int
    usd_per_hour: float
    tokens_per_s: Range | None
    reasons: tuple[Reason, ...]

    @property
    def fits(self) -> bool:
        """Say whether nothing speaks against the offering."""
        return not self.reasons

    def __str__(self) -> str:
        offering = self.offering
        what = f"{offering.provider} {offering.id}"
        if self.reasons:
            return f"{what} is out: {'; '.join(reason.text for reason in self.reasons)}."
        times = f"{self.instances} x " if self.instances > 1 else ""
        speed = f", {self.tokens_per_s} tokens/s" if self.tokens_per_s else ""
        return (
            f"{what} is number {self.rank} by {self.objective} ({self.value:.4g}):"
            f" {times}{offering.count * offering.nodes} x {offering.hardware.name}"
            f" with {offering.hardware.memory_gib:.1f} GiB, ${self.usd_per_hour:.2f}/h{speed}."
        )


class Ranking(Sequence[ComputeOffering]):
    """The offerings that fit, the best first; each is looked up when it is asked for."""

    __slots__ = ("_offerings", "_order")

    def __init__(self, offerings: list[ComputeOffering], order: list[int]) -> None:
        self._offerings = offerings
        self._order = order

    @overload
    def __getitem__(self, index: int) -> ComputeOffering: ...
    @overload
    def __getitem__(self, index: slice) -> list[ComputeOffering]: ...
    def __getitem__(self, index: int | slice) -> ComputeOffering | list[ComputeOffering]:
        if isinstance(index, slice):
            return [self._offerings[place] for place in self._order[index]]
        return self._offerings[self._order[index]]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[ComputeOffering]:
        return (self._offerings[place] for place in self._order)


def calculate_best_compute_offering(
    models: Plan | PlannedModel | Sequence[PlannedModel],
    offerings: Iterable[ComputeOffering] | None = None,
    *,
    constraint: DeploymentConstraint | None = None,
    objective: Objective = "usd_per_gib",
    max_usd_per_hour: float | None = None,
    only_launchable: bool = True,
    runtime: str = "lmlite",
) -> Selection:
    """Return the offerings that hold the models, `.best` first, and why the others are out.

    Takes a plan, or models that are planned for one device of `runtime`. Without `offerings` this
    machine's are taken. Raises NoOfferingError where none fits; `rank_offerings` returns the
    reasons instead.
    """
    selection = rank_offerings(
        _plan_of(models, runtime),
        local_offerings() if offerings is None else offerings,
        constraint=constraint,
        objective=objective,
        max_usd_per_hour=max_usd_per_hour,
        only_launchable=only_launchable,
    )
    assert selection.best  # or it raises
    return selection


def rank_offerings(
    plan: Plan,
    offerings: Iterable[ComputeOffering],
    *,
    constraint: DeploymentConstraint | None = None,
    objective: Objective = "usd_per_gib",
    max_usd_per_hour: float | None = None,
    only_launchable: bool = True,
) -> Selection:
    """Return the same, with nothing ranked where nothing fits.

    Offerings that are equal by the objective go by price, size, speed and name. The lower of
    `max_usd_per_hour` and the constraint's counts. With `only_launchable=False` offerings that
    nobody here can start are ranked too, for their price.
    """
    objective = known_objective(objective)
    constraint = constraint or DeploymentConstraint()
    limits = [one for one in (max_usd_per_hour, constraint.max_usd_per_hour) if one is not None]
    return Selection(
        plan,
        offerings if isinstance(offerings, OfferingTable) else OfferingTable(offerings),
        constraint=constraint,
        objective=objective,
        max_usd_per_hour=min(limits, default=None),
        only_launchable=only_launchable,
    )


class Selection:
    """The answer: `best`, `ranked`, and why. Made by `calculate_best_compute_offering`."""

    def __init__(
        self,
        plan: Plan,
        offerings: OfferingTable,
        *,
        constraint: DeploymentConstraint,
        objective: Objective,
        max_usd_per_hour: float | None,
        only_launchable: bool,
    ) -> None:
        self.plan = plan
        self.offerings = offerings
        self.constraint = constraint
        self.objective: Objective = objective
        self.max_usd_per_hour = max_usd_per_hour
        self._only_launchable = only_launchable
        self._fits = {hardware: self._fit(hardware) for hardware in offerings.hardware}
        self._terms: dict[Terms, tuple[Reason, ...]] = {}
        self._values: list[float] = []
        self.ranked = self._rank()
        self._places: dict[int, int] = {}

    @property
    def best(self) -> ComputeOffering:
        """Return the first of the ranking; NoOfferingError where nothing fits."""
        if not self.ranked:
            raise _no_offering(self)
        return self.ranked[0]

    def explain(self, offering: ComputeOffering) -> Explanation:
        """Return the offering's rank and value, or everything that speaks against it."""
        fit = self._fits.get(offering.hardware) or self._fit(offering.hardware)
        reasons = self._reasons(offering, fit)
        if not self._places:
            self._places = {id(one): rank for rank, one in enumerate(self.ranked, 1)}
        fits = not reasons
        return Explanation(
            offering=offering,
            objective=self.objective,
            rank=self._places.get(id(offering)) if fits else None,
            value=self._value(offering, fit) if fits else None,
            instances=fit.instances,
            usd_per_hour=offering.usd_per_hour * max(1, fit.instances),
            tokens_per_s=fit.tokens_per_s,
            reasons=reasons,
        )

    def reason_counts(self) -> Mapping[ReasonCode, int]:
        """Count how many offerings each reason speaks against, the most frequent first."""
        counts: Counter[ReasonCode] = Counter()
        for hardware, fit in self._fits.items():
            group = self.offerings.of(hardware)
            for reason in fit.reasons:
                counts[reason.code] += len(group)
            counts["price"] += len(group) - self._affordable(group, fit)
        for terms, number in self.offerings.terms.items():
            for reason in self._reasons_of_terms(terms):
                counts[reason.code] += number
        counts += Counter()  # drops what never happened
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def why_rows(self) -> list[dict[str, object]]:
        """Return one row for each offering: the ranked ones in order, then those that are out."""
        names, columns = zip(*self._why_columns().items(), strict=True)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def why(self) -> pd.DataFrame:
        """Return the same as a DataFrame, whose last column holds every reason in words."""
        import pandas as pd

        return pd.DataFrame(self._why_columns())

    def _fit(self, hardware: Hardware) -> Fit:
        single_device = self.constraint.single_device
        return fit_of(hardware, self.plan, self.objective, single_device=single_device)

    def _rank(self) -> Ranking:
        offerings: list[ComputeOffering] = []
        values: list[float] = []
        allowed: dict[Terms, bool] = {}
        for hardware, fit in self._fits.items():
            if fit.reasons:
                continue
            group = self.offerings.of(hardware)
            group = group[: self._affordable(group, fit)]
            terms: list[Terms] = list(map(_terms, group))
            for one in set(terms) - allowed.keys():
                allowed[one] = is_acceptable(
                    one, self.constraint, only_launchable=self._only_launchable
                )
            chosen = list(compress(group, map(allowed.__getitem__, terms)))
            scale, offset = fit.scale, fit.offset
            # Three times a price over three times the memory is the same figure, but for rounding.
            values += [round(price * scale + offset, 9) for price in map(_usd_per_hour, chosen)]
            offerings += chosen
        order = sorted(range(len(values)), key=values.__getitem__)
        self._settle_ties(order, values, offerings)
        if self.objective == "topology" and order:
            self._promote(order, offerings)
        return Ranking(offerings, order)

    def _value(self, offering: ComputeOffering, fit: Fit) -> float:
        """Return the figure that the objective is named after."""
        if self.objective == "topology":
            return offering.usd_per_gib_hour
        return abs(offering.usd_per_hour * fit.scale + fit.offset)

    def _affordable(self, group: list[ComputeOffering], fit: Fit) -> int:
        """Return how many of the group, the cheapest first, are within the limit."""
        if self.max_usd_per_hour is None:
            return len(group)
        return bisect_right(group, self._limit(fit), key=_usd_per_hour)

    def _limit(self, fit: Fit) -> float:
        assert self.max_usd_per_hour is not None
        return self.max_usd_per_hour / max(1, fit.instances)

    def _reasons(self, offering: ComputeOffering, fit: Fit) -> tuple[Reason, ...]:
        reasons = fit.reasons + self._reasons_of_terms(offering.terms)
        if self.max_usd_per_hour is not None and offering.usd_per_hour > self._limit(fit):
            price = offering.usd_per_hour * max(1, fit.instances)
            reasons += (price_reason(price, self.max_usd_per_hour),)
        return reasons

    def _reasons_of_terms(self, terms: Terms) -> tuple[Reason, ...]:
        if terms not in self._terms:
            self._terms[terms] = terms_reasons(
                terms, self.constraint, only_launchable=self._only_launchable
            )
        return self._terms[terms]

    def _settle_ties(
        self, order: list[int], values: list[float], offerings: list[ComputeOffering]
    ) -> None:
        """Put offerings of the same value into an order that does not depend on where they came."""
        in_order = list(map(values.__getitem__, order))
        end = 0
        for start in compress(range(len(order)), map(eq, in_order, in_order[1:])):
            if start < end:
                continue  # inside the run that was just sorted
            end = bisect_right(in_order, in_order[start], lo=start)
            run = [(offerings[place], place) for place in order[start:end]]
            one_kind = len({offering.hardware for offering, _ in run}) == 1
            key = _name_key if one_kind else self._tie_key
            run.sort(key=lambda pair: key(pair[0]))
            order[start:end] = [place for _, place in run]

    def _tie_key(self, offering: ComputeOffering) -> tuple[object, ...]:
        fit = self._fits[offering.hardware]
        return (
            offering.usd_per_hour * fit.instances,
            -offering.hardware.total_gib,
            -fit.speed,
            *_name_key(offering),
            offering.hardware.name,
        )

    def _promote(self, order: list[int], offerings: list[ComputeOffering]) -> None:
        """Put before the first whatever is cheaper, larger and faster at once."""
        head = 0
        for index, place in enumerate(order):
            if self._dominates(offerings[place], offerings[order[head]]):
                head = index
        order.insert(0, order.pop(head))

    def _dominates(self, one: ComputeOffering, other: ComputeOffering) -> bool:
        return (
            one.usd_per_hour < other.usd_per_hour
            and one.total_gib > other.total_gib
            and self._fits[one.hardware].speed > self._fits[other.hardware].speed
        )

    def _why_columns(self) -> dict[str, list[object]]:
        ranked = list(self.ranked)
        inside = set(map(id, ranked))
        shown = ranked + [one for one in self.offerings if id(one) not in inside]
        fits = [self._fits[one.hardware] for one in shown]
        speeds = [fit.tokens_per_s for fit in fits]
        number = len(ranked)
        names = ("provider", "id", "region", "accelerator", "count", "nodes")
        return {
            "rank": [*range(1, number + 1), *[None] * (len(shown) - number)],
            **{name: list(map(attrgetter(name), shown)) for name in names},
            "memory_gib": [one.hardware.memory_gib for one in shown],
            "usd_per_hour": list(map(_usd_per_hour, shown)),
            "availability": [one.availability for one in shown],
            "interruptible": [one.interruptible for one in shown],
            "instances": [fit.instances for fit in fits],
            self.objective: [
                self._value(one, fit) if place < number else None
                for place, (one, fit) in enumerate(zip(shown, fits, strict=True))
            ],
            "tokens_per_s_low": [speed and speed.low for speed in speeds],
            "tokens_per_s_expected": [speed and speed.expected for speed in speeds],
            "tokens_per_s_high": [speed and speed.high for speed in speeds],
            "why_not": [
                "; ".join(reason.text for reason in self._reasons(one, fit))
                for one, fit in zip(shown, fits, strict=True)
            ],
        }


def _plan_of(models: Plan | PlannedModel | Sequence[PlannedModel], runtime: str) -> Plan:
    if isinstance(models, Plan):
        return models
    return plan_models(models if isinstance(models, Sequence) else [models], runtime=runtime)


def _name_key(offering: ComputeOffering) -> tuple[float, str, str, str]:
    """Return what puts offerings of the same hardware and value into order."""
    return (offering.usd_per_hour, offering.provider, offering.id, offering.region or "")


def _no_offering(selection: Selection) -> NoOfferingError:
    counts = selection.reason_counts()
    needed_gib = selection.plan.largest_device_bytes / GIB
    largest_gib = max((one.memory_gib for one in selection.offerings.hardware), default=0.0)
    considered = len(selection.offerings)
    said = ", ".join(f"{code.replace('_', ' ')} {number}" for code, number in counts.items())
    devices = selection.plan.devices_per_replica
    return NoOfferingError(
        f"No offering holds the plan: {devices} x {needed_gib:.1f} GiB; the largest device of"
        f" {considered} offerings has {largest_gib:.1f} GiB. Against them speak: {said or '-'}.",
        needed_gib=needed_gib,
        largest_gib=largest_gib,
        considered=considered,
        reasons={str(code): number for code, number in counts.items()},
        hint=_what_to_do(counts),
    )


def _what_to_do(counts: Mapping[ReasonCode, int]) -> str:
    if not counts:
        return "There was nothing to choose from: configure a provider."
    first, *others = [KNOBS[code] for code in list(counts)[:2]]
    return f"{first[0].upper()}{first[1:]}" + (f"; or {others[0]}." if others else ".")
