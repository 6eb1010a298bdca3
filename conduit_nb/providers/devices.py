"""What a provider calls a device and its memory, as the accelerators' table knows it.

Layer 3.
"""

from __future__ import annotations

from functools import cache

from conduit_nb.compute.accelerators import GIB_PER_GB, find_accelerators
from conduit_nb.compute.offerings import slowest_accelerator


@cache
def find_device(*names: str, memory_gb: float) -> tuple[str, float]:
    """Return name and real GiB of the accelerator that one of `names` fits, with that memory.

    What the table does not know keeps its first name and has what its provider says, in GiB.
    """
    for name in names:
        known = slowest_accelerator(name, memory_gb) if name else None
        if known is not None and find_accelerators(known.name, memory_gib=memory_gb):
            return known.name, known.usable_gib
    return names[0], memory_gb * GIB_PER_GB
