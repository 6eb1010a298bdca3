from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.numbers import Bounds, is_number, rest_of_number, shortest_number

EVERYTHING = Bounds()


def bounds(low: float | None, high: float | None, *, is_open: bool = False) -> Bounds:
    return Bounds(
        low=None if low is None else Decimal(repr(low)),
        high=None if high is None else Decimal(repr(high)),
        is_low_open=is_open,
        is_high_open=is_open,
    )


@pytest.mark.parametrize(
    ("raw", "within", "whole", "rest"),
    [
        ("-", EVERYTHING, True, "1"),
        ("12", EVERYTHING, True, ""),
        ("1.", EVERYTHING, False, "0"),
        ("1e", EVERYTHING, False, "0"),
        ("1E-", EVERYTHING, False, "0"),
        ("1.", EVERYTHING, True, None),
        ("1", bounds(10, 20), True, "0"),
        ("2", bounds(10, 20), True, "0"),
        ("3", bounds(10, 20), True, None),
        ("-", bounds(-5, 20), True, "1"),
        ("0.9", bounds(None, 0.95), False, "1"),
        ("0.", bounds(0.25, 0.3), False, "3"),
        ("0", bounds(0, 1, is_open=True), False, ".1"),
        ("-0", bounds(-2, 2), False, ".1"),
    ],
)
def test_a_number_that_has_begun_is_ended_within_its_bounds(
    raw: str, within: Bounds, whole: bool, rest: str | None
):
    assert rest_of_number(raw, within, whole=whole) == rest


@given(
    st.decimals(-(10**6), 10**6, places=3),
    st.decimals(0, 10**6, places=3),
    st.decimals(0, 1, places=3),
    st.data(),
)
def test_a_number_within_bounds_cut_anywhere_is_ended_within_them(
    low: Decimal, width: Decimal, share: Decimal, data: st.DataObject
):
    within = Bounds(low=low, high=low + width)
    number = format(low + (width * share).quantize(Decimal("0.001")), "f")
    cut = number[: data.draw(st.integers(1, len(number)))]

    rest = rest_of_number(cut, within, whole=False)

    if not number.startswith("-0.000"):
        assert rest is not None
        assert is_number(cut + rest, within, whole=False)


@pytest.mark.parametrize(
    ("within", "whole", "shortest"),
    [
        (EVERYTHING, True, "0"),
        (bounds(3, None), True, "3"),
        (bounds(None, -3), True, "-3"),
        (bounds(0.2, 0.3), False, "0.2"),
        (bounds(1, 2, is_open=True), True, None),
        (bounds(1, 2, is_open=True), False, "1.1"),
    ],
)
def test_the_shortest_number_lies_within_the_bounds(
    within: Bounds, whole: bool, shortest: str | None
):
    assert shortest_number(within, whole=whole) == shortest
