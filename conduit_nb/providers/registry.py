"""Which providers and sources of offerings there are: those registered by entry points.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from conduit_nb.compute.names import ComputeProvider
from conduit_nb.plugins import load_registered, registered_names
from conduit_nb.providers.base import OfferingSource, Provider
from conduit_nb.providers.sources import Remembered

GROUP = "conduit_nb.providers"
SOURCES_GROUP = "conduit_nb.offering_sources"


def provider_names() -> list[str]:
    """Return the names of all registered providers."""
    return registered_names(GROUP)


def make_provider(name: str) -> Provider:
    """Make the provider of that name; an unknown name is an error that lists the known."""
    return cast("Callable[[], Provider]", load_registered(GROUP, name, kind="provider"))()


def make_sources() -> list[OfferingSource]:
    """Make every source of offerings: all providers, then what lists others' offerings only.

    This machine comes first and is asked each time; the lists of others are remembered a while.
    """
    local = make_provider(ComputeProvider.LOCAL)
    others = [make_provider(name) for name in provider_names() if name != local.name]
    lists = [
        cast("Callable[[], OfferingSource]", load_registered(SOURCES_GROUP, name, kind="source"))()
        for name in registered_names(SOURCES_GROUP)
    ]
    return [local, *(Remembered(source) for source in (*others, *lists))]
