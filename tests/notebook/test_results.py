"""notebook/results.py: outcomes become columns."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import json
import pickle
import sqlite3
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import pytest

import conduit_nb
from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.errors import ArgumentError, BlockError, ConduitError, ReplyError
from conduit_nb.notebook.frames import read_rows
from conduit_nb.notebook.results import (
    detail_columns,
    lowest,
    remarks,
    require_free_names,
    result_frame,
)
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

    assert list(result.columns) == ["text", *Out.__dataclass_fields__, "error", "error_code"]
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
        "day": "datetime64[s]",
        "place": "object",
        "tags": "object",
        "either": "string",
        "error": "string",
        "error_code": "string",
    }
    first, second = result.to_dict("records")
    assert pd.isna(first["error"])
    assert (second["error"], second["error_code"]) == ("no", "reply")
    assert conduit_nb.errors(result).tolist() == [error]
    assert (first["mood"], first["n"], first["place"]) == ("bad", 7, {"city": "Rome"})
    assert first["at"] == RECORD.at
    assert pd.isna(first["x"])
    assert all(pd.isna(second[name]) for name in Out.__dataclass_fields__)
    assert list(result["mood"].cat.categories) == ["good", "bad"]
    assert list(result["size"].cat.categories) == ["s", "m"]


def test_the_rows_themselves_are_left_as_they_were():
    frame = pd.DataFrame({"text": ["a"]})

    result_frame(read_rows(frame, what="df"), schema_of(Out), [whole(RECORD)])

    assert list(frame.columns) == ["text"]


def test_numbers_beyond_64_bits_are_texts_and_times_at_the_edge_are_kept():
    @dataclass
    class Edge:
        n: int
        at: dt.datetime
        flag: Literal[1, True]

    west = dt.timezone(dt.timedelta(hours=-2))
    record = Edge(2**80, dt.datetime(9999, 12, 31, 23, tzinfo=west), 1)

    result = result_frame(read_rows([{"a": 1}], what="df"), schema_of(Edge), [whole(record)])

    assert result["n"].iloc[0] == str(2**80)


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Cat:
    name: str


@dataclass
class Dog:
    barks: bool


@dataclass
class Inner:
    at: dt.datetime
    day: dt.date
    mood: Mood
    either: int | str
    parts: list[Place]
    by_name: dict[str, Place]
    maybe: Place | None
    raw: bytes


INNER = Inner(
    at=dt.datetime(2024, 1, 2, 5, tzinfo=dt.UTC),
    day=dt.date(2024, 1, 2),
    mood=Mood.BAD,
    either=3,
    parts=[Place("Rome")],
    by_name={"a": Place("Oslo")},
    maybe=None,
    raw=b"hi",
)


@dataclass
class Wide:
    inner: Inner
    inners: list[Inner]
    moods: list[Mood]
    by_name: dict[str, int]
    pet: Cat | Dog
    place_or_text: Place | str
    numbers: list[int | float]
    mixed: list[int | str]
    mixed_choice: Literal[1, "a"]
    yes: Literal[True]
    level: Level
    day: dt.date
    at: dt.datetime
    big: int
    ratio: int | float
    half: str


WIDE = Wide(
    inner=INNER,
    inners=[INNER],
    moods=[Mood.GOOD],
    by_name={"a": 1},
    pet=Dog(barks=True),
    place_or_text=Place("Rome"),
    numbers=[1, 2.5],
    mixed=[1, "a"],
    mixed_choice=1,
    yes=True,
    level=Level.LOW,
    day=dt.date(2024, 1, 2),
    at=dt.datetime(2024, 1, 2, 5, tzinfo=dt.UTC),
    big=2**70,
    ratio=1,
    half="\ud83d",
)


def wide_result() -> pd.DataFrame:
    """Return a result of every kind of field, with a row that failed."""
    rows = read_rows(pd.DataFrame({"text": ["a", "b", "c"]}), what="df")
    return result_frame(rows, schema_of(Wide), [whole(WIDE), ReplyError("\ud83d no"), whole(WIDE)])


def test_nested_records_are_dicts_of_values_that_json_has():
    first = wide_result().to_dict("records")[0]

    assert first["inner"] == {
        "at": "2024-01-02T05:00:00+00:00",
        "day": "2024-01-02",
        "mood": "bad",
        "either": "3",
        "parts": [{"city": "Rome"}],
        "by_name": {"a": {"city": "Oslo"}},
        "maybe": None,
        "raw": "aGk=",
    }
    assert first["inners"] == [first["inner"]]
    assert (first["moods"], first["pet"]) == (["good"], {"barks": True})
    assert first["place_or_text"] == '{"city": "Rome"}'
    assert (first["mixed"], first["mixed_choice"], first["level"]) == (["1", "a"], "1", 1)
    assert first["half"] == "\ufffd"
    assert json.loads(json.dumps([first["inner"], first["inners"], first["by_name"]]))


def test_a_result_goes_into_sql_json_csv_and_a_pickle():
    result = wide_result()

    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        assert result.to_sql("out", database) == 3
        [stored] = database.execute("select inner from out where error_code = 'reply'").fetchall()
        [told] = database.execute("select inner from out where text = 'a'").fetchall()
    assert stored == (None,)
    assert json.loads(told[0])["mood"] == "bad"
    assert len(json.loads(result.to_json(orient="records", date_format="iso"))) == 3
    assert len(result.to_csv().splitlines()) == 4
    assert pd.json_normalize(result["inner"].dropna().tolist())["mood"].tolist() == ["bad"] * 2
    assert len(pd.json_normalize(result["inner"])) == 3
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(result)), result)
    assert result.attrs == {}


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("failed", [True, False])
def test_a_result_goes_into_parquet_and_feather(tmp_path: Path, failed: bool):
    result = wide_result() if failed else wide_result().iloc[[0]]

    result.to_parquet(tmp_path / "out.parquet")
    result.reset_index(drop=True).to_feather(tmp_path / "out.feather")

    stored = pd.read_parquet(tmp_path / "out.parquet")
    assert stored["inner"].iloc[0]["mood"] == "bad"
    assert stored["error_code"].tolist() == result["error_code"].tolist()
    assert len(pd.read_feather(tmp_path / "out.feather")) == len(result)


@dataclass
class Counts:
    counts: dict[str, int]


@dataclass
class Nested:
    inner: Counts
    more: list[Counts]
    deep: dict[str, dict[str, int]]


@dataclass
class Numbered:
    kind: Literal[1]
    id: int
    at: dt.date
    of: Cat


@dataclass
class Named:
    kind: Literal[2]
    id: str
    at: dt.date
    of: Dog


@dataclass
class Either:
    one: Numbered | Named
    many: list[Numbered | Named]


EMPTY = Nested(Counts({}), [Counts({}), Counts({})], {"a": {}})
NUMBERED = Numbered(1, 7, dt.date(2024, 1, 2), Cat("Tom"))
NAMED = Named(2, "b", dt.date(2024, 1, 2), Dog(barks=True))


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize(
    ("kind", "records"),
    [
        (Counts, [Counts({})]),
        (Counts, [Counts({}), Counts({"a": 1})]),
        (Nested, [EMPTY]),
        (Nested, [EMPTY, Nested(Counts({"a": 1}), [Counts({}), Counts({"b": 1})], {})]),
        (Either, [Either(NUMBERED, [NAMED]), Either(NAMED, [NUMBERED, NAMED])]),
        (Nested, []),
        (Nested, [ReplyError("no"), ReplyError("no")]),
        (Either, [ReplyError("no"), Either(NUMBERED, [])]),
        (Wide, []),
        (Wide, [ReplyError("no")]),
    ],
)
def test_empty_dicts_records_of_several_classes_and_rows_without_any_go_into_parquet(
    tmp_path: Path, kind: type[Any], records: list[Any]
):
    rows = read_rows(pd.DataFrame({"a": range(len(records))}), what="rows")
    outcomes = [one if isinstance(one, ReplyError) else whole(one) for one in records]
    result = result_frame(rows, schema_of(kind), outcomes)

    result.to_parquet(tmp_path / "out.parquet")

    stored = pd.read_parquet(tmp_path / "out.parquet")
    assert stored["error_code"].tolist() == result["error_code"].tolist()
    assert list(stored.columns) == list(result.columns)


def test_a_field_that_records_of_several_classes_share_has_one_type():
    rows = read_rows([{"a": 1}, {"a": 2}], what="rows")
    outcomes = [whole(Either(NUMBERED, [])), whole(Either(NAMED, []))]

    result = result_frame(rows, schema_of(Either), outcomes)

    assert result["one"].tolist() == [
        {"kind": 1, "id": "7", "at": "2024-01-02", "of": {"name": "Tom"}},
        {"kind": 2, "id": "b", "at": "2024-01-02", "of": {"barks": True}},
    ]


def test_records_that_went_in_are_plain_in_the_result_too():
    @dataclass
    class Row:
        place: Place
        mood: Mood

    rows = read_rows([Row(Place("Rome"), Mood.GOOD)], what="rows")

    result = result_frame(rows, schema_of(Cat), [whole(Cat("Tom"))])

    assert result.to_dict("records")[0]["place"] == {"city": "Rome"}
    assert result["mood"].tolist() == ["good"]


def test_what_sqlite_was_taught_by_the_user_stays():
    sqlite3.register_adapter(dict, lambda value: f"mine: {len(value)}")  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]  # any dict
    try:
        result = wide_result()
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            result.to_sql("out", database)
            [told] = database.execute("select inner from out where text = 'a'").fetchall()
    finally:
        adapters: dict[Any, Any] = sqlite3.adapters  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # typeshed lacks it
        del adapters[dict, sqlite3.PrepareProtocol]

    assert told == ("mine: 8",)


def test_new_columns_take_no_name_that_is_there():
    rows = read_rows(pd.DataFrame({"city": ["a"], "error": [None]}), what="df")

    with pytest.raises(ArgumentError, match="'city', 'error'") as caught:
        require_free_names(rows, schema_of(Place), "")
    assert caught.value.param == "prefix"
    assert "--prefix" in caught.value.hint

    require_free_names(rows, schema_of(Place), "out_")
    result = result_frame(rows, schema_of(Place), [whole(Place("Rome"))], prefix="out_")
    assert list(result.columns) == ["city", "error", "out_city", "out_error", "out_error_code"]


def test_an_output_field_called_error_is_refused():
    @dataclass
    class Wrong:
        error: str

    with pytest.raises(ArgumentError, match=r"\bWrong\b.*'error'") as caught:
        require_free_names(read_rows([{"a": 1}], what="df"), schema_of(Wrong), "")
    assert caught.value.param == "output"


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


@dataclass
class Ticket:
    text: str | None


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    words: int


def said(texts: list[str | None], moods: list[Literal["good", "bad"] | None]) -> list[str]:
    outcomes: list[DetailedAnswer[Verdict] | ConduitError] = [
        BlockError("failed")
        if mood is None
        else DetailedAnswer(record=Verdict(mood, 3), is_truncated=False, confidence={})
        for mood in moods
    ]
    records = [Ticket(text) for text in texts]
    return remarks(records, schema_of(Ticket), schema_of(Verdict), outcomes)


def test_one_label_for_every_row_is_worth_a_look():
    (line,) = said(["a"] * 10, ["good"] * 10)

    assert line.startswith("Every row has mood 'good'")
    assert "--examples" in line


def test_fields_that_are_alike_are_told_in_one_line():
    @dataclass
    class Two:
        mood: Literal["good", "bad"]
        is_urgent: bool

    outcomes: list[DetailedAnswer[Two] | ConduitError] = [
        DetailedAnswer(record=Two("bad", is_urgent=True))
    ] * 10
    (line,) = remarks([Ticket("a")] * 10, schema_of(Ticket), schema_of(Two), outcomes)

    assert line.startswith("Every row has mood 'bad' and is_urgent True: ")


def test_nothing_is_said_of_few_rows_or_of_different_labels():
    assert said(["a"] * 9, ["good"] * 9) == []
    assert said(["a"] * 10, ["good"] * 9 + ["bad"]) == []


def test_rows_that_failed_have_no_label():
    assert said(["a"] * 10, ["good"] * 9 + [None]) == []


def test_an_answer_to_nothing_is_made_up_and_is_counted():
    assert said(["a", None, " "], ["good", "bad", "good"]) == [
        "2 rows have nothing in text: their answers are made up. "
        "Leave such rows out with dropna() before the map"
    ]
    assert said(["a", None], ["good", "bad"])[0].startswith("1 row has nothing in text: its")


def test_a_row_without_text_that_failed_has_no_answer_to_speak_of():
    assert said(["a", None], ["good", None]) == []
