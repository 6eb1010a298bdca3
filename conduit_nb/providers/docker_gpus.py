"""Which of this machine's GPUs a container gets: by their ids, so that two never share one unasked.

Asked for a number of them Docker gives the same first ones to each container.
Layer 3.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from conduit_nb import settings
from conduit_nb.compute.detection import Detection, Device
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import NoCapacityError

STILL_FREE = 0.95
"""What a GPU must have left of the free memory that was offered a moment ago."""


def allowed_gpus(detection: Detection) -> tuple[Device, ...]:
    """Return the GPUs that containers may have: all, or those that CONDUIT_DOCKER_GPUS names."""
    named = settings.docker_gpus()
    return tuple(
        one
        for one in detection.devices
        if not named or one.uuid in named or (one.parent is None and str(one.index) in named)
    )


def choose_gpus(
    devices: Sequence[Device], offering: ComputeOffering, count: int, *, taken: Set[str]
) -> tuple[str, ...]:
    """Return the ids of `count` GPUs like the offered ones that no container has, the freest first.

    Raises NoCapacityError where there are not so many.
    """
    alike = [
        one
        for one in devices
        if one.name == offering.accelerator
        and one.free_bytes >= offering.memory_gib * GIB * STILL_FREE
    ]
    free = sorted((one for one in alike if one.uuid not in taken), key=lambda one: -one.free_bytes)
    if len(free) < count:
        raise NoCapacityError(
            f"{count} x {offering.accelerator} with {offering.memory_gib:.1f} GiB free are wanted;"
            f" of {len(alike)} here {len(alike) - len(free)} are given to other containers.",
            hint="End one (%conduit ps), or allow more GPUs: CONDUIT_DOCKER_GPUS.",
        )
    return tuple(one.uuid for one in free[:count])
