"""state/records.py: what counts as live."""

from __future__ import annotations

from typing import get_args

from conduit_nb.state.records import (
    ENDED_DEPLOYMENTS,
    ENDED_NODES,
    DeploymentState,
    NodeState,
)
from tests.state.stores import deployment, node


def test_a_record_is_live_until_nothing_of_it_can_bill():
    assert {one for one in get_args(DeploymentState) if not deployment(status=one).is_live} == (
        ENDED_DEPLOYMENTS
    )
    assert {one for one in get_args(NodeState) if not node(status=one).is_live} == ENDED_NODES
    assert node(status="stopped").is_live  # its disk costs
