"""The client's side of the guard: asking what it knows, and for a longer lease.

Layer 4.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx2

from conduit_nb import http_clients
from conduit_nb.errors import DeploymentError
from conduit_nb.providers.base import Provider, Renewing
from conduit_nb.state.records import NodeRecord

TIMEOUT_S = 10.0
CLOCK_TOLERANCE = timedelta(seconds=30)
LEASE_TOLERANCE = timedelta(seconds=2)
TRIES = 2
UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading a reply raises that is no guard's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTold:
    """Until when a guard lets its node live: the lease, and in any case.

    Both are by this machine's clock. `in_flight` are the requests of all clients that the node is
    answering; `has_failed` says that its server has exited (with `exit_code`), `log` are the last
    lines that it wrote.
    """

    lease_until: datetime
    not_after: datetime | None
    in_flight: int = 0
    has_failed: bool = False
    exit_code: int | None = None
    log: tuple[str, ...] = ()


def guard_client(url: str) -> httpx2.AsyncClient:
    """Return a client for who asks the guard at `url` more than once."""
    return http_clients.async_client(url, timeout=TIMEOUT_S)


async def ask_guard(
    url: str,
    key: str,
    *,
    now: datetime | None = None,
    client: httpx2.AsyncClient | None = None,
) -> GuardTold | None:
    """Ask the guard at `url` what it holds its node to, None where none answers to that key.

    `now` is the time that the caller's moments are by, this machine's where none is given.
    `client` is one whose connection is kept; else it is closed at once.
    """
    now = now or datetime.now(UTC)
    try:
        lent = guard_client(url) if client is None else nullcontext(client)
        async with lent as asking:
            response = await asking.get(
                f"{url.rstrip('/')}/conduit/guard", headers={"Authorization": f"Bearer {key}"}
            )
        response.raise_for_status()
        told = cast("dict[str, Any]", response.json())
        limit, there = told["not_after"], told.get("now")
        ahead = timedelta(0)
        if there is not None:
            ahead = datetime.fromtimestamp(float(there), UTC) - now
        ahead = ahead if abs(ahead) > CLOCK_TOLERANCE else timedelta(0)
        code, lines = told.get("exit_code"), told.get("log")
        return GuardTold(
            lease_until=datetime.fromtimestamp(float(told["lease_until"]), UTC) - ahead,
            not_after=None if limit is None else datetime.fromtimestamp(float(limit), UTC) - ahead,
            in_flight=int(told.get("in_flight", 0)),
            has_failed=told.get("state") == "failed",
            exit_code=code if isinstance(code, int) else None,
            log=tuple(str(line) for line in cast("list[object]", lines))
            if isinstance(lines, list)
            else (),
        )
    except (httpx2.HTTPError, OSError, *UNREADABLE):
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


async def extend_lease(
    url: str,
    key: str,
    until: datetime,
    *,
    now: datetime | None = None,
    not_after: datetime | None = None,
) -> datetime:
    """Ask the guard at `url` to let its node live until then; return what it allows.

    It is told spans of time from `now`, whatever its clock says; `not_after` is an earlier end of
    the money. A reply that is lost or cannot be read is followed by a look at what the guard has,
    and by another try. Raises DeploymentError where it does not take it: the lease is as it was.
    """
    now = now or datetime.now(UTC)
    wanted = until - now
    wish = {"lease_s": wanted.total_seconds(), "lease_until": until.timestamp()}
    if not_after is not None:
        wish["not_after_s"] = (not_after - now).total_seconds()
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            async with guard_client(url) as client:
                response = await client.post(
                    f"{url.rstrip('/')}/conduit/guard/extend",
                    json=wish,
                    headers={"Authorization": f"Bearer {key}"},
                )
            response.raise_for_status()
            reply = cast("dict[str, Any]", response.json())
            allowed = timedelta(seconds=float(reply["lease_until"]) - float(reply["now"]))
            if allowed > timedelta(0):
                return until if allowed > wanted - LEASE_TOLERANCE else now + allowed
            failure = ValueError("the lease that it tells is over")
        except (httpx2.HTTPError, *UNREADABLE) as err:
            failure = err
        told = await ask_guard(url, key, now=now)
        if told is not None and abs(told.lease_until - until) < LEASE_TOLERANCE:
            return until
    raise DeploymentError(
        f"The guard of the node did not take the longer lease ({type(failure).__name__}).",
        hint="Look whether it still runs (%conduit ps), and try again.",
    ) from failure
