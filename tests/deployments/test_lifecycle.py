"""deployments/lifecycle.py: tables that know every state, and ways that lead to an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from conduit_nb.deployments.lifecycle import DEPLOYMENTS, NODES, may_become
from conduit_nb.state.records import (
    ENDED_DEPLOYMENTS,
    ENDED_NODES,
    DeploymentState,
    NodeState,
)


@pytest.mark.parametrize(
    ("table", "states", "ended"),
    [
        (DEPLOYMENTS, get_args(DeploymentState), ENDED_DEPLOYMENTS),
        (NODES, get_args(NodeState), ENDED_NODES),
    ],
    ids=["deployments", "nodes"],
)
def test_every_state_is_known_and_leads_to_an_end_that_nothing_follows(
    table: Mapping[str, frozenset[str]], states: tuple[str, ...], ended: frozenset[str]
):
    assert set(table) == set(states)
    assert {state for state in states if not table[state]} == ended
    for state in states:
        reached: set[Any] = {state}
        while more := {after for one in reached for after in table[one]} - reached:
            reached |= more
        assert reached & ended


def test_nothing_that_may_bill_is_called_failed_without_being_ended():
    assert {before for before, after in NODES.items() if "failed" in after} == {
        "launching",
        "terminating",
    }


def test_a_state_may_stay():
    assert may_become("running", "running", NODES)
    assert may_become("terminated", "terminated", NODES)
    assert not may_become("terminated", "running", NODES)
