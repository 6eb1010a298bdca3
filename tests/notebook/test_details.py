from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import pandas as pd
import pytest

from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.errors import ArgumentError, ReplyError
from conduit_nb.notebook.details import detail_columns, lowest
from conduit_nb.notebook.frames import read_rows
from conduit_nb.notebook.results import require_free_names, result_frame
from conduit_nb.schemas import schema_of


class Color(Enum):
    RED = "red"


@dataclass
class Item:
    name: str
    color: Color


@dataclass
class Order:
    urgent: bool
    mood: Literal["good", "bad"] | None
    first: Item
    items: list[Item]
    flags: list[bool]
    note: str | None


def test_each_field_that_is_chosen_from_a_few_has_a_column():
    columns = detail_columns(schema_of(Order), truncated=True, confidence=True)

    assert columns.names == [
        "truncated",
        "urgent_confidence",
        "mood_confidence",
        "first.color_confidence",
        "items[].color_confidence",
        "flags[]_confidence",
    ]
    assert detail_columns(schema_of(Order), truncated=False, confidence=False).names == []


def test_of_a_list_the_lowest_counts():
    told = {"items[0].color": 0.9, "items[12].color": 0.4, "urgent": 0.1}

    assert lowest(told, "items[].color") == 0.4
    assert lowest(told, "urgent") == 0.1
    assert lowest(told, "mood") is None


def test_a_frame_has_what_is_known_and_nothing_for_rows_that_failed():
    @dataclass
    class Label:
        urgent: bool

    schema = schema_of(Label)
    rows = read_rows(pd.DataFrame({"text": ["a", "b", "c"]}, index=[3, 1, 2]), what="rows")
    answers = [
        DetailedAnswer(record=Label(urgent=True), confidence={"urgent": 0.75}),
        ReplyError("no"),
        DetailedAnswer(record=Label(urgent=False), is_truncated=True),
    ]
    columns = detail_columns(schema, truncated=True, confidence=True)

    frame = result_frame(rows, schema, answers, prefix="p_", details=columns)

    assert list(frame.columns) == [
        "text",
        "p_urgent",
        "p_truncated",
        "p_urgent_confidence",
        "p_error",
        "p_error_code",
    ]
    assert frame["p_truncated"].tolist() == [False, pd.NA, True]
    assert frame["p_truncated"].dtype == "boolean"
    assert frame["p_urgent_confidence"].tolist() == [0.75, pd.NA, pd.NA]
    assert list(frame.index) == [3, 1, 2]


def test_a_new_column_never_takes_the_name_of_another():
    @dataclass
    class Label:
        truncated: bool

    schema = schema_of(Label)
    columns = detail_columns(schema, truncated=True, confidence=True)
    rows = read_rows(pd.DataFrame({"truncated_confidence": [1]}), what="rows")

    with pytest.raises(ArgumentError, match="'truncated_confidence'") as of_the_rows:
        require_free_names(rows, schema, "", columns)
    with pytest.raises(ArgumentError, match=r"\bLabel\b.*'p_truncated'") as of_a_field:
        require_free_names(rows, schema, "p_", columns)
    assert (of_the_rows.value.param, of_a_field.value.param) == ("prefix", "output")
