"""What pods of the local Runpod server have cost: spans of time at a rate, summed over buckets.

A pod pays for its devices from its creation on, whether it boots or not, and for its disk as long
as it exists: $0.10 per GB and month while it runs, $0.20 while it is stopped.
Layer 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from conduit_nb.testing.runpod_server.wire import (
    Amounts,
    BillQuery,
    Bucket,
    PodBill,
    PodBills,
    Refused,
)

HOURS_PER_MONTH = 730
RUNNING_DISK_USD = 0.10
STOPPED_DISK_USD = 0.20
DEFAULT_DAYS = 30
MOST_BUCKETS = 10_000


@dataclass(slots=True, kw_only=True)
class Span:
    """A time in which a pod paid for one thing; it goes on while `end` is None."""

    pod_id: str
    what: Literal["gpu", "cpu", "disk"]
    usd_per_hour: float
    begin: datetime
    end: datetime | None = None

    def usd(self, begin: datetime, end: datetime) -> float:
        """Return what of it falls between two moments."""
        last = end if self.end is None else min(end, self.end)
        hours = (last - max(begin, self.begin)).total_seconds() / 3600
        return max(hours, 0.0) * self.usd_per_hour


@dataclass(slots=True)
class Ledger:
    """All spans of an account."""

    spans: list[Span] = field(default_factory=list[Span])

    def begin(self, pod_id: str, rates: Mapping[str, float], at: datetime) -> None:
        """End what the pod pays for, and let it pay these rates (USD per hour) from now on."""
        self.end(pod_id, at)
        for what, rate in rates.items():
            kind = cast('Literal["gpu", "cpu", "disk"]', what)
            self.spans.append(Span(pod_id=pod_id, what=kind, usd_per_hour=rate, begin=at))

    def end(self, pod_id: str, at: datetime) -> None:
        """Let the pod pay nothing from now on."""
        for span in self.spans:
            if span.pod_id == pod_id and span.end is None:
                span.end = at

    def usd(self, now: datetime, pod_id: str | None = None) -> float:
        """Return what one pod, or all, have cost until now."""
        return sum(
            span.usd(span.begin, now)
            for span in self.spans
            if pod_id is None or span.pod_id == pod_id
        )

    def usd_per_hour(self) -> float:
        """Return what everything costs per hour from now on."""
        return sum(span.usd_per_hour for span in self.spans if span.end is None)


def disk_usd_per_hour(gb: int, *, is_running: bool) -> float:
    """Return what so much disk costs per hour."""
    rate = RUNNING_DISK_USD if is_running else STOPPED_DISK_USD
    return gb * rate / HOURS_PER_MONTH


def bill_pods(ledger: Ledger, query: Mapping[str, str], now: datetime) -> PodBills:
    """Answer a query for the bills of pods; raise Refused where it makes no sense."""
    size = query.get("bucketSize", "day")
    if size not in get_args(Bucket):
        raise Refused(422, f"bucketSize={size!r} is none of {', '.join(get_args(Bucket))}.")
    bucket = cast("Bucket", size)
    begin, end = _window(query, bucket, now)
    pod_id = query.get("podId")
    records = [
        record
        for first, last in _buckets(begin, end, bucket)
        for record in _records(ledger, first, last, pod_id, now)
    ]
    resolved = BillQuery(startTime=to_text(begin), endTime=to_text(end), bucketSize=bucket)
    if pod_id is not None:
        resolved["podId"] = pod_id
    return {
        "records": records,
        "metadata": {
            "query": resolved,
            "recordCount": len(records),
            "uniquePodCount": len({record["podId"] for record in records}),
            "totals": _amounts(
                sum(record["gpuAmount"] for record in records),
                sum(record["cpuAmount"] for record in records),
                sum(record["diskAmount"] for record in records),
            ),
        },
    }


def to_text(moment: datetime) -> str:
    """Write a moment as the API does."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_moment(text: str, name: str) -> datetime:
    """Read a moment; raise Refused (422) where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise Refused(422, f"{name}={text!r} is no RFC 3339 time.") from err
    if moment.tzinfo is None:
        raise Refused(422, f"{name}={text!r} says no time zone.")
    return moment


def _records(
    ledger: Ledger, begin: datetime, end: datetime, pod_id: str | None, now: datetime
) -> Iterator[PodBill]:
    until = min(end, now)
    pods = dict.fromkeys(span.pod_id for span in ledger.spans)
    for one in pods if pod_id is None else [pod_id]:
        usd = {"gpu": 0.0, "cpu": 0.0, "disk": 0.0}
        for span in ledger.spans:
            if span.pod_id == one:
                usd[span.what] += span.usd(begin, until)
        if any(usd.values()):
            yield {
                "startTime": to_text(begin),
                "endTime": to_text(end),
                "podId": one,
                **_amounts(usd["gpu"], usd["cpu"], usd["disk"]),
            }


def _amounts(gpu: float, cpu: float, disk: float) -> Amounts:
    return {
        "totalAmount": gpu + cpu + disk,
        "gpuAmount": gpu,
        "cpuAmount": cpu,
        "diskAmount": disk,
    }


def _window(query: Mapping[str, str], bucket: Bucket, now: datetime) -> tuple[datetime, datetime]:
    """Return the time that is asked for, widened to whole buckets."""
    last_n, begin, end = (query.get(name) for name in ("lastN", "startTime", "endTime"))
    if last_n is not None:
        if begin is not None or end is not None:
            raise Refused(400, "lastN excludes startTime and endTime.")
        if not last_n.isdecimal() or not 0 < int(last_n) <= MOST_BUCKETS:
            raise Refused(422, f"lastN={last_n!r} is no whole number above 0.")
        first = _start(now, bucket)
        for _ in range(int(last_n) - 1):
            first = _start(first - timedelta(seconds=1), bucket)
        return first, _next(_start(now, bucket), bucket)
    first = to_moment(begin, "startTime") if begin else now - timedelta(days=DEFAULT_DAYS)
    last = to_moment(end, "endTime") if end else now
    if last <= first:
        raise Refused(400, "endTime is not after startTime.")
    snapped = _start(last, bucket)
    return _start(first, bucket), snapped if snapped == last else _next(snapped, bucket)


def _buckets(begin: datetime, end: datetime, bucket: Bucket) -> Iterator[tuple[datetime, datetime]]:
    while begin < end:
        following = _next(begin, bucket)
        yield begin, following
        begin = following


def _start(moment: datetime, bucket: Bucket) -> datetime:
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if bucket == "hour":
        return hour
    if bucket == "day":
        return day
    if bucket == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day.replace(month=1, day=1)


def _next(start: datetime, bucket: Bucket) -> datetime:
    far = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 32 * 86_400}
    return _start(start + timedelta(seconds=far.get(bucket, 367 * 86_400)), bucket)
