"""Who offers compute.

Layer 2.
"""

from __future__ import annotations

from enum import StrEnum


class ComputeProvider(StrEnum):
    """Providers that come with Conduit; others are registered by entry points, by name."""

    LOCAL = "local"
