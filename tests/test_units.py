"""units.py: amounts as people say them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.units import (
    counted,
    dollars,
    duration,
    how_far,
    require_hours,
    require_seconds,
    require_usd,
    require_within,
)

INF = float("inf")
# The same table is held against the browser's side: extension/tests/shared/words.test.ts.
CASES = json.loads((Path(__file__).parent.parent / "extension/tests/words.json").read_text())
NOT_MEANT = (0, -0.0, -1, 1e300, -1e300, 1e-320, INF, -INF, float("nan"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (119, "119 s"), (200, "3 min 20 s"), (7260, "2 h 01 min")],
)
def test_a_time_is_said_as_exactly_as_it_matters(seconds: float, said: str):
    assert duration(seconds) == said


@pytest.mark.parametrize(("usd", "said"), CASES["usd"])
def test_dollars_are_written_as_in_the_browser_and_small_amounts_are_not_nothing(
    usd: float, said: str
):
    assert dollars(usd) == said


@pytest.mark.parametrize(("usd", "said"), [(INF, "$inf"), (10**20, f"${10**20:,}.00")])
def test_amounts_that_no_json_holds_are_written_too(usd: float, said: str):
    assert dollars(usd) == said


def test_how_far_something_has_come_tells_speed_and_rest_once_there_is_one():
    assert how_far(0, 538e6, 10) == "0 of 538 MB"
    assert how_far(100e6, 538e6, 1) == "100 of 538 MB"
    assert how_far(100e6, 500e6, 10) == "100 of 500 MB, 10.0 MB/s, 40 s left"
    assert how_far(500e6, 500e6, 10) == "500 of 500 MB, 50.0 MB/s, 0.0 s left"


def test_things_are_counted_in_words():
    assert [counted(0, "row"), counted(1, "row"), counted(1240, "row")] == [
        "0 rows",
        "1 row",
        "1,240 rows",
    ]


@pytest.mark.parametrize("require", [require_hours, require_seconds, require_usd])
@pytest.mark.parametrize("value", [*NOT_MEANT, True, "1", None, pytest.param(10**5000, id="long")])
def test_a_number_that_nobody_means_is_refused_by_name(
    require: Callable[[str, object], float], value: object
):
    with pytest.raises(ArgumentError, match="hours") as raised:
        require("hours", value)

    assert raised.value.param == "hours"
    assert raised.value.hint


@pytest.mark.parametrize("value", [1, 0.5, 1000])
def test_a_number_that_is_meant_is_a_float(value: float):
    assert require_hours("hours", value) == value
    assert isinstance(require_hours("hours", value), float)


def test_nothing_may_be_a_number_where_the_bounds_say_so():
    assert require_within("tail", 0, 0, 10) == 0
    with pytest.raises(ArgumentError, match=r"\b0\b.*-1") as raised:
        require_within("tail", -1, 0, 10)
    assert raised.value.param == "tail"
