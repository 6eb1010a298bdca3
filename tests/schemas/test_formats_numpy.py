"""schemas/formats.py: values of numpy and pandas in records."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

import pytest

from conduit_nb.schemas import encode, schema_of
from conduit_nb.schemas.formats import is_foreign, plain_value
from conduit_nb.schemas.shapes import Length, Range
from tests.schemas.records import check_problems, has_facts, problems_of

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

NOON = "2024-01-01T12:00:00"


def written(hint: Any, value: Any) -> str:
    """Return how a value stands in the JSON of a record."""
    record = make_dataclass("Holder", [("f", hint)])(value)
    schema_of(type(record)).validate(record)
    return encode(record).removeprefix('{"f":').removesuffix("}")


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (int, np.int64(3), "3"),
        (int, np.uint8(255), "255"),
        (int, pd.Series([7]).iloc[0], "7"),
        (Annotated[int, Range(ge=1, le=5)], np.int32(5), "5"),
        (int | None, np.int64(3), "3"),
        (int | str, np.int64(3), "3"),
        (int | str, np.str_("a"), '"a"'),
        (float, np.float64(0.5), "0.5"),
        (float, np.float32(0.1), "0.10000000149011612"),
        (float, np.float16(0.5), "0.5"),
        (float, np.longdouble(0.5), "0.5"),
        (float, np.int64(3), "3.0"),
        (bool, np.bool_(True), "true"),
        (str, np.str_("a"), '"a"'),
        (bytes, np.bytes_(b"a"), '"YQ=="'),
        (Literal["a", 2, True], np.str_("a"), '"a"'),
        (Literal["a", 2, True], np.int64(2), "2"),
        (Literal["a", 2, True], np.bool_(True), "true"),
        (list[int], [np.int64(1), 2], "[1,2]"),
        (list[int], np.array([1, 2]), "[1,2]"),
        (list[list[float]], np.array([[0.5], [1.5]], dtype=np.float32), "[[0.5],[1.5]]"),
        (list[date], np.array(["2024-01-01"], dtype="datetime64[ns]"), '["2024-01-01"]'),
        (Annotated[list[bool], Length(2)], np.array([True, False]), "[true,false]"),
        (int, np.array(3), "3"),
        (dict[str, float], {np.str_("k"): np.float32(0.5)}, '{"k":0.5}'),
        (date, pd.Timestamp("2024-01-01"), '"2024-01-01"'),
        (date | None, pd.Timestamp("2024-01-01"), '"2024-01-01"'),
        (date, np.datetime64("2024-01-01"), '"2024-01-01"'),
        (date, np.datetime64("2024-01-01", "ns"), '"2024-01-01"'),
        (datetime, pd.Timestamp(f"{NOON}Z"), f'"{NOON}+00:00"'),
        (int | None, pd.NA, "null"),
        (date | None, pd.NaT, "null"),
        (date | None, np.datetime64("NaT"), "null"),
        (float | None, np.float64("nan"), "null"),
        (float | None, np.float32("nan"), "null"),
        (str | None, pd.NA, "null"),
    ],
)
def test_what_loses_nothing_is_taken(hint: Any, value: Any, text: str):
    assert written(hint, value) == text


@pytest.mark.parametrize(
    ("hint", "value", "facts"),
    [
        (int, np.float64(3.0), ("int", "float 3.0")),
        (int, np.float32(3.5), ("int", "float 3.5")),
        (int, np.bool_(True), ("int", "bool true")),
        (bool, np.int64(1), ("bool", "int 1")),
        (str, np.int64(1), ("str", "int 1")),
        (Annotated[int, Range(le=5)], np.int64(6), ("int <=5", "int 6")),
        (float, np.float32("inf"), ("float", "float inf")),
        (float, np.float64("nan"), ("float", "float nan")),
        (float, np.complex64(1), ("float", "complex64")),
        (int, pd.NA, ("int", "NAType")),
        (date, pd.NaT, ("date", "NaTType")),
        (date, pd.Timestamp(NOON), ("date", "Timestamp")),
        (date, pd.Timestamp("2024-01-01T00:00Z"), ("date", "Timestamp")),
        (date, np.datetime64(NOON), ("date", "datetime")),
        (datetime, np.datetime64(NOON), ("datetime", "tzinfo")),
        (datetime, pd.Timestamp(NOON), ("datetime", "tzinfo")),
        (Literal["a", 2], np.int64(3), ('"a"', "2", "int 3")),
        (list[int], np.array([1.5]), ("int", "float 1.5")),
        (dict[str, int], np.array([1]), ("dict", "list", "1")),
        (int, np.array([1]), ("int", "list", "1")),
        (int, pd.Series([1]), ("int", "Series")),
    ],
)
def test_what_would_lose_something_is_refused_at_its_place(
    hint: Any, value: Any, facts: tuple[str, ...]
):
    problem, *_ = problems_of(lambda: written(hint, value))

    assert problem.path.startswith("$.f")
    assert problem.kind == "mismatch"
    assert has_facts(problem.message, *facts)


@dataclass
class Count:
    number: int
    share: float | None = np.float32(0.5)
    flag: bool = np.bool_(False)


def test_defaults_and_json_values_may_be_of_numpy_too():
    schema = schema_of(Count)

    assert "share?: float | null = 0.5" in schema.mdl
    assert schema.from_jsonable({"number": np.int64(3)}) == Count(3)
    assert schema.from_jsonable({"number": 1, "share": pd.NA}).share is None
    assert schema.to_jsonable(Count(np.int8(3), None)) == {
        "number": 3,
        "share": None,
        "flag": False,
    }
    check_problems(
        problems_of(lambda: schema.from_jsonable({"number": pd.Timestamp(NOON)})),
        ("$", "not_json", ("Timestamp",)),
    )


def test_plain_values_stay_what_they_are():
    for value in (1, "a", None, [1], date(2024, 1, 1), Count(1)):
        assert not is_foreign(value)
        assert plain_value(value) is value


def test_numpy_is_not_imported_for_that():
    code = (
        "import sys, dataclasses\nfrom conduit_nb.schemas import encode\n"
        "A = dataclasses.make_dataclass('A', [('x', int)])\n"
        "try: encode(A('x'))\nexcept Exception: pass\n"
        "print('numpy' in sys.modules, 'pandas' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False False\n"
