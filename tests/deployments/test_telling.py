"""deployments/telling.py: what takes long is told of while it does."""

from __future__ import annotations

import pytest

from conduit_nb.deployments.telling import telling
from tests import waiting


async def test_it_is_told_until_it_is_over():
    told: list[float] = []
    async with telling(told.append, every_s=0.01):
        await waiting.until(lambda: len(told) >= 3)
    count = len(told)

    await waiting.until(lambda: True)
    assert told == sorted(told)
    assert len(told) == count


async def test_what_goes_wrong_meanwhile_is_what_is_raised():
    with pytest.raises(ValueError, match="inside"):
        async with telling(lambda _: None, every_s=0.01):
            raise ValueError("inside")
