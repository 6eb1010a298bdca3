"""What deployments need to be tested with: a store, providers with real processes, a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import docker

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.context import Context, utc_now
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.money import Caps
from conduit_nb.deployments.service import Deployments
from conduit_nb.deployments.shared import SharedServer
from conduit_nb.errors import ArgumentError
from conduit_nb.events import Event, Events, Notice, Step
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers import rest
from conduit_nb.providers.base import Provider
from conduit_nb.providers.docker import NODE_LABEL, DockerProvider
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.runpod import Runpod
from conduit_nb.state.installation import Installation
from conduit_nb.state.records import Charge, DeploymentRecord, NodeRecord
from conduit_nb.state.store import Store
from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.runpod_server import Behaviour, RunpodServer
from tests.fake_lmlite import FakeRuntime

INSTALLATION = Installation(id="0123456789abcdef", secret=b"s" * 32)
MODEL = LmLiteModelConfig("m/one")


@dataclass
class Clock:
    """The time of this machine, and what a test adds to it; the cloud's clock goes with it."""

    ahead: timedelta = timedelta(0)
    cloud: RunpodServer | None = None

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)
        if self.cloud is not None:
            self.cloud.behaviour.date_ahead_s = self.ahead.total_seconds()


@dataclass
class Bench:
    """Services over one state and one world of providers; `told` and `steps` is what they emit."""

    folder: Path
    cloud: RunpodServer | None = None
    engine: str | None = None
    gives_key: bool = True
    flags: tuple[str, ...] = ()
    models_per_server: int | None = None
    list_lag_s: float = 0.0
    caps: Caps = field(default_factory=lambda: Caps(deployment_usd=5, day_usd=10))
    clock: Clock = field(default_factory=Clock)
    events: Events = field(default_factory=Events)
    told: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    checkpoint: Callable[[str], None] = lambda _: None
    url: str = ""

    def __post_init__(self) -> None:
        self.events.subscribe(self._note)
        self.clock.cloud = self.cloud
        self.clock.advance()
        self.url = self.url or f"sqlite:///{self.folder / 'state.sqlite3'}"
        self.local = LocalProvider(state_dir=self.folder / "nodes", grace_s=1)

    def provider(self, name: str) -> Provider:
        if name == "local":
            return self.local
        if name == "docker":
            return DockerProvider(self.engine)
        if name != "runpod":
            raise ArgumentError(f"No provider named {name!r}.", hint="Install it.")
        assert self.cloud is not None
        key = self.cloud.key if self.gives_key else None  # else the login of the user
        provider = Runpod(self.cloud.url, key=key, proxy_url=self.cloud.proxy_url)
        provider.capabilities = replace(provider.capabilities, list_lag_s=self.list_lag_s)
        return provider

    def context(self, installation: Installation = INSTALLATION, **change: Any) -> Context:
        """Return what a client of its own works with; `change` is what is different in it."""
        runtime = FakeRuntime(
            self.flags,
            models_per_server=self.models_per_server,
            in_image=self.engine is not None,
        )
        given: dict[str, Any] = {
            "events": self.events,
            "store": Store(self.url),
            "installation": installation,
            "provider": self.provider,
            "provider_names": self._provider_names,
            "runtime": lambda _: runtime,
            "plan_of": lambda *_: None,
            "caps": lambda: self.caps,
            "clock": self.clock,
            "pause": lambda _: asyncio.sleep(0.02),
            "checkpoint": self.checkpoint,
        }
        return Context(**given | change)

    def service(self, installation: Installation = INSTALLATION, **change: Any) -> Deployments:
        """Return the deployments of a client of its own."""
        context = self.context(installation, **change)
        return Deployments(context, shared=SharedServer(context, hung_after_s=1.0))

    def records(self, installation: Installation = INSTALLATION) -> list[DeploymentRecord]:
        """Return the live deployments as the state has them."""
        return self.context(installation).store.deployments(installation.id)

    def record(self, info: DeploymentInfo | DeploymentRecord) -> DeploymentRecord:
        """Return what the state has of a deployment, live or not."""
        assert info.id is not None
        found = self.context().store.deployment(info.id)
        assert found is not None
        return found

    def nodes(
        self, info: DeploymentInfo | DeploymentRecord, *, live_only: bool = True
    ) -> list[NodeRecord]:
        """Return what the state has of the nodes of a deployment."""
        return self.context().store.nodes(info.id, live_only=live_only)

    def charges(self, info: DeploymentInfo | DeploymentRecord) -> list[Charge]:
        """Return what the state has of the cost of a deployment."""
        return self.context().store.charges(info.id)

    def _note(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)
        elif isinstance(event, Step):
            self.steps.append(event.text)

    def _provider_names(self) -> list[str]:
        there = {"local": True, "runpod": self.cloud, "docker": self.engine}
        return [name for name, given in there.items() if given]

    def running(self) -> list[str]:
        """Return the names of what really exists at the providers."""
        names = [path.stem for path in (self.folder / "nodes" / "nodes").glob("*.json")]
        if self.cloud is not None:
            names += [pod.name for pod in self.cloud.account.pods() if pod.status != "TERMINATED"]
        if self.engine is not None:
            with closing(docker.DockerClient(base_url=self.engine)) as client:
                found = client.containers.list(all=True, filters={"label": NODE_LABEL})
                names += [str(container.name) for container in found]
        return sorted(names)


def request(provider: str = "local", **change: Any) -> DeploymentRequest:
    given: dict[str, Any] = {
        "models": (MODEL,),
        "runtime": "fake",
        "provider": provider,
        "constraint": DeploymentConstraint(),
    }
    if provider == "runpod":
        given["gpu"] = "L40S"
    return DeploymentRequest(**{**given, **change})


def rented(
    stack: ExitStack, behaviour: Behaviour | None = None, *, runs: bool = True
) -> RunpodServer:
    """Start a local Runpod server whose pods are processes."""
    from tests.runpod_specification import specified_runpod_server  # a second to import

    rest._TIMES.clear()  # an earlier server, of another time, may have had the port
    containers = PodProcesses(grace_s=5) if runs else None
    return stack.enter_context(
        specified_runpod_server(behaviour=behaviour or Behaviour(), start_container=containers)
    )
