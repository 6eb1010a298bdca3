"""Keeps the replicas of a deployment in step with what is asked of it from here.

Layer 4.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from typing import TYPE_CHECKING

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.deployments.routing import RoutedEndpoint
from conduit_nb.errors import ConduitError, SpendCapError

if TYPE_CHECKING:
    from conduit_nb.deployments.service import Deployments

IDLE_SHARE = 0.5
"""A replica less must still leave every other no fuller than this, else one leaves and returns."""


def wanted_replicas(bounds: Replicas, *, now: int, in_flight: int, per_replica: int) -> int:
    """Return how many replicas `in_flight` requests ask for, `per_replica` at once being full.

    Up as far as the bounds allow at once, down one at a time and only when it is quiet.
    """
    needed = math.ceil(in_flight / per_replica)
    if needed > now:
        return min(needed, bounds.max)
    fewer = now - 1
    if fewer >= bounds.min and in_flight <= fewer * per_replica * IDLE_SHARE:
        return fewer
    return min(max(now, bounds.min), bounds.max)


EVERY_S = 5.0
ROWS_PER_REPLICA = 32
"""Requests at once that fill a replica whose models say nothing of their concurrency."""


class AutoScale:
    """Looks at the requests in flight of a deployment, and has nodes started or ended for them.

    There is one for a deployment, however many endpoints were handed out for it (`follow`): what
    waits at any of them counts, and what is started reaches all of them. What it cannot have (no
    money, no capacity) it tells once, and goes on with what there is.
    """

    def __init__(
        self,
        deployments: Deployments,
        request: DeploymentRequest,
        endpoint: RoutedEndpoint,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._deployments = deployments
        self._request = request
        self._name = endpoint.name
        self._endpoints: weakref.WeakSet[RoutedEndpoint] = weakref.WeakSet([endpoint])
        self._every_s = every_s
        self._told: set[str] = set()
        said = [model.max_model_concurrency for model in request.models]
        self._per_replica = sum(one or ROWS_PER_REPLICA for one in said) or ROWS_PER_REPLICA
        self._task = asyncio.create_task(self._watch(), name=f"scale {endpoint.name}")

    @property
    def is_over(self) -> bool:
        """Say whether its deployment has ended."""
        return self._task.done()

    def follow(self, endpoint: RoutedEndpoint) -> None:
        """Count what waits at this endpoint, too, and let it have what is started."""
        self._endpoints.add(endpoint)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            record = await self._deployments.live(self._request)
            if record is None:
                return
            in_flight = sum(endpoint.in_flight for endpoint in self._endpoints)
            wanted = self._wanted(record.wanted_replicas, in_flight)
            if wanted < record.wanted_replicas:  # quiet here is not quiet everywhere
                in_flight = max(in_flight, await self._deployments.in_flight(record))
                wanted = max(wanted, self._wanted(record.wanted_replicas, in_flight))
                wanted = min(wanted, record.wanted_replicas)
            if wanted == record.wanted_replicas:
                continue
            try:
                servers = await self._deployments.scale(self._request, wanted)
            except ConduitError as err:
                self._tell(err)
                continue
            for endpoint in self._endpoints:
                endpoint.use(servers)

    def _wanted(self, now: int, in_flight: int) -> int:
        return wanted_replicas(
            self._request.replicas, now=now, in_flight=in_flight, per_replica=self._per_replica
        )

    def _tell(self, error: ConduitError) -> None:
        if error.code not in self._told:
            self._told.add(error.code)
            why = "its cap is reached" if isinstance(error, SpendCapError) else str(error)
            self._deployments.context.tell(f"{self._name} gets no further replica: {why}")
