"""How many replicas a deployment should have, from how much waits for it.

Layer 4: pure.
"""

from __future__ import annotations

import math

from conduit_nb.compute.request import Replicas

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
