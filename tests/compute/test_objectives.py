"""compute/objectives.py: each objective's formula, by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from conduit_nb.compute.objectives import Objective, fit_of
from tests.compute.made_plans import made_offering, made_plan

FOUR_L40S = made_offering("L40S", 4.0, count=4).hardware


def worth(objective: Objective, usd_per_hour: float = 4.0, **plan: int) -> float:
    """Return what four L40S at that price are worth."""
    fit = fit_of(FOUR_L40S, made_plan(10, **plan), objective)
    assert not fit.reasons
    return usd_per_hour * fit.scale + fit.offset


def test_the_price_of_a_gib_is_over_all_devices():
    assert worth("usd_per_gib") == pytest.approx(4 / (4 * 44.39))


def test_the_price_of_an_hour_counts_how_many_are_needed():
    assert worth("usd_per_hour") == 4
    assert worth("usd_per_hour", tensor_parallel=4, replicas=3) == 12


def test_the_price_of_a_million_tokens_is_price_over_speed():
    speed = fit_of(FOUR_L40S, made_plan(10), "usd_per_hour").speed

    assert worth("usd_per_million_tokens") == pytest.approx(4 / (speed * 3600) * 1e6)


def test_speed_is_worth_more_the_more_there_is_of_it_whatever_it_costs():
    assert worth("tokens_per_second") == worth("tokens_per_second", 99) < 0


def test_topology_puts_links_before_prices():
    plan = made_plan(10, tensor_parallel=4)
    nvlink, bridge, pcie = (
        fit_of(made_offering(name, count=4, interconnect=link).hardware, plan, "topology")
        for name, link in (("A100 SXM 80GB", None), ("RTX 3090", None), ("L40S", None))
    )

    assert nvlink.offset == 0
    assert bridge.offset == pcie.offset > 0, "a bridge ties two"


def test_topology_does_not_matter_to_one_device():
    assert worth("topology") == worth("usd_per_gib")


@pytest.mark.parametrize("objective", get_args(Objective))
def test_what_does_not_hold_the_plan_has_reasons_by_every_objective(objective: Objective):
    assert fit_of(FOUR_L40S, made_plan(60), objective).reasons


@pytest.mark.parametrize("objective", ["usd_per_million_tokens", "tokens_per_second"])
def test_what_cannot_be_estimated_is_out_where_speed_counts(objective: Objective):
    plan = made_plan(10, runtime="lmlite")
    [reason] = fit_of(made_offering(None).hardware, plan, objective).reasons

    assert reason.code == "no_figures"
    assert not fit_of(made_offering(None).hardware, plan, "usd_per_gib").reasons


def test_several_devices_are_out_where_one_is_asked():
    [reason] = fit_of(FOUR_L40S, made_plan(10), "usd_per_gib", single_device=True).reasons

    assert reason.code == "single_device"
