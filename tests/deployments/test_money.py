"""deployments/money.py: budgets never overlap, and caps hold."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.deployments.money import (
    Caps,
    is_day_the_limit,
    left_usd,
    rates_of,
    relevant_since,
    require_money,
)
from conduit_nb.errors import SpendCapError
from conduit_nb.state.records import Charge, NodeRecord
from tests.state.stores import NOW, node

CAPS = Caps(deployment_usd=5, day_usd=10)


def charge(name: str, usd: float, deployment: str = "d1") -> Charge:
    """A charge that has come to so much by NOW, and is over."""
    return Charge(
        node=name,
        deployment=deployment,
        state="running",
        usd_per_hour=usd,
        begin=NOW - timedelta(hours=1),
        end=NOW,
    )


def test_a_node_costs_its_offering_and_its_disk_and_a_stopped_one_its_disk():
    offering = ComputeOffering(
        provider="p",
        id="x",
        accelerator="L40S",
        memory_gib=44,
        usd_per_hour=0.8,
        disk_usd_per_gib_month=0.1,
        stopped_disk_usd_per_gib_month=0.2,
    )

    rates = rates_of(offering, 73)

    assert rates.running_usd_per_hour == pytest.approx(0.81)
    assert rates.stopped_usd_per_hour == pytest.approx(0.02)


def test_what_is_left_is_the_lesser_of_both_caps():
    left = left_usd(CAPS, deployment="d1", charges=[charge("a", 2)], nodes=[], now=NOW)
    other = left_usd(CAPS, deployment="d2", charges=[charge("a", 7)], nodes=[], now=NOW)

    assert (left, other) == (3, 3)


def test_what_a_live_node_may_still_spend_is_spent_already():
    live = node(name="a", deployment="d1", budget_usd=4)

    left = left_usd(CAPS, deployment="d1", charges=[charge("a", 1)], nodes=[live], now=NOW)

    assert left == pytest.approx(1)


@given(
    st.lists(st.tuples(st.floats(0, 6), st.floats(0, 6), st.sampled_from(["d1", "d2"])), max_size=5)
)
def test_whatever_was_given_out_all_of_it_together_is_within_the_caps(
    spent: list[tuple[float, float, str]],
):
    charges: list[Charge] = []
    nodes: list[NodeRecord] = []
    for number, (wanted, used, deployment) in enumerate(spent):
        budget = min(
            wanted, left_usd(CAPS, deployment=deployment, charges=charges, nodes=nodes, now=NOW)
        )
        nodes.append(node(name=str(number), deployment=deployment, budget_usd=budget))
        charges.append(charge(str(number), min(used, budget), deployment))

    budgets = {
        name: sum(one.budget_usd or 0 for one in nodes if one.deployment == name)
        for name in ("d1", "d2")
    }
    assert max(budgets.values()) <= CAPS.deployment_usd + 1e-9
    assert sum(budgets.values()) <= CAPS.day_usd + 1e-9


def test_money_for_less_than_some_minutes_is_none():
    require_money(0.1, 1.0, caps=CAPS, is_day=False)
    require_money(0.0, 0.0, caps=CAPS, is_day=False)
    with pytest.raises(SpendCapError) as caught:
        require_money(0.05, 1.0, caps=CAPS, is_day=False)
    with pytest.raises(SpendCapError) as day:
        require_money(0.05, 1.0, caps=CAPS, is_day=True)

    assert "--max-usd" in caught.value.hint
    assert "CONDUIT_MAX_USD_PER_DAY" in day.value.hint
    assert caught.value.left_usd == 0.05


def test_a_day_that_is_nearly_spent_is_the_limit():
    assert not is_day_the_limit(CAPS, [charge("a", 2)], NOW)
    assert is_day_the_limit(CAPS, [charge("a", 8)], NOW)
    assert relevant_since(NOW) < NOW
