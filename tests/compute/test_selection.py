"""compute/selection.py: the best is best, and every other has its reason."""

from __future__ import annotations

import dataclasses
import random
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.objectives import Objective
from conduit_nb.compute.offerings import ComputeOffering, OfferingTable
from conduit_nb.compute.selection import (
    Selection,
    calculate_best_compute_offering,
    rank_offerings,
)
from conduit_nb.errors import ArgumentError, NoOfferingError
from tests.compute.made_plans import made_offering, made_plan

CARDS = ("T4", "L4", "L40S", "RTX 4090", "A100 SXM 80GB", "A100 PCIe 80GB", "H100 SXM 80GB", None)
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


def offerings(largest: int = 12) -> st.SearchStrategy[list[ComputeOffering]]:
    """Return lists of offerings that differ in all that counts, with equal prices among them."""
    one = st.builds(
        made_offering,
        st.sampled_from(CARDS),
        st.sampled_from([0.0, 0.5, 0.5, 1.0, 2.0, 7.5]) | st.floats(0, 40),
        count=st.sampled_from([1, 2, 4, 8]),
        provider=st.sampled_from(["runpod", "aws", "local"]),
        region=st.sampled_from([None, "eu-1", "us-1"]),
        availability=st.sampled_from(["none", "low", "high", "unknown"]),
        interruptible=st.booleans(),
        enterprise=st.booleans(),
        launchable=st.sampled_from([True, True, False]),
    )
    return st.lists(one, max_size=largest).map(
        lambda found: [
            dataclasses.replace(offering, id=f"{offering.id} {number}")
            for number, offering in enumerate(found)
        ]
    )


PLANS = st.builds(
    made_plan,
    st.sampled_from([1, 12, 20, 40, 75]),
    tensor_parallel=st.sampled_from([1, 2, 4]),
    replicas=st.sampled_from([1, 1, 3]),
    dtypes=st.sampled_from([("fp16",), ("bf16",), ("fp8",)]),
)
CONSTRAINTS = st.builds(
    DeploymentConstraint,
    enterprise=st.booleans(),
    single_device=st.booleans(),
    max_usd_per_hour=st.sampled_from([None, 1.0, 8.0]),
    regions=st.sampled_from([None, ("eu-1",)]),
    providers=st.sampled_from([None, ("runpod", "local")]),
    min_availability=st.sampled_from([None, "none", "low", "high"]),
    interruptible=st.sampled_from([None, True, False]),
)
# A field of the constraint -> from a value to one that accepts more.
RELAXED: dict[str, dict[object, tuple[object, ...]]] = {
    "enterprise": {True: (False,)},
    "single_device": {True: (False,)},
    "max_usd_per_hour": {1.0: (8.0, None), 8.0: (None,)},
    "regions": {("eu-1",): (("eu-1", "us-*"), None)},
    "providers": {("runpod", "local"): (("runpod", "local", "aws"), None)},
    "min_availability": {"high": ("low", None, "none"), "low": (None, "none"), None: ("none",)},
    "interruptible": {True: (None,), False: (None,)},
}


def speed(selection: Selection, offering: ComputeOffering) -> float:
    """Return what is expected of the offering, 0 where nobody knows."""
    estimate = selection.explain(offering).tokens_per_s
    return estimate.expected if estimate else 0.0


@given(offerings(), PLANS, st.sampled_from(OBJECTIVES))
def test_the_best_is_never_dearer_and_smaller_and_slower_than_another_that_fits(
    given_: list[ComputeOffering], plan: Any, objective: Objective
):
    plan = dataclasses.replace(plan, replicas=1)
    selection = rank_offerings(plan, given_, objective=objective)

    for other in selection.ranked:
        best = selection.best
        assert not (
            best.usd_per_hour > other.usd_per_hour
            and best.total_gib < other.total_gib
            and speed(selection, best) < speed(selection, other)
        )


@given(offerings(), PLANS, CONSTRAINTS, st.sampled_from(OBJECTIVES), st.data())
def test_accepting_more_never_makes_the_best_worse(
    given_: list[ComputeOffering],
    plan: Any,
    constraint: DeploymentConstraint,
    objective: Objective,
    data: st.DataObject,
):
    field = data.draw(st.sampled_from(sorted(RELAXED)))
    wider = RELAXED[field].get(getattr(constraint, field), (getattr(constraint, field),))
    relaxed = dataclasses.replace(constraint, **{field: data.draw(st.sampled_from(wider))})

    strict = rank_offerings(plan, given_, constraint=constraint, objective=objective)
    loose = rank_offerings(plan, given_, constraint=relaxed, objective=objective)

    assert set(map(id, strict.ranked)) <= set(map(id, loose.ranked))
    if strict.ranked and objective != "topology":  # which trades links for prices
        before, after = strict.explain(strict.best).value, loose.explain(loose.best).value
        assert before is not None
        assert after is not None
        worse = after < before if objective == "tokens_per_second" else after > before
        assert not worse


@given(offerings(), PLANS, CONSTRAINTS, st.sampled_from(OBJECTIVES))
def test_every_offering_is_ranked_or_has_its_reasons(
    given_: list[ComputeOffering], plan: Any, constraint: DeploymentConstraint, objective: Objective
):
    selection = rank_offerings(plan, given_, constraint=constraint, objective=objective)

    ranked = set(map(id, selection.ranked))
    explained = [selection.explain(one) for one in given_]
    assert [one.fits for one in explained] == [id(one) in ranked for one in given_]
    assert all((one.rank is None) == bool(one.reasons) for one in explained)
    assert all(str(one) for one in explained)
    counts: dict[str, int] = {}
    for one in explained:
        for reason in one.reasons:
            counts[reason.code] = counts.get(reason.code, 0) + 1
    assert selection.reason_counts() == counts
    rows = selection.why_rows()
    assert len(rows) == len(given_)
    assert [row["rank"] for row in rows[: len(ranked)]] == list(range(1, len(ranked) + 1))
    assert [bool(row["why_not"]) for row in rows] == [False] * len(ranked) + [True] * (
        len(given_) - len(ranked)
    )


@given(offerings(), PLANS, st.sampled_from(OBJECTIVES), st.randoms())
def test_the_order_does_not_depend_on_where_offerings_came(
    given_: list[ComputeOffering], plan: Any, objective: Objective, chance: random.Random
):
    shuffled = given_.copy()
    chance.shuffle(shuffled)

    one = rank_offerings(plan, given_, objective=objective)
    other = rank_offerings(plan, OfferingTable(shuffled), objective=objective)

    assert list(one.ranked) == list(other.ranked)


@given(offerings(), PLANS, st.sampled_from(OBJECTIVES))
def test_the_ranking_is_sorted_by_its_value(
    given_: list[ComputeOffering], plan: Any, objective: Objective
):
    selection = rank_offerings(plan, given_, objective=objective)

    values = [selection.explain(one).value for one in selection.ranked]
    assert None not in values
    if objective != "topology":
        assert values == sorted(values, reverse=objective == "tokens_per_second")  # type: ignore[type-var]  # no None


def test_the_default_is_the_best_price_per_gib():
    small, large = made_offering("L4", 0.5), made_offering("A100 SXM 80GB", 1.4)

    selection = calculate_best_compute_offering(made_plan(16), [small, large])

    assert selection.best is large
    assert list(selection.ranked) == [large, small]
    assert selection.ranked[:1] == [large]


def test_of_the_same_price_per_gib_the_least_hardware_is_best():
    several = [made_offering("MI300X", 1.99 * count, count=count) for count in (3, 7, 1, 2, 6)]

    chosen = rank_offerings(made_plan(100), several)

    assert [offering.count for offering in chosen.ranked] == [1, 2, 3, 6, 7]


def test_each_objective_has_its_own_best():
    cheap = made_offering("L4", 0.4)
    roomy = made_offering("A100 SXM 80GB", 1.4)
    fast = made_offering("H100 SXM 80GB", 3.0)

    best = {
        objective: calculate_best_compute_offering(
            made_plan(16), [cheap, roomy, fast], objective=objective
        ).best
        for objective in OBJECTIVES
    }

    assert best["usd_per_hour"] is cheap
    assert best["usd_per_gib"] is roomy
    assert best["tokens_per_second"] is fast


def test_the_fastest_within_a_budget():
    slow, fast = made_offering("L4", 0.4), made_offering("H100 SXM 80GB", 3.0)

    selection = calculate_best_compute_offering(
        made_plan(16), [slow, fast], objective="tokens_per_second", max_usd_per_hour=1
    )

    assert selection.best is slow
    explained = selection.explain(fast)
    assert [reason.code for reason in explained.reasons] == ["price"]
    assert re.search(r"\$3\.00/h.*max_usd_per_hour \$1\.00", str(explained))


def test_topology_prefers_nvlink_unless_another_is_cheaper_larger_and_faster():
    plan = made_plan(16, tensor_parallel=2)
    nvlink = made_offering("A100 SXM 40GB", 5.0, count=2)
    pcie = made_offering("L40S", 1.0, count=2)
    slower = made_offering("RTX PRO 6000 WS", 1.0, count=8)
    wonder = made_offering("H100 SXM 80GB", 1.0, count=8, interconnect="pcie")

    for others, best in (([pcie], nvlink), ([pcie, slower], nvlink), ([slower, wonder], wonder)):
        selection = calculate_best_compute_offering(plan, [*others, nvlink], objective="topology")
        assert selection.best is best


def test_what_nobody_here_can_start_is_ranked_only_when_asked():
    listed = made_offering("L4", 0.1, launchable=False)
    ours = made_offering("L4", 1.0)

    assert calculate_best_compute_offering(made_plan(16), [listed, ours]).best is ours
    both = calculate_best_compute_offering(made_plan(16), [listed, ours], only_launchable=False)
    assert both.best is listed


def test_what_is_sold_out_is_never_the_best():
    gone, there = made_offering("L4", 0.1, availability="none"), made_offering("L4", 1.0)

    selection = calculate_best_compute_offering(made_plan(16), [gone, there])

    assert selection.best is there
    assert [reason.code for reason in selection.explain(gone).reasons] == ["availability"]


def test_nothing_that_fits_is_an_error_with_the_numbers_and_the_knobs():
    given_ = [made_offering("L4", 0.5), made_offering("T4", 0.2), made_offering("L4", 9.0)]

    with pytest.raises(NoOfferingError) as raised:
        calculate_best_compute_offering(
            made_plan(60), given_, constraint=DeploymentConstraint(max_usd_per_hour=5)
        )

    error = raised.value
    assert error.needed_gib == pytest.approx(60, abs=0.01)
    assert error.largest_gib == pytest.approx(22.03)
    assert error.considered == 3
    assert error.reasons == {"memory": 3, "dtype": 1, "price": 1}
    assert "60.0 GiB" in str(error)
    assert "max_model_len" in error.hint


def test_no_offerings_at_all_say_so():
    with pytest.raises(NoOfferingError) as raised:
        calculate_best_compute_offering(made_plan(1), [])

    assert (raised.value.considered, raised.value.reasons) == (0, {})
    assert "provider" in raised.value.hint


def test_an_empty_selection_still_explains():
    selection = rank_offerings(made_plan(60), [made_offering("L4")])

    assert len(selection.ranked) == 0
    assert "60.0" in str(selection.why_rows()[0]["why_not"])
    with pytest.raises(NoOfferingError):
        _ = selection.best


def test_an_offering_that_was_not_among_them_is_explained_as_well():
    selection = rank_offerings(made_plan(30), [made_offering("L40S")])

    assert not selection.explain(made_offering("T4")).fits


def test_why_is_a_frame_of_all_offerings():
    pytest.importorskip("pandas")
    selection = rank_offerings(made_plan(30), [made_offering("L4"), made_offering("L40S")])

    frame = selection.why()

    assert list(frame["accelerator"]) == ["L40S", "L4"]
    assert frame["why_not"].iloc[0] == ""
    assert "30.0" in frame["why_not"].iloc[1]


def test_without_offerings_this_machine_is_asked():
    selection = calculate_best_compute_offering(made_plan(0.1, runtime="lmlite", dtypes=("fp32",)))

    assert selection.best.provider == "local"


def test_an_unknown_objective_lists_the_known():
    with pytest.raises(ArgumentError, match="cheapest") as raised:
        rank_offerings(made_plan(), [], objective="cheapest")  # type: ignore[arg-type]  # the point

    assert raised.value.param == "objective"
    assert "usd_per_hour" in raised.value.hint


def test_several_replicas_are_priced_as_a_whole():
    plan = made_plan(40, replicas=3)
    selection = calculate_best_compute_offering(
        plan, [made_offering("L40S", 1.0)], objective="usd_per_hour"
    )

    explained = selection.explain(selection.best)

    assert (explained.instances, explained.usd_per_hour, explained.value) == (3, 3.0, 3.0)
    with pytest.raises(NoOfferingError):
        calculate_best_compute_offering(plan, selection.ranked, max_usd_per_hour=2.5)
