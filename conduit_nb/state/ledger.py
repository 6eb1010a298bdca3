"""What charges come to: for a span of time, for a day, from now on.

Layer 3: pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from conduit_nb.state.records import Charge

S_PER_HOUR = 3600.0
MAX_HOURS = 100 * 365 * 24.0
"""A hundred years: a moment that is further away overflows dates."""


def usd_of(charge: Charge, begin: datetime, end: datetime) -> float:
    """Return what of a charge falls between two moments, in US dollars."""
    last = end if charge.end is None else min(end, charge.end)
    hours = (last - max(begin, charge.begin)).total_seconds() / S_PER_HOUR
    return max(hours, 0.0) * charge.usd_per_hour


def spent_usd(charges: Iterable[Charge], now: datetime) -> float:
    """Return what charges have come to until now."""
    return sum(usd_of(charge, charge.begin, now) for charge in charges)


def spent_today_usd(charges: Iterable[Charge], now: datetime) -> float:
    """Return what of them falls on the present day, in UTC."""
    begin = day_of(now)
    return sum(usd_of(charge, begin, now) for charge in charges)


def usd_per_hour(charges: Iterable[Charge]) -> float:
    """Return what everything that goes on costs per hour."""
    return sum(charge.usd_per_hour for charge in charges if charge.end is None)


def day_of(now: datetime) -> datetime:
    """Return when the day of `now` began, in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def lasts(usd: float, rate_usd_per_hour: float) -> timedelta | None:
    """Return how long so much money lasts at that rate; None where the rate is nothing."""
    if rate_usd_per_hour <= 0:
        return None
    return timedelta(hours=min(max(usd, 0.0) / rate_usd_per_hour, MAX_HOURS))
