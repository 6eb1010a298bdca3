"""runtimes/custom.py: an image of one's own."""

from __future__ import annotations

import pytest

from conduit_nb.compute.offerings import hardware_of
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.runtimes.custom import CustomRuntime

MODEL = LmLiteModelConfig("a/b", quantization="int8")
COMMAND = ("llama-server", "-hf", "{model}", "--port", "{port}")


def test_the_model_is_put_into_the_command_and_the_port_left_to_the_provider():
    spec = CustomRuntime().launch_spec(
        ServerRequest(name="n", models=(MODEL,), image="me/x:1", command=COMMAND, devices=1)
    )

    assert spec.command == ("llama-server", "-hf", "a/b", "--port", "{port}")
    assert (spec.image, spec.devices, spec.dialect) == ("me/x:1", 1, "openai")


@pytest.mark.parametrize(
    ("image", "command", "missing"), [(None, COMMAND, "image"), ("me/x:1", (), "command")]
)
def test_what_is_missing_is_named(image: str | None, command: tuple[str, ...], missing: str):
    with pytest.raises(ArgumentError) as caught:
        CustomRuntime().launch_spec(
            ServerRequest(name="n", models=(MODEL,), image=image, command=command)
        )

    assert caught.value.param == missing


def test_it_takes_every_config_and_all_hardware():
    CustomRuntime().check([MODEL])

    assert CustomRuntime().why_not(hardware_of(None, 16.0)) is None
