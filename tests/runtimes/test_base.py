"""Every registered runtime is a Runtime."""

from __future__ import annotations

import inspect

import pytest

from conduit_nb.runtimes.base import Runtime
from conduit_nb.runtimes.registry import make_runtime, runtime_names


@pytest.mark.parametrize("name", runtime_names())
def test_a_runtime_says_how_it_is_started_by_name(name: str):
    runtime = make_runtime(name)

    assert runtime.name == name
    assert list(inspect.signature(type(runtime).launch_spec).parameters) == list(
        inspect.signature(Runtime.launch_spec).parameters
    )
