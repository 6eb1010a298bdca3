"""What every runtime can do: say how it is started, without knowing where.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect

Place = Literal["process", "container"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """One server to start, as a runtime is asked for it.

    `models` may be empty where the runtime loads them on demand. `devices` are the GPUs it gets, 0
    for the CPU; `image` and `command` replace the runtime's own (`command_for` has it filled in).
    `model_folder` is where the one model of a process lies on this machine, None where the runtime
    fetches it by its id; `disk_gib` is what a container needs for files, the model's among them.
    """

    name: str
    models: tuple[LmLiteModelConfig, ...] = ()
    place: Place = "process"
    devices: int = 0
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    version: str | None = None
    image: str | None = None
    command: tuple[str, ...] = ()
    model_folder: str | None = None
    disk_gib: int = 20

    def command_for(self, model: LmLiteModelConfig) -> tuple[str, ...]:
        """Return `command` with the model's id for `{model}`; whoever starts it knows `{port}`."""
        return tuple(part.replace("{model}", model.model_id) for part in self.command)


class Runtime(Protocol):
    """The program that serves models.

    `dialect` is how its server is spoken to. `models_per_server` is how many models one server
    has, None for any number: a deployment of several models has several servers then. `places` are
    where it can run at all, `command_places` those where a request's `command` replaces its own.
    """

    name: str
    dialect: Dialect
    models_per_server: int | None
    places: tuple[Place, ...]
    command_places: tuple[Place, ...]

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        """Raise ArgumentError where a model's config asks for what the runtime lacks."""
        ...

    def why_not(self, hardware: Hardware) -> str | None:
        """Say why the runtime cannot run on such hardware, None where it can."""
        ...

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        """Say how such a server is started; MissingExtraError where it cannot be here."""
        ...
