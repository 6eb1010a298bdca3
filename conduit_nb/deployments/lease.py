"""The client's side of the guard: asking what it knows, and for a longer lease.

Layer 4.
"""

from __future__ import annotations

from datetime import datetime

import httpx2

from conduit_nb.errors import DeploymentError

TIMEOUT_S = 10.0


async def extend_lease(url: str, key: str, until: datetime) -> datetime:
    """Ask the guard at `url` to let its node live until then; return what it allows.

    Raises DeploymentError where it does not answer: the lease is as it was.
    """
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
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
