"""What tests of blocks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loop_host import LoopHost, loop_host


@pytest.fixture
def host() -> Iterator[LoopHost]:
    """A host for blocks that are called without a session."""
    with loop_host() as host:
        yield host
