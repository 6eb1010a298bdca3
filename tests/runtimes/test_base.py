"""Every registered runtime is a Runtime."""

from __future__ import annotations

import inspect

import pytest

from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.base import Runtime, ServerRequest
from conduit_nb.runtimes.registry import make_runtime, runtime_names


@pytest.mark.parametrize("name", runtime_names())
def test_a_runtime_says_how_it_is_started_by_name(name: str):
    runtime = make_runtime(name)

    assert runtime.name == name
    assert list(inspect.signature(type(runtime).launch_spec).parameters) == list(
        inspect.signature(Runtime.launch_spec).parameters
    )


@pytest.mark.parametrize("name", runtime_names())
def test_a_command_is_followed_only_where_the_runtime_runs(name: str):
    runtime = make_runtime(name)

    assert {*runtime.command_places} <= {*runtime.places}


def test_the_model_is_put_into_every_part_of_a_command_and_the_port_is_left():
    request = ServerRequest(name="n", command=("serve", "-m={model}", "{model}", "{port}"))

    assert request.command_for(LmLiteModelConfig("a/b")) == ("serve", "-m=a/b", "a/b", "{port}")
