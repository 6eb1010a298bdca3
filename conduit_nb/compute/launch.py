"""The one seam between runtimes and providers: what to start, said without knowing where.

A runtime makes a LaunchSpec, a provider carries it out.
Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from conduit_nb.protocol import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTerms:
    """Until when a node may live; the guard that runs on it holds it to this.

    It ends `idle_s` seconds after its last request, at `lease_until` (which an extension moves),
    and in any case at `not_after`, when its money is spent: None where it costs nothing. A server
    that is not healthy by `boot_until` ends, too. All moments are aware.
    """

    idle_s: float
    boot_until: datetime
    lease_until: datetime
    not_after: datetime | None = None
    as_of: datetime | None = None

    def shifted(self, by: timedelta) -> GuardTerms:
        """Return the same terms by a clock that is ahead by so much."""
        return replace(
            self,
            boot_until=self.boot_until + by,
            lease_until=self.lease_until + by,
            not_after=self.not_after + by if self.not_after is not None else None,
            as_of=self.as_of + by if self.as_of is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """A model server to start under our own unique `name`.

    `command` holds `{port}` where the port stands that the server is to listen on. `secrets` are
    names of environment variables; their values are handed to `Provider.launch` apart, so that a
    spec can be written to disk and shown; `key_name` is the one that holds the endpoint's key.
    `health_path` answers 200 when the server is ready. `has_entrypoint` says that the image starts
    a program of its own, which `command` has to replace.

    With an `image` it runs in a container, without in a process of this environment, which only
    the local provider can. `port` is where it listens in the container, `devices` how many GPUs it
    takes (0: the CPU), `disk_gib` what its container needs for files, `ram_gib` what it may take
    of the host's memory (None: as the provider sees fit). `guard` wraps it: the provider starts
    our guard, which starts `command`; None for a server that ends itself.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    key_name: str = "CONDUIT_API_KEY"
    health_path: str = "/health"
    dialect: Dialect = "openai"
    image: str | None = None
    has_entrypoint: bool = False
    port: int = 8000
    devices: int = 0
    disk_gib: int = 20
    ram_gib: float | None = None
    guard: GuardTerms | None = None
