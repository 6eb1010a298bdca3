"""plans/choice.py: what is offered, within a constraint, and why not the rest."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.errors import ArgumentError
from conduit_nb.plans.choice import Choice, choose
from conduit_nb.providers.sources import Market
from tests.compute.made_plans import made_plan
from tests.plans.described_market import L40S, MARKET, TWO_L4, offered

ANYTHING = DeploymentConstraint()


def chosen(plan: Any = None, **asked: Any) -> Choice:
    constraint = DeploymentConstraint(**asked.pop("constraint", {}))
    return choose(MARKET, plan, constraint=constraint, **asked)


def ids(explanations: Any) -> list[str]:
    return [one.offering.id for one in explanations]


def test_without_a_plan_offerings_go_by_price_per_gib():
    choice = chosen()

    assert ids(choice.ranked) == ["l4", "a100", "l40s"]
    assert [one.rank for one in choice.ranked] == [1, 2, 3]
    assert choice.best == TWO_L4
    assert ids(choice.excluded) == ["h100"]
    assert choice.reason_counts() == {"availability": 1}
    assert choice.failures == MARKET.failures


@pytest.mark.parametrize(
    ("constraint", "left"),
    [
        ({"single_device": True}, ["a100", "l40s"]),
        ({"max_usd_per_hour": 0.85}, ["l4"]),
        ({"regions": ("us-*",)}, ["l4"]),
        ({"interruptible": False}, ["l4", "l40s"]),
        ({"min_availability": "none"}, ["l4", "a100", "l40s", "h100"]),
        ({"enterprise": True}, []),
        ({"providers": ("aws",)}, []),
    ],
)
def test_a_constraint_leaves_out_and_says_why(constraint: dict[str, Any], left: list[str]):
    choice = chosen(constraint=constraint)

    assert ids(choice.ranked) == left
    assert len(choice.excluded) == len(MARKET.offerings) - len(left)
    assert all(one.reasons for one in choice.excluded)


def test_with_a_plan_what_holds_it_is_ranked_and_the_rest_explained():
    choice = chosen(made_plan(40))

    assert ids(choice.ranked) == ["a100", "l40s"]
    assert {
        one.offering.id: [reason.code for reason in one.reasons] for one in choice.excluded
    } == {
        "h100": ["availability"],
        "l4": ["memory"],
    }
    assert choice.ranked[1].tokens_per_s is not None
    assert [one.rank for one in choice.ranked[:2]] == [1, 2]


def test_only_what_a_runtime_here_can_start_counts_as_launchable():
    for plan, launchable in ((made_plan(10), True), (made_plan(10, runtime="sglang"), False)):
        choice = chosen(plan)

        assert choice.is_launchable(L40S) is launchable
        assert not choice.is_launchable(TWO_L4)


def test_only_launchable_leaves_out_what_is_known_by_its_price():
    assert ids(chosen(only_launchable=True).ranked) == ["a100", "l40s"]
    assert ids(chosen(made_plan(10, runtime="lmlite"), only_launchable=True).ranked) == [
        "a100",
        "l40s",
    ]
    with pytest.raises(ArgumentError, match="sglang") as caught:
        chosen(made_plan(10, runtime="sglang"), only_launchable=True)
    assert caught.value.param == "only_launchable"


def test_a_gpu_by_any_of_its_names_leaves_its_offerings():
    choice = chosen(gpu="nvidia a100-sxm4-80gb")

    assert ids(choice.ranked) == ["a100"]
    assert choice.other_gpus == 3


def test_a_gpu_that_only_a_provider_knows_is_found_by_its_name():
    market = Market(offerings=(offered("x", "Zebra 9000", 10, 1), L40S), failures=())

    assert ids(choose(market, constraint=ANYTHING, gpu="zebra 9000").ranked) == ["x"]


def test_a_gpu_that_nobody_knows_is_an_error():
    with pytest.raises(ArgumentError, match="L40SS") as caught:
        chosen(gpu="L40SS")
    assert caught.value.param == "gpu"


def test_an_objective_that_needs_a_plan_says_so():
    for objective, hinted in (("topology", "--for"), ("zebra", "topology")):
        with pytest.raises(ArgumentError, match=objective) as caught:
            chosen(objective=objective)
        assert caught.value.param == "objective"
        assert hinted in caught.value.hint
    assert ids(chosen(objective="usd_per_hour").ranked) == ["l4", "l40s", "a100"]
