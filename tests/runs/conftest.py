"""What tests of runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conduit_nb.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    yield session
    session.close()
