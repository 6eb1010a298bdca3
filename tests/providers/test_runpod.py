"""Runpod is found by its settings."""

from __future__ import annotations

import pytest

from conduit_nb.providers.runpod import Runpod
from conduit_nb.testing.runpod_server import runpod_server


async def test_its_address_and_key_are_those_of_the_environment_at_each_use(
    monkeypatch: pytest.MonkeyPatch,
):
    provider = Runpod()
    for _ in range(2):
        with runpod_server() as cloud:
            for name, value in cloud.environment.items():
                monkeypatch.setenv(name, value)

            assert (await provider.offerings()).offerings
            assert cloud.exchanges
