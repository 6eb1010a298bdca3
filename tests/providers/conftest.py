"""An engine for all tests of a run that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker_engine import can_run, docker_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """Yield the address of a running Docker engine."""
    if not can_run():
        pytest.skip("no engine can be started here")  # the test's own mark says what is missing
    with docker_engine() as url:
        yield url
