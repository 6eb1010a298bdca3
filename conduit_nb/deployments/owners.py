"""Who is at work on a node: a process, told so that others can see whether it still lives.

Layer 4.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import psutil

from conduit_nb.providers.processes import is_same_process

NOBODY = "nobody"
"""The owner of what its client has given up."""


def this_process() -> str:
    """Return this process as an owner."""
    created = psutil.Process().create_time()
    return f"{platform.node()}|{os.getpid()}|{created:.3f}"


@contextmanager
def at_work(deployment_id: str) -> Generator[None]:
    """Work on a deployment and its nodes until the block ends, however it ends.

    What this process owns and no longer works on is given up, although the process lives.
    """
    _AT_WORK[deployment_id] += 1
    try:
        yield
    finally:
        _AT_WORK[deployment_id] -= 1


def is_given_up(owner: str, deployment_id: str) -> bool | None:
    """Say whether nobody works on a deployment (or a node of it) any more; None as `is_gone`."""
    if owner == this_process():
        return _AT_WORK[deployment_id] <= 0
    return is_gone(owner)


def is_gone(owner: str) -> bool | None:
    """Say whether the owner has ended; None where it was another machine's, and nobody knows."""
    if owner == NOBODY:
        return True
    host, _, rest = owner.partition("|")
    pid, _, created = rest.partition("|")
    if host != platform.node() or not pid.isdecimal():
        return None
    return not is_same_process(int(pid), float(created))


_AT_WORK: Counter[str] = Counter()
"""How many operations of this process work on a deployment now, by its id."""
