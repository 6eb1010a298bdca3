"""Amounts as people say them: times, dollars, and how far something has come.

Layer 0: imports nothing of ours.
"""

from __future__ import annotations

MB = 1e6
TOO_EARLY_S = 2.0
"""Before that a speed says nothing."""


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
    """Return an amount as people say it: small ones are not nothing."""
    return f"${usd:,.2f}" if usd >= 0.995 or usd == 0 else f"${usd:,.4f}"


def how_far(done_bytes: float, total_bytes: float, seconds: float) -> str:
    """Return how much of something has come after so many seconds, how fast, how long still."""
    said = f"{done_bytes / MB:,.0f} of {total_bytes / MB:,.0f} MB"
    if seconds < TOO_EARLY_S or done_bytes <= 0:
        return said
    rate = done_bytes / seconds
    left_s = max(total_bytes - done_bytes, 0) / rate
    return f"{said}, {rate / MB:,.1f} MB/s, {duration(left_s)} left"
