"""Which runtimes there are: those that are registered by entry points, ours among them.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from conduit_nb.plugins import load_registered, registered_names
from conduit_nb.runtimes.base import Runtime

GROUP = "conduit_nb.runtimes"


def runtime_names() -> list[str]:
    """Return the names of all registered runtimes."""
    return registered_names(GROUP)


def make_runtime(name: str) -> Runtime:
    """Make the runtime of that name; an unknown name is an error that lists the known."""
    return cast("Callable[[], Runtime]", load_registered(GROUP, name, kind="runtime"))()
