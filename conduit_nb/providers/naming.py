"""Names of nodes: whose they are, of which deployment, which replica, and which attempt.

A name is all that ties a node at a provider to our state when a process dies between the two, so
it is unique, made before the node is, and can be read back. It has letters, digits and dashes
only and at most 63 of them, which every provider takes.
Layer 3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "conduit"
INSTALLATION_LENGTH = 12
DEPLOYMENT_LENGTH = 8
"""What of a deployment's id is its own; the id of its state follows."""
_NAME = re.compile(
    rf"{PREFIX}-(?P<installation>[0-9a-f]{{{INSTALLATION_LENGTH}}})"
    r"-(?P<deployment>[a-z0-9]{6,16})-(?P<replica>\d{1,4})-(?P<attempt>\d{1,6})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeName:
    """The parts of a node's name. `installation` is the beginning of the installation's id."""

    installation: str
    deployment: str
    replica: int
    attempt: int

    def __str__(self) -> str:
        return f"{PREFIX}-{self.installation}-{self.deployment}-{self.replica}-{self.attempt}"

    def is_of(self, installation_id: str) -> bool:
        """Say whether the node was made by that installation."""
        return self.installation == installation_id[:INSTALLATION_LENGTH]

    def is_of_state(self, state_id: str) -> bool:
        """Say whether its deployment was written to the state of that id."""
        return self.deployment[DEPLOYMENT_LENGTH:] == state_id


def parse_node_name(name: str) -> NodeName | None:
    """Return the parts of a name, None where the node is none of a deployment of Conduit's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return NodeName(
        installation=found["installation"],
        deployment=found["deployment"],
        replica=int(found["replica"]),
        attempt=int(found["attempt"]),
    )
