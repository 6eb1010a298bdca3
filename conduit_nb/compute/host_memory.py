"""How much main memory this process may still take: what is free, within a container's limit.

Layer 2: asks the machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """Where a container's limit stands, its use, and what of that can be given back at once.

    `inactive` names the field of `statistics` that counts pages of files nobody reads.
    """

    limit: Path
    usage: Path
    statistics: Path
    inactive: str


_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
CGROUPS: tuple[Cgroup, ...] = (
    Cgroup(
        limit=_V2 / "memory.max",
        usage=_V2 / "memory.current",
        statistics=_V2 / "memory.stat",
        inactive="inactive_file",
    ),
    Cgroup(
        limit=_V1 / "memory.limit_in_bytes",
        usage=_V1 / "memory.usage_in_bytes",
        statistics=_V1 / "memory.stat",
        inactive="total_inactive_file",
    ),
)
"""cgroup v2 and v1 as a container sees its own (Linux, Documentation/admin-guide/cgroup-v2.rst)."""


def free_memory_bytes(cgroups: Sequence[Cgroup] = CGROUPS) -> int:
    """Return what can still be taken without swapping, or being ended by the container."""
    free = int(psutil.virtual_memory().available)
    for cgroup in cgroups:
        limit = _number(cgroup.limit)
        if limit is not None:
            used = (_number(cgroup.usage) or 0) - _inactive(cgroup)
            free = min(free, max(limit - max(used, 0), 0))
    return free


def own_memory_bytes() -> int:
    """Return what this process holds for itself: what it shares (libraries, files) is left out."""
    info = psutil.Process().memory_info()
    return int(info.rss) - int(getattr(info, "shared", 0))


def _number(path: Path) -> int | None:
    """Return the number in a file; None where there is none ("max" is no limit)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _inactive(cgroup: Cgroup) -> int:
    try:
        text = cgroup.statistics.read_text()
    except OSError:
        return 0
    found = re.search(rf"^{cgroup.inactive} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
