"""A cloud with a clock of its own, and a client that speaks to it as anybody may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from conduit_nb.testing.runpod_server import RunpodServer
from tests.runpod_specification import specified_runpod_server

POD = {
    "name": "one",
    "image": "somebody/image:1",
    "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 2},
    "ports": ["8000/http"],
}


@dataclass
class Clock:
    """The time that the server believes it is."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 23, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(clock: Clock) -> Iterator[RunpodServer]:
    with specified_runpod_server(clock=clock) as server:
        yield server


def client_of(cloud: RunpodServer, key: str | None = None) -> httpx2.Client:
    """Return a client of the account, or of whoever has that key."""
    headers = {"Authorization": f"Bearer {key or cloud.key}"}
    return httpx2.Client(
        base_url=cloud.url, headers=headers, trust_env=False, verify=False, timeout=20
    )


@pytest.fixture
def api(cloud: RunpodServer) -> Iterator[httpx2.Client]:
    with client_of(cloud) as client:
        yield client


@pytest.fixture
def create(api: httpx2.Client) -> Callable[..., dict[str, Any]]:
    def create(**changes: Any) -> dict[str, Any]:
        answer = api.post("/pods", json={**POD, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return create
