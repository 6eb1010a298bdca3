"""Which providers there are: those that are registered by entry points, ours among them.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from conduit_nb.plugins import load_registered, registered_names
from conduit_nb.providers.base import Provider

GROUP = "conduit_nb.providers"


def provider_names() -> list[str]:
    """Return the names of all registered providers."""
    return registered_names(GROUP)


def make_provider(name: str) -> Provider:
    """Make the provider of that name; an unknown name is an error that lists the known."""
    return cast("Callable[[], Provider]", load_registered(GROUP, name, kind="provider"))()
