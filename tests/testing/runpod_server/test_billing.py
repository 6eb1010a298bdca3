"""Bills are what the pods' times at their rates amount to, cut into buckets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from conduit_nb.testing.runpod_server import RunpodServer
from conduit_nb.testing.runpod_server.billing import Ledger, bill_pods, disk_usd_per_hour
from conduit_nb.testing.runpod_server.wire import Refused
from tests.testing.runpod_server.conftest import Clock

GPU_USD = 2 * 0.69
DISK_USD = 20 * 0.10 / 730


def bill(api: httpx2.Client, **query: object) -> dict[str, Any]:
    answer = api.get("/billing/pods", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_pod_pays_from_its_creation_and_only_disk_while_it_is_stopped(
    api: httpx2.Client, clock: Clock, create: Callable[..., dict[str, Any]]
):
    pod = create()
    clock.advance(3600)
    api.post(f"/pods/{pod['id']}/action", json={"action": "stop"})
    clock.advance(3600)

    [record] = bill(api)["records"]

    assert record["podId"] == pod["id"]
    assert record["gpuAmount"] == pytest.approx(GPU_USD)
    assert record["diskAmount"] == pytest.approx(DISK_USD + 2 * DISK_USD)
    assert record["totalAmount"] == pytest.approx(GPU_USD + 3 * DISK_USD)


def test_a_terminated_pod_is_billed_for_its_time_and_no_more(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Callable[..., dict[str, Any]]
):
    pod = create()
    clock.advance(1800)
    api.delete(f"/pods/{pod['id']}")
    clock.advance(86_400)

    whole = bill(api, podId=pod["id"])

    assert whole["metadata"]["totals"]["gpuAmount"] == pytest.approx(GPU_USD / 2)
    assert whole["metadata"]["query"]["podId"] == pod["id"]
    assert cloud.account.ledger.usd_per_hour() == 0


def test_buckets_are_whole_hours_or_days_and_add_up(
    api: httpx2.Client, clock: Clock, create: Callable[..., dict[str, Any]]
):
    clock.advance(1800)
    create()
    create(name="two")
    clock.advance(5400)

    hours = bill(api, bucketSize="hour", lastN=3)

    assert [(one["startTime"][11:16], one["endTime"][11:16]) for one in hours["records"]] == [
        *[("12:00", "13:00")] * 2,
        *[("13:00", "14:00")] * 2,
    ]
    assert hours["metadata"]["recordCount"] == 4
    assert hours["metadata"]["uniquePodCount"] == 2
    assert hours["metadata"]["totals"]["gpuAmount"] == pytest.approx(2 * 1.5 * GPU_USD)
    whole = bill(api, startTime="2026-11-23T00:00:00Z", endTime="2026-11-24T00:00:00Z")
    assert whole["metadata"]["totals"] == pytest.approx(hours["metadata"]["totals"])


@pytest.mark.parametrize(
    ("bucket", "begin", "end"),
    [
        ("hour", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"),
        ("day", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("week", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("month", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("year", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_the_window_is_widened_to_whole_buckets(
    api: httpx2.Client, bucket: str, begin: str, end: str
):
    query = bill(api, bucketSize=bucket, lastN=1)["metadata"]["query"]

    assert query == {"startTime": begin, "endTime": end, "bucketSize": bucket}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"lastN": "1", "startTime": "2026-11-01T00:00:00Z"}, 400),
        ({"startTime": "2026-11-02T00:00:00Z", "endTime": "2026-11-01T00:00:00Z"}, 400),
        ({"lastN": "0"}, 422),
        ({"bucketSize": "minute"}, 422),
        ({"startTime": "yesterday"}, 422),
        ({"startTime": "2026-11-01T00:00:00"}, 422),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(query: dict[str, str], status: int):
    with pytest.raises(Refused) as refused:
        bill_pods(Ledger(), query, datetime(2026, 11, 23, tzinfo=UTC))

    assert refused.value.status_code == status


def test_a_stopped_disk_costs_twice_a_running_one():
    assert disk_usd_per_hour(730, is_running=True) == pytest.approx(0.10)
    assert disk_usd_per_hour(730, is_running=False) == pytest.approx(0.20)
