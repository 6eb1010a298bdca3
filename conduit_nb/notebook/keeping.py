"""`conduit_nb.attach()` and `conduit_nb.cleanup()`: nodes in our accounts that no deployment names.

Knows no IPython, so that a script can use it.
Layer 7.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.notebook.display import Table
from conduit_nb.session import process_session


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedNode:
    """An orphaned node that was terminated."""

    name: str


def attach(node_name: str) -> Table[DeploymentInfo]:
    """Take over a node that `ps` shows as another's, or as one that no row names.

    It is a deployment then, whose money counts from now on. Where it was started with another
    secret it can be stopped and ended here, not asked.
    """
    session = process_session()
    return Table([session.wait(session.fleet.adopt(node_name))], empty="Nothing runs.")


def cleanup(*, force: bool = False) -> Table[EndedNode]:
    """End every node of this state that no deployment wants; return what was ended.

    Nodes of this installation that another state (`CONDUIT_DB_URI`) may use are named, and ended
    with `force` only.
    """
    session = process_session()
    ended = [EndedNode(name=name) for name in session.wait(session.fleet.gc(force=force))]
    return Table(ended, empty="No orphaned nodes found.")


def unclaimed(*, all_nodes: bool = False) -> list[DeploymentInfo]:
    """Return the nodes in our accounts that no deployment names: see `Session.unclaimed`."""
    return process_session().unclaimed(all_nodes=all_nodes)
