"""Amounts as people say them: times, dollars, and how far something has come.

Also what a number that people give may be. Layer 0: imports only errors.
"""

from __future__ import annotations

from math import isfinite, isnan

from conduit_nb.errors import ArgumentError

MB = 1e6
TOO_EARLY_S = 2.0
"""Before that a speed says nothing."""


MIN_S = 1e-3
MAX_S = 10 * 365 * 86_400.0
"""Ten years: what is longer overflows dates, and nobody means it."""
MIN_USD = 1e-6
MAX_USD = 1e9


def require_within(
    name: str, value: object, minimum: float, maximum: float, *, hint: str = ""
) -> float:
    """Return a number that people gave; ArgumentError where it is none, or outside the bounds."""
    # A whole number may have more digits than Python writes.
    is_long = isinstance(value, int) and abs(value) >= 10**300
    given = "more than 300 digits" if is_long else f"{value!r:.80}"
    hint = hint or f"Give {name} as a plain number."
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and isnan(value))
    ):
        raise ArgumentError(f"{name} must be a number (got {given}).", param=name, hint=hint)
    if value <= 0 < minimum:
        raise ArgumentError(f"{name} must be greater than 0 (got {given}).", param=name, hint=hint)
    if not minimum <= value <= maximum:
        bound = f"at least {minimum:g}" if value < minimum else f"at most {maximum:,.10g}"
        raise ArgumentError(f"{name} must be {bound} (got {given}).", param=name, hint=hint)
    return float(value)


def require_seconds(name: str, value: object, *, hint: str = "") -> float:
    """Return a time in seconds, above 0 and up to ten years."""
    return require_within(name, value, MIN_S, MAX_S, hint=hint)


def require_hours(name: str, value: object, *, hint: str = "") -> float:
    """Return a time in hours, above 0 and up to ten years."""
    return require_within(name, value, MIN_S / 3600, MAX_S / 3600, hint=hint)


def require_usd(name: str, value: object, *, hint: str = "") -> float:
    """Return an amount of US dollars above 0."""
    return require_within(name, value, MIN_USD, MAX_USD, hint=hint)


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `1,240 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def dollars(usd: float) -> str:
    """Return an amount as people write it: "$0.42", "$0.0042", "$1,234.50".

    Below 10 cents it has four digits; what they too would round to nothing is "<$0.0001".
    """
    size, sign = abs(usd), "-" if usd < 0 else ""
    if not isfinite(size):
        return f"{sign}${size}"
    if 0 < size < 0.00005:
        return f"{sign}<$0.0001"
    return f"{sign}${_rounded(size, 4 if 0 < size < 0.09995 else 2)}"


def _rounded(value: float, digits: int) -> str:
    """Round half away from zero by the exact value, as JavaScript's toFixed does."""
    numerator, denominator = value.as_integer_ratio()
    scale = 10**digits
    units = (2 * numerator * scale + denominator) // (2 * denominator)
    return f"{units // scale:,}.{units % scale:0{digits}}"


def how_far(done_bytes: float, total_bytes: float, seconds: float) -> str:
    """Return how much of something has come after so many seconds, how fast, how long still."""
    said = f"{done_bytes / MB:,.0f} of {total_bytes / MB:,.0f} MB"
    if seconds < TOO_EARLY_S or done_bytes <= 0:
        return said
    rate = done_bytes / seconds
    left_s = max(total_bytes - done_bytes, 0) / rate
    return f"{said}, {rate / MB:,.1f} MB/s, {duration(left_s)} left"
