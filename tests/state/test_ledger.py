"""state/ledger.py: what charges come to, against a sum over small steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.state.ledger import (
    day_of,
    lasts,
    spent_today_usd,
    spent_usd,
    usd_of,
    usd_per_hour,
)
from conduit_nb.state.records import Charge

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)


def charge(rate: float, begin_min: int, end_min: int | None) -> Charge:
    return Charge(
        node="n",
        deployment="d",
        state="running",
        usd_per_hour=rate,
        begin=START + timedelta(minutes=begin_min),
        end=None if end_min is None else START + timedelta(minutes=end_min),
    )


spans = st.builds(
    lambda rate, begin, length: charge(rate, begin, None if length is None else begin + length),
    st.floats(0, 50),
    st.integers(0, 300),
    st.none() | st.integers(0, 300),
)


@given(st.lists(spans, max_size=6), st.integers(0, 400))
def test_the_sum_is_that_of_every_minute(charges: list[Charge], minutes: int):
    now = START + timedelta(minutes=minutes)
    total = today = 0.0
    for minute in range(minutes):
        moment = START + timedelta(minutes=minute, seconds=30)
        rate = sum(
            one.usd_per_hour
            for one in charges
            if one.begin <= moment and (one.end is None or moment < one.end)
        )
        total += rate / 60
        today += rate / 60 if moment >= day_of(now) else 0

    assert spent_usd(charges, now) == pytest.approx(total, abs=1e-6)
    assert spent_today_usd(charges, now) == pytest.approx(today, abs=1e-6)


def test_a_day_is_one_in_utc_whatever_zone_the_clock_tells():
    zone = datetime.fromisoformat("2026-03-02T01:30:00+02:00")

    assert day_of(zone) == datetime(2026, 3, 1, tzinfo=UTC)


def test_what_goes_on_has_a_rate():
    assert usd_per_hour([charge(1.5, 0, None), charge(9, 0, 5), charge(0.5, 3, None)]) == 2.0


def test_a_time_outside_a_charge_costs_nothing():
    one = charge(60, 10, 20)

    assert usd_of(one, START, START + timedelta(minutes=10)) == 0
    assert usd_of(one, START + timedelta(minutes=15), START + timedelta(hours=9)) == 5


def test_money_lasts_as_long_as_its_rate_lets_it():
    assert lasts(5, 0.5) == timedelta(hours=10)
    assert lasts(-1, 0.5) == timedelta(0)
    assert lasts(5, 0) is None
