"""Which state may follow which: the one table of each kind. Whoever writes a state asks here.

Layer 4: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from conduit_nb.state.records import DeploymentState, NodeState

State = TypeVar("State", bound=str)

DEPLOYMENTS: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    "launching": frozenset({"running", "terminating", "failed"}),
    "running": frozenset({"launching", "stopping", "terminating", "failed"}),
    "stopping": frozenset({"stopped", "terminating", "failed"}),
    "stopped": frozenset({"launching", "terminating", "failed"}),
    "terminating": frozenset({"terminated"}),
    "terminated": frozenset(),
    "failed": frozenset(),
}
NODES: Mapping[NodeState, frozenset[NodeState]] = {
    # "failed" only once it is certain that there is nothing at the provider.
    "launching": frozenset({"booting", "terminating", "failed"}),
    "booting": frozenset({"running", "stopping", "stopped", "terminating", "lost"}),
    "running": frozenset({"booting", "stopping", "stopped", "terminating", "lost"}),
    "stopping": frozenset({"stopped", "terminating", "lost"}),
    # "stopping" again where the provider is found to run what it had said to be stopped.
    "stopped": frozenset({"booting", "running", "stopping", "terminating", "lost"}),
    "terminating": frozenset({"terminated", "failed"}),
    "terminated": frozenset(),
    "failed": frozenset(),
    "lost": frozenset(),
}


def may_become(before: State, after: State, table: Mapping[State, frozenset[State]]) -> bool:
    """Say whether one state may follow another; a state may always stay."""
    return before == after or after in table[before]
