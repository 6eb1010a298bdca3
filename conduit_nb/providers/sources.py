"""All sources of offerings, asked at once: what there is, and who did not answer and why.

Layer 3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError, ProviderUnreachableError
from conduit_nb.providers.base import Listing, OfferingSource

TIMEOUT_S = 20.0
# Prices change slowly, stock within minutes; the ages that offerings carry stay true.
MAX_AGE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFailure:
    """A source that could not be asked, or what is wrong with a part of its list."""

    provider: str
    error: ConduitError

    def __str__(self) -> str:
        hint = f" {self.error.hint}" if self.error.hint else ""
        return f"{self.provider}: {self.error}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Everything that is offered, in the order of the sources, and what is missing."""

    offerings: tuple[ComputeOffering, ...]
    failures: tuple[SourceFailure, ...]


async def find_offerings(
    sources: Sequence[OfferingSource], timeout_s: float = TIMEOUT_S, *, is_fresh: bool = False
) -> Market:
    """Ask all sources at once, for at most `timeout_s`; who fails is named, not raised.

    `is_fresh` asks those too whose last list is remembered.
    """
    for source in sources:
        if is_fresh and isinstance(source, Remembered):
            source.forget()
    listings = await asyncio.gather(*(_ask(source, timeout_s) for source in sources))
    return Market(
        offerings=tuple(offering for listing in listings for offering in listing.offerings),
        failures=tuple(
            SourceFailure(provider=source.name, error=problem)
            for source, listing in zip(sources, listings, strict=True)
            for problem in listing.problems
        ),
    )


def who_may_list(
    sources: Sequence[OfferingSource], providers: Collection[str], own: Collection[str]
) -> list[OfferingSource]:
    """Return the sources that may have something of `providers`.

    A source that is named in `own` has its own offerings only; others list what anybody has.
    """
    is_foreign = not set(providers) <= set(own)
    return [one for one in sources if one.name in providers or (is_foreign and one.name not in own)]


class Remembered:
    """A source whose last list is good for `max_age_s`, with the problems of its parts.

    A list without a single offering is a failure, and not remembered.
    """

    def __init__(
        self,
        source: OfferingSource,
        *,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = source.name
        self._source = source
        self._max_age_s = max_age_s
        self._clock = clock
        self._last: tuple[float, Listing] | None = None

    def forget(self) -> None:
        """Ask at the next time, however young the last list is."""
        self._last = None

    async def offerings(self, *, timeout_s: float = TIMEOUT_S) -> Listing:
        """Return the last list while it is young, else ask."""
        asked_at = self._clock()
        if self._last is not None and asked_at - self._last[0] < self._max_age_s:
            return self._last[1]
        listing = await self._source.offerings(timeout_s=timeout_s)
        if listing.offerings or not listing.problems:
            self._last = (asked_at, listing)
        return listing


async def _ask(source: OfferingSource, timeout_s: float) -> Listing:
    try:
        async with asyncio.timeout(timeout_s):
            return await source.offerings(timeout_s=timeout_s)
    except TimeoutError:
        late = ProviderUnreachableError(
            f"{source.name} did not list its offerings within {timeout_s:g} s.",
            hint="Ask again, or give it more time (timeout_s).",
        )
        return Listing(offerings=(), problems=(late,))
    except ConduitError as err:
        return Listing(offerings=(), problems=(err,))
