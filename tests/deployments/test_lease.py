"""deployments/lease.py: a guard is asked for a longer lease, or it is said that it was not."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from conduit_nb.deployments.lease import ask_guard, extend_lease
from conduit_nb.errors import DeploymentError
from tests.test_guard import KEY, guarded


async def test_the_guard_says_until_when_it_lets_the_node_live():
    now = datetime.now(UTC)
    with guarded(not_after=time.time() + 700) as node:
        node.wait_ready()
        asked = await extend_lease(node.url, KEY, now + timedelta(seconds=650))
        bounded = await extend_lease(node.url, KEY, now + timedelta(hours=5))

    assert asked == now + timedelta(seconds=650)
    assert bounded < now + timedelta(seconds=710)


@pytest.mark.parametrize(
    ("key", "cause"), [(KEY, httpx2.ConnectError), ("wrong", httpx2.HTTPStatusError)]
)
async def test_a_guard_that_does_not_take_it_is_an_error(key: str, cause: type[Exception]):
    with guarded() as node:
        node.wait_ready()
        url = node.url if key == "wrong" else "http://127.0.0.1:9"
        with pytest.raises(DeploymentError, match=cause.__name__) as caught:
            await extend_lease(url, key, datetime.now(UTC))

    assert isinstance(caught.value.__cause__, cause)
    assert key not in str(caught.value)


async def test_a_guard_tells_what_it_holds_its_node_to_for_its_key_only():
    limit = time.time() + 700
    with guarded(not_after=limit) as node:
        node.wait_ready()
        told = await ask_guard(node.url, KEY)
        refused = await ask_guard(node.url, "wrong")

    assert told is not None
    assert told.not_after == datetime.fromtimestamp(limit, UTC)
    assert told.lease_until > datetime.now(UTC)
    assert refused is None
