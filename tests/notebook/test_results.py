"""notebook/results.py: outcomes become columns."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Literal, TypeVar

import pandas as pd
import pytest

from conduit_nb.blocks.answers import DetailedAnswer
from conduit_nb.errors import ArgumentError, ReplyError
from conduit_nb.notebook.frames import read_rows
from conduit_nb.notebook.results import require_free_names, result_frame
from conduit_nb.schemas import schema_of

T = TypeVar("T")


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Place:
    city: str


@dataclass
class Out:
    mood: Mood
    size: Literal["s", "m"]
    level: Literal[1, 2]
    n: int
    x: float | None
    yes: bool
    note: str
    at: dt.datetime
    day: dt.date
    place: Place
    tags: list[str]
    either: int | str


RECORD = Out(
    mood=Mood.BAD,
    size="m",
    level=2,
    n=7,
    x=None,
    yes=True,
    note="hm",
    at=dt.datetime(2024, 1, 2, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    day=dt.date(2024, 1, 2),
    place=Place("Rome"),
    tags=["a"],
    either="b",
)


def whole(record: T) -> DetailedAnswer[T]:
    return DetailedAnswer(record=record)


def test_a_result_has_the_rows_columns_and_index_and_typed_output():
    frame = pd.DataFrame({"text": ["a", "b"]}, index=pd.Index([7, 7], name="id"))
    error = ReplyError("no")

    result = result_frame(read_rows(frame, what="df"), schema_of(Out), [whole(RECORD), error])

    assert list(result.columns) == ["text", *Out.__dataclass_fields__, "error"]
    pd.testing.assert_index_equal(result.index, frame.index)
    assert {name: str(kind) for name, kind in result.dtypes.items()} == {
        "text": "str",
        "mood": "category",
        "size": "category",
        "level": "category",
        "n": "Int64",
        "x": "Float64",
        "yes": "boolean",
        "note": "string",
        "at": "datetime64[us, UTC]",
        "day": "object",
        "place": "object",
        "tags": "object",
        "either": "object",
        "error": "object",
    }
    first, second = result.to_dict("records")
    assert first["error"] is None
    assert second["error"] is error
    assert (first["mood"], first["n"], first["place"]) == ("bad", 7, Place("Rome"))
    assert first["at"] == RECORD.at
    assert pd.isna(first["x"])
    assert all(pd.isna(second[name]) for name in Out.__dataclass_fields__)
    assert list(result["mood"].cat.categories) == ["good", "bad"]
    assert list(result["size"].cat.categories) == ["s", "m"]


def test_the_rows_themselves_are_left_as_they_were():
    frame = pd.DataFrame({"text": ["a"]})

    result_frame(read_rows(frame, what="df"), schema_of(Out), [whole(RECORD)])

    assert list(frame.columns) == ["text"]


def test_numbers_beyond_64_bits_and_times_at_the_edge_are_kept():
    @dataclass
    class Edge:
        n: int
        at: dt.datetime
        flag: Literal[1, True]

    west = dt.timezone(dt.timedelta(hours=-2))
    record = Edge(2**80, dt.datetime(9999, 12, 31, 23, tzinfo=west), 1)

    result = result_frame(read_rows([{"a": 1}], what="df"), schema_of(Edge), [whole(record)])

    assert result["n"].iloc[0] == 2**80


def test_new_columns_take_no_name_that_is_there():
    rows = read_rows(pd.DataFrame({"city": ["a"], "error": [None]}), what="df")

    with pytest.raises(ArgumentError, match="columns 'city', 'error'") as caught:
        require_free_names(rows, schema_of(Place), "")
    assert "--prefix" in caught.value.hint

    require_free_names(rows, schema_of(Place), "out_")
    result = result_frame(rows, schema_of(Place), [whole(Place("Rome"))], prefix="out_")
    assert list(result.columns) == ["city", "error", "out_city", "out_error"]


def test_an_output_field_called_error_is_refused():
    @dataclass
    class Wrong:
        error: str

    with pytest.raises(ArgumentError, match="'error', the name of the column for row errors"):
        require_free_names(read_rows([{"a": 1}], what="df"), schema_of(Wrong), "")
