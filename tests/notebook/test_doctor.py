"""notebook/doctor.py: what works here, and what to do for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.notebook.doctor import doctor
from conduit_nb.session import Session
from tests.notebook.fleet_session import fleet_session


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with fleet_session(tmp_path, monkeypatch) as session:
        yield session


def test_everything_is_looked_at_and_what_is_missing_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)

    found = {one.what: one for one in doctor()}

    assert {"Python", "LmLite", "GPUs here", "disk of the cache", "state"} <= found.keys()
    assert found["provider local"].works == "yes"
    assert found["provider runpod"].works == "no"
    assert "RUNPOD_API_KEY" in found["provider runpod"].to_do
    assert found["Python"].works == "yes"
