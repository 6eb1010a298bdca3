"""A runtime that starts the echoing server of the tests, as LmLiteRuntime starts LmLite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from conduit_nb.runtimes.base import Place, ServerRequest

ECHO_SERVER = str(Path(__file__).parent / "echo_server.py")
ECHO_IMAGE = "conduit/echo:1"
ECHO_IN_IMAGE = "/srv/echo_server.py"


@dataclass(frozen=True)
class FakeRuntime:
    """Starts the echoing server; `in_image` says that containers are real ones, of ECHO_IMAGE."""

    flags: tuple[str, ...] = ()
    name: str = "fake"
    environment: dict[str, str] = field(default_factory=dict)
    in_image: bool = False
    dialect: Dialect = "lmlite"
    places: tuple[Place, ...] = ("process", "container")
    command_places: tuple[Place, ...] = ("container",)
    models_per_server: int | None = None

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        pass

    def why_not(self, hardware: Hardware) -> str | None:
        return None

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        is_contained = request.place == "container"
        program = "python3" if is_contained else sys.executable
        server = ECHO_IN_IMAGE if self.in_image else ECHO_SERVER
        return LaunchSpec(
            name=request.name,
            command=(
                program,
                server,
                "--port",
                "{port}",
                *self.flags,
            ),
            environment={"PYTHONPATH": str(Path(__file__).parent.parent), **self.environment},
            image=ECHO_IMAGE if is_contained else None,
            devices=request.devices,
            disk_gib=request.disk_gib,
            secrets=("CONDUIT_API_KEY",),
            dialect="lmlite",
        )
