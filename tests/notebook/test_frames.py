"""notebook/frames.py: rows of pandas become records, and records columns."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from conduit_nb.errors import ArgumentError, ValidationError
from conduit_nb.notebook.frames import (
    derived_input,
    read_columns,
    read_examples,
    read_rows,
    to_records,
)
from conduit_nb.schemas import schema_of
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

UTC = dt.timezone.utc  # noqa: UP017  # beside the module's own name


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Place:
    city: str


OBJECTS = (
    tuple,
    set,
    dict,
    UUID,
    PurePosixPath,
    np.generic,
    Decimal,
    dt.timedelta,
    dt.date,
    list,
    np.ndarray,
    Mood,
    Place,
    bytes,
)


def derived(frame: object, columns: str | None = None) -> tuple[str, list[Any]]:
    """Return the MDL of the input derived from `frame`, and the records read through it."""
    rows = read_rows(frame, what="df")
    chosen = read_columns(columns)
    schema = schema_of(derived_input(rows, chosen))
    return schema.mdl, to_records(rows, schema, chosen)


def read(frame: object, cls: type[Any], columns: str | None = None) -> list[Any]:
    """Return the records of `cls` read from `frame`."""
    return to_records(read_rows(frame, what="df"), schema_of(cls), read_columns(columns))


def objects(values: list[Any]) -> pd.Series[Any]:
    """Return values as pandas would not change them."""
    series = pd.Series([None] * len(values), dtype=object)
    for index, value in enumerate(values):
        series[index] = value
    return series


def only(records: list[Any], field: str) -> list[Any]:
    return [getattr(record, field) for record in records]


@pytest.mark.parametrize(
    ("values", "mdl", "read_as"),
    [
        (["a", "b"], "string", ["a", "b"]),
        (["a", None], "string | null", ["a", None]),
        (pd.array(["a", pd.NA], dtype="string"), "string | null", ["a", None]),
        ([1, 2], "int", [1, 2]),
        (np.array([1, 2], dtype="int8"), "int", [1, 2]),
        (pd.array([1, pd.NA], dtype="Int64"), "int | null", [1, None]),
        ([1.5, 2.0], "float", [1.5, 2.0]),
        ([1.5, np.nan], "float | null", [1.5, None]),
        (np.array([1.5, 2], dtype="float32"), "float", [1.5, 2.0]),
        ([True, False], "bool", [True, False]),
        (pd.array([True, pd.NA], dtype="boolean"), "bool | null", [True, None]),
        (pd.Categorical(["a", "b"]), "string", ["a", "b"]),
        (
            pd.to_datetime(["2024-01-02 03:04:05", None]),
            "string | null",
            ["2024-01-02T03:04:05", None],
        ),
        ([None, None], "string | null", [None, None]),
        ([np.int64(1), None], "int | null", [1, None]),
        ([Decimal("1.5"), Decimal(2)], "float", [1.5, 2.0]),
        ([dt.timedelta(hours=1)], "string", ["1:00:00"]),
        ([dt.date(2024, 1, 2)], "date", [dt.date(2024, 1, 2)]),
        ([["a"], []], "string[]", [["a"], []]),
        ([np.array([1, 2])], "int[]", [[1, 2]]),
        ([1, "a"], "int | string", [1, "a"]),
        ([Mood.GOOD], '"good" | "bad"', [Mood.GOOD]),
        ([Place("Rome")], "{city: string}", [Place("Rome")]),
        ([b"hi"], "base64", [b"hi"]),
        ([[np.int64(1)], [2]], "int[]", [[1], [2]]),
        ([[1.0, np.nan], [2.0]], "(float | null)[]", [[1.0, None], [2.0]]),
        ([(1, 2), (3,)], "int[]", [[1, 2], [3]]),
        ([{"b", "a"}, frozenset[str]()], "string[]", [["a", "b"], []]),
        ([{"a": np.int64(1)}, {}], "{[string]: int}", [{"a": 1}, {}]),
        ([{"a": ["x"]}, None], "{[string]: string[]} | null", [{"a": ["x"]}, None]),
        (pd.interval_range(0, 1), "string", ["(0, 1]"]),
        (pd.period_range("2024", periods=1, freq="M"), "string", ["2024-01"]),
        ([UUID(int=1)], "string", ["00000000-0000-0000-0000-000000000001"]),
        ([PurePosixPath("a/b")], "string", ["a/b"]),
    ],
)
def test_a_derived_input_has_the_types_of_the_columns(values: Any, mdl: str, read_as: list[Any]):
    frame = pd.DataFrame({"x": objects(values) if isinstance(values[0], OBJECTS) else values})

    found, records = derived(frame)

    assert found == f"{{\n  x: {mdl}\n}}"
    assert only(records, "x") == read_as
    assert [type(value) for value in only(records, "x")] == [type(value) for value in read_as]


def test_aware_timestamps_stay_points_in_time():
    frame = pd.DataFrame({"x": pd.to_datetime(["2024-01-02T03:04:05.678Z"])})

    mdl, records = derived(frame)

    assert "datetime" in mdl
    assert records[0].x == dt.datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_an_infinite_number_is_the_error_of_its_row_alone():
    _, records = derived(pd.DataFrame({"x": [1.0, np.inf]}))

    assert records[0].x == 1.0
    assert isinstance(records[1], ValidationError)


def test_columns_that_were_chosen_are_read_in_that_order_and_no_others():
    frame = pd.DataFrame({"a": [1], "b": ["x"], "c": [object()]})

    mdl, records = derived(frame, "b,a")

    assert mdl == "{\n  b: string\n  a: int\n}"
    assert (records[0].b, records[0].a) == ("x", 1)


def test_a_column_whose_name_is_no_python_name_needs_one():
    frame = pd.DataFrame({"Review Text": ["good"], 7: [1], "class": ["x"]})

    with pytest.raises(ArgumentError, match="'Review Text'") as caught:
        derived(frame)
    assert caught.value.param == "columns"
    assert '--columns review_text="Review Text"' in caught.value.hint

    mdl, records = derived(frame, 'text="Review Text",seven=7,kind=class')
    assert mdl == "{\n  text: string\n  seven: int\n  kind: string\n}"
    assert (records[0].text, records[0].seven, records[0].kind) == ("good", 1, "x")


@pytest.mark.parametrize("text", ["", "a,,b", "a,a", "a=", "=a"])
def test_columns_that_are_written_wrong_are_refused(text: str):
    with pytest.raises(ArgumentError) as caught:
        read_columns(text)
    assert caught.value.param == "columns"


def test_a_column_name_in_quotes_may_hold_a_comma():
    assert read_columns('a="x, y", b') == {"a": "x, y", "b": "b"}


def test_the_error_column_of_an_earlier_map_is_not_shown_to_a_model():
    frame = pd.DataFrame({"x": [1, 2], "error": [None, "no"], "error_code": [None, "reply"]})

    assert derived(frame)[0] == "{\n  x: int\n}"


def test_codes_of_the_users_own_are_shown_to_a_model():
    frame = pd.DataFrame({"error": ["no disk"], "error_code": ["E28"]})

    assert derived(frame)[0] == "{\n  error: string\n  error_code: string\n}"


@pytest.mark.parametrize("values", [[{"a": 1, "b": ["x"]}], [object()], [1, ["a"]], [{1, b"x"}]])
def test_a_column_without_a_field_type_is_named(values: list[Any]):
    with pytest.raises(ArgumentError, match="'x'") as caught:
        derived(pd.DataFrame({"x": pd.Series(values, dtype=object)}))

    assert caught.value.param == "columns"
    assert "--columns" in caught.value.hint


def test_a_declared_input_takes_its_fields_from_the_columns_of_their_names():
    @dataclass
    class Review:
        text: str
        stars: int | None
        at: dt.datetime
        day: dt.date
        mood: Mood
        place: Place
        lang: str = "en"

    frame = pd.DataFrame(
        {
            "other": [object()] * 2,
            "stars": [3, np.nan],
            "text": ["a", "b"],
            "at": pd.to_datetime(["2024-01-02T03:04:05Z"] * 2),
            "day": pd.to_datetime(["2024-01-02"] * 2),
            "mood": ["good", "bad"],
            "place": [{"city": "Rome"}, Place("Paris")],
        }
    )

    records = read(frame, Review)

    at = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    day = dt.date(2024, 1, 2)
    assert records == [
        Review("a", 3, at, day, Mood.GOOD, Place("Rome")),
        Review("b", None, at, day, Mood.BAD, Place("Paris")),
    ]


def test_a_value_that_does_not_fit_is_the_error_of_its_row_with_the_fields_path():
    @dataclass
    class Review:
        text: str
        stars: int

    frame = pd.DataFrame({"text": ["a", None, "c", "d"], "stars": [1, 2, "3", 4.5]})

    good, missing, text, fraction = read(frame, Review)

    assert good == Review("a", 1)
    for error, path in ((missing, "$.text"), (text, "$.stars"), (fraction, "$.stars")):
        assert isinstance(error, ValidationError)
        assert [problem.path for problem in error.problems] == [path]


def test_floats_are_no_ints_where_the_column_could_have_held_ints():
    @dataclass
    class Review:
        stars: int

    assert all(
        isinstance(record, ValidationError)
        for record in read(pd.DataFrame({"stars": [1.0, 2.0]}), Review)
    )


def test_naive_timestamps_do_not_fit_a_declared_datetime():
    @dataclass
    class Review:
        at: dt.datetime

    [error] = read(pd.DataFrame({"at": pd.to_datetime(["2024-01-02 03:04"])}), Review)

    assert isinstance(error, ValidationError)


def test_a_missing_column_is_named_with_those_that_there_are():
    @dataclass
    class Review:
        text: str

    with pytest.raises(ArgumentError, match=r"'text'.*Review\.text") as caught:
        read(pd.DataFrame({"texts": ["a"], "stars": [1]}), Review)

    assert caught.value.hint.startswith(did_you_mean("texts"))
    assert "texts, stars" in caught.value.hint


def test_a_declared_field_may_be_read_from_a_column_of_another_name():
    @dataclass
    class Review:
        text: str
        stars: int = 3

    frame = pd.DataFrame({"Review Text": ["a"], "stars": [5]})

    assert read(frame, Review, 'text="Review Text"') == [Review("a", 5)]
    with pytest.raises(ArgumentError, match=r"'txt'.*\bReview\b") as of_a_field:
        read(frame, Review, 'text="Review Text",txt=stars')
    with pytest.raises(ArgumentError, match=r"'stras'.*Review\.stars") as of_a_column:
        read(frame, Review, 'text="Review Text",stars=stras')

    assert did_you_mean("text") in of_a_field.value.hint
    assert did_you_mean("stars") in of_a_column.value.hint


def test_a_list_of_records_is_read_as_it_is():
    places = [Place("Rome"), Place("Paris")]
    rows = read_rows(places, what="places")

    assert derived_input(rows, None) is Place
    records = to_records(rows, schema_of(Place), None)
    assert records == places
    assert list(rows.frame["city"]) == ["Rome", "Paris"]


def test_a_record_that_was_changed_is_the_error_of_its_row():
    places: list[Any] = [Place("Rome"), Place(7)]  # type: ignore[arg-type]  # what the test is about

    records = read(places, Place)

    assert records[0] == Place("Rome")
    assert isinstance(records[1], ValidationError)


def test_records_of_another_class_give_their_fields_by_name():
    @dataclass
    class Town:
        city: str

    assert read([Place("Rome")], Town) == [Town("Rome")]


def test_a_list_of_dicts_keeps_ints_beside_missing_ones():
    mdl, records = derived([{"a": 1, "b": "x"}, {"b": None}])

    assert mdl == "{\n  a: int | null\n  b: string | null\n}"
    assert [(record.a, record.b) for record in records] == [(1, "x"), (None, None)]


@pytest.mark.parametrize(
    ("source", "column"),
    [
        (["a", "b"], "text"),
        (pd.Series(["a", "b"]), "text"),
        (pd.Series(["a", "b"], index=[7, 9], name="review"), "review"),
    ],
)
def test_texts_alone_are_rows_of_one_column(source: object, column: str):
    rows = read_rows(source, what="texts")
    mdl, records = derived(source)

    assert list(rows.frame.columns) == [column]
    assert mdl == f"{{\n  {column}: string\n}}"
    assert [getattr(record, column) for record in records] == ["a", "b"]
    if isinstance(source, pd.Series):
        assert rows.frame.index.equals(source.index)


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        (pd.DataFrame(index=[1, 2]), "columns"),
        ("text", r"\bdf\b.*\bstr\b"),
        (None, r"\bdf\b.*\bNoneType\b"),
        (["a", 1], r"\bdf\b.*\bint, str\b"),
        ([Place("Rome"), {"city": "Paris"}], r"\bdf\b.*\bPlace, dict\b"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"\bdf\b.*'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), r"\bdf\b.*'1'"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), r"\bdf\b.*\b2\b"),
    ],
)
def test_what_are_no_rows_is_an_error_that_says_so(source: object, facts: str):
    with pytest.raises(ArgumentError, match=facts) as caught:
        derived(source)

    assert caught.value.param == "rows"
    assert caught.value.hint


def test_a_column_whose_name_has_blanks_is_told_how_to_name_its_field():
    rows = read_rows(pd.DataFrame({"created at": ["x"]}), what="df")
    with pytest.raises(ArgumentError) as caught:
        derived_input(rows, read_columns('"created at"'))
    assert caught.value.param == "columns"
    assert 'created_at="created at"' in caught.value.hint


def test_a_path_in_a_variable_is_told_how_the_file_is_read():
    with pytest.raises(ArgumentError, match=r"\bpath\b.*\bstr\b") as caught:
        read_rows("data/tickets.csv", what="path")
    assert 'pd.read_csv("data/tickets.csv")' in caught.value.hint


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    stars: int = 3


@dataclass
class Other:
    text: str


def read_pairs(pairs: Any) -> list[tuple[Review, Verdict]]:
    return read_examples("pairs", {"pairs": pairs}, schema_of(Review), schema_of(Verdict))


@pytest.mark.parametrize("given", [Review("a"), {"text": "a"}, "a", Other("a")])
@pytest.mark.parametrize("wanted", [Verdict("good"), {"mood": "good", "stars": 3}])
def test_each_side_is_a_record_a_dict_or_the_one_text(given: object, wanted: object):
    assert read_pairs([(given, wanted), [given, wanted]]) == [(Review("a"), Verdict("good"))] * 2


def test_without_the_option_there_are_none():
    assert read_examples(None, {}, schema_of(Review), schema_of(Verdict)) == []


@pytest.mark.parametrize(
    ("pairs", "facts"),
    [
        ("text", r"\bpairs\b.*\bstr\b"),
        ([("a",)], r"pairs\[0\][^\[].*\('a',\)"),
        (["ab"], r"pairs\[0\][^\[].*'ab'"),
        ([("a", {"mood": "good"}), ("b", 3)], r"pairs\[1\]\[1\].*\bint\b.*\bVerdict\b"),
        ([("a", "good")], r"pairs\[0\]\[1\].*\bstr\b.*\bVerdict\b"),
    ],
)
def test_what_is_no_example_is_an_error_that_says_where(pairs: object, facts: str):
    with pytest.raises(ArgumentError, match=facts) as caught:
        read_pairs(pairs)

    assert caught.value.param == "examples"


@pytest.mark.parametrize(
    ("pairs", "subject", "path"),
    [
        ([("a", {"mood": "glad"})], "pairs[0][1]", "$.mood"),
        ([({"txt": "a"}, {"mood": "good"})], "pairs[0][0]", "$.text"),
    ],
)
def test_an_example_that_does_not_fit_is_an_error_that_says_where(
    pairs: object, subject: str, path: str
):
    with pytest.raises(ValidationError) as caught:
        read_pairs(pairs)

    assert caught.value.subject == subject
    assert path in [problem.path for problem in caught.value.problems]


def test_a_map_shows_its_examples_to_the_model(cells: Cells, server: OpenAIServer):
    cells.names["few"] = [("It broke.", {"mood": "bad"})]
    cells.names["rows"] = ["Lovely."]

    cells.run(
        f"%%conduit map rows --examples few --endpoint {server.url} --model m\n"
        'class Verdict:\n    mood: Literal["good", "bad"]'
    )

    roles = [message["role"] for message in server.requests[0]["messages"]]
    told = [message["content"] for message in server.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert told[1:] == ['{"text":"It broke."}', '{"mood":"bad"}', '{"text":"Lovely."}']


def test_a_text_is_an_example_too_where_a_column_has_empty_cells():
    rows = read_rows(pd.DataFrame({"ticket": ["a", None]}), what="df")
    takes, gives = schema_of(derived_input(rows, None)), schema_of(Verdict)
    names = {"few": [("It broke.", {"mood": "bad"})]}

    ((given, _),) = read_examples("few", names, takes, gives)

    assert given.ticket == "It broke."
