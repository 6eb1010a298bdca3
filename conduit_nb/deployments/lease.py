"""The client's side of the guard: asking what it knows, and for a longer lease.

Layer 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import httpx2

from conduit_nb import http_clients
from conduit_nb.errors import DeploymentError
from conduit_nb.providers.base import Provider, Renewing
from conduit_nb.state.records import NodeRecord

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTold:
    """Until when a guard lets its node live: the lease, and in any case.

    `in_flight` are the requests of all clients that the node is answering.
    """

    lease_until: datetime
    not_after: datetime | None
    in_flight: int = 0


async def ask_guard(url: str, key: str) -> GuardTold | None:
    """Ask the guard at `url` what it holds its node to, None where none answers to that key."""
    try:
        async with http_clients.async_client(url, timeout=TIMEOUT_S) as client:
            response = await client.get(
                f"{url.rstrip('/')}/conduit/guard", headers={"Authorization": f"Bearer {key}"}
            )
        response.raise_for_status()
        told = cast("dict[str, Any]", response.json())
        limit = told["not_after"]
        return GuardTold(
            lease_until=datetime.fromtimestamp(float(told["lease_until"]), UTC),
            not_after=None if limit is None else datetime.fromtimestamp(float(limit), UTC),
            in_flight=int(told.get("in_flight", 0)),
        )
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


async def renew(
    provider: Provider, node: NodeRecord, lease_until: datetime | None, *, as_of: datetime
) -> None:
    """Give a node that is to be started again its new moments, where its provider can."""
    if isinstance(provider, Renewing) and lease_until is not None:
        await provider.renew(
            node.name,
            node.provider_id,
            boot_until=node.boot_until,
            lease_until=lease_until,
            not_after=node.not_after,
            as_of=as_of,
        )


async def extend_lease(url: str, key: str, until: datetime) -> datetime:
    """Ask the guard at `url` to let its node live until then; return what it allows.

    Raises DeploymentError where it does not answer: the lease is as it was.
    """
    try:
        async with http_clients.async_client(url, timeout=TIMEOUT_S) as client:
            response = await client.post(
                f"{url.rstrip('/')}/conduit/guard/extend",
                json={"lease_until": until.timestamp()},
                headers={"Authorization": f"Bearer {key}"},
            )
        response.raise_for_status()
        allowed = float(response.json()["lease_until"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as err:
        raise DeploymentError(
            f"The guard of the node did not take the longer lease ({type(err).__name__}).",
            hint="Look whether it still runs (%conduit ps), and try again.",
        ) from err
    return datetime.fromtimestamp(allowed, tz=until.tzinfo)
