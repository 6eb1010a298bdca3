"""How an image of the user's own is started: by the command that they say.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from conduit_nb.runtimes.base import Place, ServerRequest
from conduit_nb.runtimes.checks import only_model


class CustomRuntime:
    """Any server that speaks OpenAI's API, in an image with Python 3 (for the guard) in it.

    It finds its key in CONDUIT_API_KEY and may ignore it: the guard in front asks for it.
    """

    name = "custom"
    dialect: Dialect = "openai"
    models_per_server: int | None = 1
    places: tuple[Place, ...] = ("container",)
    command_places: tuple[Place, ...] = ("container",)

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        """Take every config: only the image's author knows what it does with it."""

    def why_not(self, hardware: Hardware) -> str | None:  # noqa: ARG002  # nobody knows
        """Return None: only the image's author knows."""
        return None

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        """Say how the image is started; ArgumentError where it or its command is missing."""
        if not request.image or not request.command:
            missing = "image" if not request.image else "command"
            raise ArgumentError(
                f"A custom runtime needs {missing}=, and it is not given.",
                param=missing,
                hint="Give image='name:tag' and command=('program', …, '--port', '{port}'); "
                "what runs already is endpoint=URL.",
            )
        model = only_model("a custom runtime", request.models)
        return LaunchSpec(
            name=request.name,
            command=request.command_for(model),
            secrets=("CONDUIT_API_KEY",),
            dialect=self.dialect,
            image=request.image,
            devices=request.devices,
            disk_gib=request.disk_gib,
        )
