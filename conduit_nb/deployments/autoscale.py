"""Keeps the replicas of a deployment in step with what is asked of it from here.

Layer 4.
"""

from __future__ import annotations

import asyncio

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.manager import DeploymentManager
from conduit_nb.deployments.routing import RoutedEndpoint
from conduit_nb.deployments.scaling import wanted_replicas
from conduit_nb.errors import ConduitError, SpendCapError

EVERY_S = 5.0
ROWS_PER_REPLICA = 32
"""Requests at once that fill a replica whose models say nothing of their concurrency."""


class AutoScale:
    """Looks at an endpoint's requests in flight, and has nodes started or ended for them.

    What it cannot have (no money, no capacity) it tells once, and goes on with what there is.
    """

    def __init__(
        self,
        manager: DeploymentManager,
        request: DeploymentRequest,
        endpoint: RoutedEndpoint,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._manager = manager
        self._request = request
        self._endpoint = endpoint
        self._every_s = every_s
        self._told: set[str] = set()
        said = [model.max_model_concurrency for model in request.models]
        self._per_replica = sum(one or ROWS_PER_REPLICA for one in said) or ROWS_PER_REPLICA
        self._task = asyncio.create_task(self._watch(), name=f"scale {endpoint.name}")

    @property
    def is_over(self) -> bool:
        """Say whether its deployment has ended."""
        return self._task.done()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            record = await self._manager.live(self._request)
            if record is None:
                return
            wanted = wanted_replicas(
                self._request.replicas,
                now=record.wanted_replicas,
                in_flight=self._endpoint.in_flight,
                per_replica=self._per_replica,
            )
            if wanted == record.wanted_replicas:
                continue
            try:
                servers = await self._manager.scale(self._request, wanted)
            except ConduitError as err:
                self._tell(err)
                continue
            self._endpoint.use(servers)

    def _tell(self, error: ConduitError) -> None:
        if error.code not in self._told:
            self._told.add(error.code)
            why = "its cap is reached" if isinstance(error, SpendCapError) else str(error)
            self._manager.tools.tell(f"{self._endpoint.name} gets no further replica: {why}")
