"""Runpod: nodes are pods, rented by the hour on secure or community machines (REST v2).

Knows the API's address and the user's key, both read from the settings at each use.
Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from conduit_nb import settings
from conduit_nb.providers.base import Listing
from conduit_nb.providers.rest import RestClient
from conduit_nb.providers.runpod_catalog import PROVIDER, read_catalog

KEY_NAME = "RUNPOD_API_KEY"


def _now() -> datetime:
    return datetime.now(UTC)


class Runpod:
    """Runpod's catalogue; the key is `RUNPOD_API_KEY` where none is given."""

    name = PROVIDER

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._url = url
        self._key = key
        self._now = now

    def __repr__(self) -> str:
        return f"Runpod({self._url!r})"

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        """Return every GPU and CPU type, for each cloud, number of devices and data centre."""
        return await read_catalog(self._api(), read_at=self._now(), timeout_s=timeout_s)

    def _api(self) -> RestClient:
        return RestClient(
            self._url or settings.runpod_api_url(),
            provider=self.name,
            key=self._key or settings.runpod_api_key(),
            key_name=KEY_NAME,
        )
