from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas import schema_of
from conduit_nb.schemas.partial import Partial, PartialRecords
from tests.schemas.strategies import DATACLASSES, Typed


class Color(Enum):
    RED = "red"
    REDDISH = "reddish"


@dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclass
class Dog:
    kind: Literal["dog"]
    name: str


@dataclass
class Shelter:
    title: str
    color: Color
    opened: date
    animals: list[Cat | Dog]
    notes: dict[str, str]
    total: int | None = 3


TEXT = (
    '{"title":"Pa\\u0077s","color":"red","opened":"2024-12-31",'
    '"animals":[{"kind":"cat","lives":9},{"kind":"dog","name":"Rex"}],"notes":{"a":"b"}}'
)


def partials(kind: type[Any], text: str) -> dict[str, Partial[Any]]:
    """Return what there is after each character, by the text up to it."""
    reader: PartialRecords[Any] = PartialRecords(schema_of(kind))
    return {text[: end + 1]: reader.feed(text[end]) for end in range(len(text))}


def test_a_record_grows_field_by_field_and_nothing_is_made_up():
    seen = partials(Shelter, TEXT)

    def there(end: str) -> dict[str, Any]:
        cut = TEXT[: TEXT.index(end) + len(end)]
        return {name: seen[cut][name] for name in seen[cut]}

    assert there("{") == {}
    assert there('"title":') == {}
    assert there('"title":"Pa') == {"title": "Pa"}
    assert there('"title":"Pa\\u00') == {"title": "Pa"}
    assert there('s","color":"red') == {"title": "Paws"}
    assert there('"color":"red"')["color"] is Color.RED
    assert "opened" not in there('"2024-12-3')
    assert there('"2024-12-31"')["opened"] == date(2024, 12, 31)
    assert there('"animals":[')["animals"] == []
    assert there('[{"kind":"c')["animals"] == []
    (cat,) = there('"lives":9')["animals"]
    assert isinstance(cat, Partial)
    assert (cat.kind, cat.lives) == ("cat", None)
    assert there('"lives":9}')["animals"] == [Cat("cat", 9)]
    *_, dog = there('"name":"Re')["animals"]
    assert (dog.kind, dog.name) == ("dog", "Re")
    assert there('{"a":"')["notes"] == {"a": ""}
    assert there("}}") == {
        "title": "Paws",
        "color": Color.RED,
        "opened": date(2024, 12, 31),
        "animals": [Cat("cat", 9), Dog("dog", "Rex")],
        "notes": {"a": "b"},
    }


def test_a_field_that_is_not_there_is_none_and_one_that_is_no_field_an_error():
    partial = PartialRecords(schema_of(Shelter)).feed('{"title":"a"')

    assert partial.title == "a"
    assert partial.total is None
    assert "total" not in partial
    assert len(partial) == 1
    with pytest.raises(KeyError):
        partial["total"]
    with pytest.raises(AttributeError, match=r"\bShelter\b.*'titel'"):
        partial.titel  # noqa: B018  # asking is the test
    assert repr(partial) == "Partial[Shelter](title='a')"
    assert partial == PartialRecords(schema_of(Shelter)).feed('{"title":"a"')


def test_what_does_not_fit_is_not_there():
    partial = PartialRecords(schema_of(Shelter)).feed('{"color":"blue","total":1.5,"title":"a"}')

    assert list(partial) == ["title"]


@given(DATACLASSES, st.data())
def test_the_last_partial_has_the_values_of_the_record(kind: Typed, data: st.DataObject):
    schema = schema_of(kind.hint)
    record = data.draw(kind.values)
    text = schema.encode(record)
    size = data.draw(st.integers(1, 9))
    reader: PartialRecords[Any] = PartialRecords(schema)
    partial = Partial(schema.shape, {})

    for pieces in itertools.batched(text, size) if hasattr(itertools, "batched") else text:
        partial = reader.feed("".join(pieces))

    assert {name: partial[name] for name in partial} == {
        name: getattr(record, name) for name in schema.fields
    }


def test_a_long_list_is_not_read_anew_with_each_item():
    @dataclass
    class Names:
        names: list[str]

    def seconds(count: int) -> float:
        reader: PartialRecords[Names] = PartialRecords(schema_of(Names))
        reader.feed('{"names":["a"')
        began = time.perf_counter()
        for _ in range(count):
            reader.feed(',"a name that is somewhat long"')
        return time.perf_counter() - began

    seconds(100)
    few, many = min(seconds(500) for _ in range(3)), min(seconds(4000) for _ in range(3))

    assert many < 8 * few * 6  # reading all of it each time would cost 64 times as much


def test_what_nests_deeper_than_anything_is_read_without_its_depth():
    @dataclass
    class Chain:
        next: dict[str, list[Chain]] | None = None

    records = PartialRecords(schema_of(Chain))
    partial = records.feed('{"next":{"a":[' * 3_000)

    assert repr(partial).startswith("Partial[Chain](next={'a': [Partial[Chain](")
    assert len(repr(partial)) < 10_000


def test_of_a_key_that_stands_twice_the_first_value_stays():
    @dataclass
    class Table:
        counts: dict[str, int]

    records = PartialRecords(schema_of(Table))
    records.feed('{"counts":{"a":1,"a":2,')

    assert records.feed('"b":3,').counts == {"a": 1, "b": 3}
