"""Days, times, bytes and floats as text."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.formats import (
    BoundedFloat,
    read_base64,
    read_date,
    read_datetime,
    write_base64,
    write_datetime,
    write_float,
)


@pytest.mark.parametrize("text", ["2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"])
def test_days_that_exist_are_read(text: str):
    assert read_date(text).isoformat() == text


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29",
        "1900-02-29",
        "2024-02-30",
        "2024-04-31",
        "0000-01-01",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "2024-1-1",
        "20240101",
        "2024-W01-1",
        "2024-01-01 ",
        "2024-01-01\n",
        "2024-01-01T00:00:00Z",
        "",
    ],
)
def test_what_is_no_day_is_refused(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        read_date(text)


@given(st.dates())
def test_every_day_comes_back(day: date):
    assert read_date(day.isoformat()) == day


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T00:00:00+00:00", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T00:00:00.5Z", datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-01-01T00:00:00.1234-01:30", None),
        ("2024-02-29T23:59:59.123456+23:59", None),
    ],
)
def test_aware_times_are_read(text: str, moment: datetime | None):
    found = read_datetime(text)

    assert found.tzinfo is not None
    assert moment is None or found == moment


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00",
        "2024-01-01T00:00Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01t00:00:00z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T23:59:60Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01",
        "1704067200",
    ],
)
def test_times_that_are_naive_or_odd_are_refused(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        read_datetime(text)


@given(
    st.datetimes(
        timezones=st.builds(
            timezone, st.integers(-86_399, 86_399).map(lambda seconds: timedelta(seconds=seconds))
        ),
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 12, 31),
    )
)
def test_every_aware_time_comes_back(moment: datetime):
    assert read_datetime(write_datetime(moment)) == moment


def test_an_offset_with_seconds_is_written_as_utc():
    moment = datetime(1880, 1, 1, tzinfo=ZoneInfo("America/New_York"))

    assert write_datetime(moment) == "1880-01-01T04:56:02+00:00"


def test_a_naive_time_is_not_written():
    moment = datetime(2024, 1, 1)  # the point of the test

    with pytest.raises(ValueError, match=re.escape(repr(moment))):
        write_datetime(moment)


def test_a_time_that_utc_cannot_hold_is_not_written():
    odd = timezone(timedelta(hours=5, seconds=1))

    with pytest.raises(OverflowError):
        write_datetime(datetime(1, 1, 1, tzinfo=odd))


@given(st.binary())
def test_all_bytes_come_back(value: bytes):
    assert read_base64(write_base64(value)) == value


@pytest.mark.parametrize("text", ["A", "AA", "AA=", "A===", "AA==\n", "A-_=", "AA==AA==", "é"])
def test_what_is_no_base64_is_refused(text: str):
    with pytest.raises(ValueError, match="base64"):
        read_base64(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.5, "1.5"),
        (1e16, "10000000000000000.0"),
        (1e-7, "0.0000001"),
        (-1.25e-5, "-0.0000125"),
    ],
)
def test_floats_are_written_without_an_exponent(value: float, text: str):
    assert write_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back(value: float):
    assert float(write_float(value)) == value
    assert "e" not in write_float(value)


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (2.0, 0, 5, "2"),
        (0.0, None, 0, "0"),
        (-0.0, 0, 1, "0"),
        (0.9, 0, 0.95, "0.90"),
        (0.95, 0, 0.95, "0.95"),
        (0.94, 0, 0.95, "0.94"),
        (-0.9, -0.95, 1, "-0.90"),
        (8.3, None, 8.317, "8.300"),
        (7.3, None, 8.317, "7.3"),
        (1e22, 0, None, "10000000000000000000000"),
    ],
)
def test_bounded_floats_are_written_as_finely_as_their_bound(
    value: float, low: float | None, high: float | None, text: str
):
    assert write_float(BoundedFloat(value, low=low, high=high)) == text
