"""What a provider calls a device and its memory, as the accelerators' table knows it.

Layer 3.
"""

from __future__ import annotations

from functools import cache

from conduit_nb.compute.accelerators import GIB_PER_GB, find_accelerators


@cache
def find_device(*names: str, memory_gb: float) -> tuple[str, float]:
    """Return name and real GiB of the accelerator that one of `names` fits, with that memory.

    A name that fits several ("H100") stays as it is, and the least memory counts. What the table
    does not know keeps its first name and has what its provider says, in GiB.
    """
    for name in names:
        found = find_accelerators(name, memory_gib=memory_gb) if name else ()
        if found:
            known = found[0].name if len(found) == 1 else name
            return known, min(one.usable_gib for one in found)
    return names[0], memory_gb * GIB_PER_GB
