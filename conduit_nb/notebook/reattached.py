"""The one line after `%load_ext`: what still runs from before, and what it costs.

Read from the small summary that the manager keeps, so that no library of the state is loaded and
nobody is asked; hence the age of what it says.
Layer 7.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from conduit_nb.state.summary import Summary, read_summary

FRESH = timedelta(minutes=1)


def reattached_line() -> str:
    """Return the line, "" where nothing runs."""
    summary = read_summary()
    return "" if summary is None else reattached_text(summary, datetime.now(UTC))


def reattached_text(summary: Summary, now: datetime) -> str:
    """Return what a summary comes to at `now`, "" where it names no deployment."""
    if not summary.deployments:
        return ""
    plural = "s" if summary.deployments > 1 else ""
    parts = [
        f"Re-attached: {summary.deployments:,} deployment{plural}",
        f"${summary.usd_per_hour:,.2f}/h",
        f"${summary.spent_by(now):,.2f} so far",
    ]
    if summary.next_end is not None:
        parts.append(_end(summary.next_end - now, several=summary.deployments > 1))
    return ", ".join(parts) + _age(now - summary.written_at)


def _end(left: timedelta, *, several: bool) -> str:
    if left <= timedelta(0):
        return "a lease is over: see %conduit ps"
    return f"{'the first ' if several else ''}stops in {_said(left)}"


def _age(age: timedelta) -> str:
    return f" (as of {_said(age)} ago)" if age >= FRESH else ""


def _said(span: timedelta) -> str:
    minutes = max(round(span / timedelta(minutes=1)), 1)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} days"
