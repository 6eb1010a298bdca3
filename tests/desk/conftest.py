"""A session with a provider at a price, for everything that asks the desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.session import Session
from tests.desk.far_provider import FarProvider, far_session


@pytest.fixture
def far() -> FarProvider:
    return FarProvider()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: FarProvider) -> Iterator[Session]:
    with far_session(tmp_path, monkeypatch, far) as session:
        yield session
