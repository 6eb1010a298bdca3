"""What every runtime can do: say how it is started, without knowing where.

Layer 3.
"""

from __future__ import annotations

from typing import Protocol

from conduit_nb.compute.launch import LaunchSpec


class Runtime(Protocol):
    """The program that serves models."""

    name: str

    def launch_spec(self, deployment_id: str) -> LaunchSpec:
        """Say how a server under that name is started; MissingExtraError where it cannot be."""
        ...
