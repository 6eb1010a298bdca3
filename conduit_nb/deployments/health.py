"""Whether a server answers, and is the one that was meant.

A health answer alone proves nothing, anybody may listen on a port: the provider says that the port
is held by the node itself, and the server must take the deployment's key.
Layer 4.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from conduit_nb.client import Endpoint
from conduit_nb.errors import EndpointAuthError, EndpointError
from conduit_nb.protocol import Health
from conduit_nb.providers.base import Node, Provider

PROBE_TIMEOUT_S = 2.0
PATIENT_PROBE_TIMEOUT_S = 5.0
FIRST_POLL_S = 0.05
SLOWEST_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a wait ended: `health` of a server that is ready, else None; `node` as last seen."""

    node: Node | None
    health: Health | None = None

    @property
    def is_gone(self) -> bool:
        """Say whether there is nothing left to wait for."""
        return self.node is None or self.node.status == "gone"


async def probe(endpoint: Endpoint, *, timeout_s: float = PROBE_TIMEOUT_S) -> Health | None:
    """Return the health of a server that takes requests with our key, else None.

    Raises EndpointAuthError where a server answers that refuses the key.
    """
    try:
        health = await endpoint.health(timeout_s=timeout_s)
        if health["status"] != "ok":
            return None
        await endpoint.models(timeout_s=timeout_s)
    except EndpointAuthError:
        raise
    except EndpointError:
        return None
    return health


async def wait_until_ready(
    provider: Provider, name: str, endpoint: Endpoint, *, within_s: float
) -> Found:
    """Look until the node is ready or gone, at least once, and at most for `within_s` seconds."""
    deadline = time.monotonic() + within_s
    pause_s = FIRST_POLL_S
    while True:
        node = await provider.describe(name)
        found = Found(node=node)
        if node is not None and node.status == "running":
            left_s = max(deadline - time.monotonic(), FIRST_POLL_S)
            health = await probe(endpoint, timeout_s=min(PATIENT_PROBE_TIMEOUT_S, left_s))
            found = Found(node=node, health=health)
        if found.health is not None or found.is_gone or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)
