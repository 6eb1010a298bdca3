"""The words that requests and offerings have in common: providers, and how much stock there is."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, get_args


class ComputeProvider(StrEnum):
    """Providers that come with Conduit; others are registered by entry points, by name."""

    LOCAL = "local"
    DOCKER = "docker"
    RUNPOD = "runpod"


Availability = Literal["none", "low", "medium", "high", "unknown"]
AVAILABILITIES: tuple[Availability, ...] = get_args(Availability)
