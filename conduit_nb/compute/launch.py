"""The one seam between runtimes and providers: what to start, said without knowing where.

A runtime makes a LaunchSpec, a provider carries it out.
Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conduit_nb.protocol import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """A model server to start under our own unique `name`.

    `command` holds `{port}` where the provider puts the port it chose. `secrets` are names of
    environment variables; their values are handed to `Provider.launch` apart, so that a spec can
    be written to disk and shown. `health_path` answers 200 when the server is ready.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    health_path: str = "/health"
    dialect: Dialect = "openai"
