"""Who is at work on a node: a process, told so that others can see whether it still lives.

Layer 4.
"""

from __future__ import annotations

import os
import platform

import psutil

from conduit_nb.providers.processes import is_same_process

NOBODY = "nobody"
"""The owner of what its client has given up."""


def this_process() -> str:
    """Return this process as an owner."""
    created = psutil.Process().create_time()
    return f"{platform.node()}|{os.getpid()}|{created:.3f}"


def is_gone(owner: str) -> bool | None:
    """Say whether the owner has ended; None where it was another machine's, and nobody knows."""
    if owner == NOBODY:
        return True
    host, _, rest = owner.partition("|")
    pid, _, created = rest.partition("|")
    if host != platform.node() or not pid.isdecimal():
        return None
    return not is_same_process(int(pid), float(created))
