from __future__ import annotations

import copy
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pytest

from conduit_nb.blocks.ports import Port, snapshot, snapshots
from conduit_nb.errors import ArgumentError, SchemaError, ValidationError

T = TypeVar("T")


@dataclass
class Animal:
    name: str


@dataclass
class Dog(Animal):
    tricks: int


@dataclass
class Stone:
    grams: int


@dataclass
class Page(Generic[T]):
    items: list[T]


def test_a_port_takes_its_own_type_and_types_derived_of_it():
    assert Port.of(Animal).accepts(Port.of(Animal))
    assert Port.of(Animal).accepts(Port.of(Dog))
    assert not Port.of(Dog).accepts(Port.of(Animal))
    assert not Port.of(Animal).accepts(Port.of(Stone))


def test_a_union_takes_each_of_its_members_and_no_more():
    both = Port.of(Animal | Stone)

    assert both.accepts(Port.of(Stone))
    assert both.accepts(Port.of(Dog | Stone))
    assert not Port.of(Stone).accepts(both)


def test_a_port_that_takes_nothing_is_not_one_that_takes_a_record():
    nothing = Port.of(type(None))

    assert nothing.accepts(nothing)
    assert not nothing.accepts(Port.of(Stone))
    assert not Port.of(Stone).accepts(nothing)
    assert Port.of(Stone | None).accepts(nothing)


def test_pages_of_different_things_are_different_types():
    assert Port.of(Page[Animal]).accepts(Port.of(Page[Animal]))
    assert not Port.of(Page[Animal]).accepts(Port.of(Page[Stone]))


def test_a_port_shows_itself_as_its_author_wrote_it():
    assert str(Port.of(Animal | None)) == "Animal | None"
    assert str(Port.of(Page[Stone])) == "Page[Stone]"
    assert str(Port.of(type(None))) == "None"


def test_a_record_of_another_class_is_refused_by_name():
    with pytest.raises(ValidationError, match=r"\$: .*Animal.*Stone") as caught:
        Port.of(Animal).check(Stone(grams=1), subject="input of x")
    assert caught.value.subject == "input of x"


def test_a_record_changed_after_it_was_made_is_caught():
    stone = Stone(grams=1)
    stone.grams = "heavy"  # type: ignore[assignment]  # the mistake under test

    with pytest.raises(ValidationError) as caught:
        Port.of(Stone).check(stone, subject="input")
    assert [problem.path for problem in caught.value.problems] == ["$.grams"]


def test_what_a_derived_record_inherits_is_checked_and_the_rest_is_left_out():
    port = Port.of(Animal)

    port.check(Dog(name="Rex", tricks=3), subject="input")

    assert port.encode(Dog(name="Rex", tricks=3)) == '{"name":"Rex"}'
    assert port.exact(Dog(name="Rex", tricks=3)) == Animal(name="Rex")
    with pytest.raises(ValidationError) as caught:
        port.check(Dog(name=7, tricks=3), subject="input")  # type: ignore[arg-type]  # under test
    assert [problem.path for problem in caught.value.problems] == ["$.name"]


def test_none_is_no_record():
    with pytest.raises(ValidationError, match=r"\$: .*Animal.*NoneType"):
        Port.of(Animal).check(None, subject="input")


def test_a_type_without_a_schema_makes_no_port():
    with pytest.raises(SchemaError):
        Port.of(dict)


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        (pd.DataFrame({"name": ["Rex"]}), "DataFrame"),
        (pd.Series(["Rex"]), "Series"),
        ("Rex", "str"),
        ({"name": "Rex"}, "dict"),
        (Animal("Rex"), "Animal"),
        (3, "int"),
    ],
)
def test_what_is_no_list_of_records_is_refused_with_what_to_write(records: object, kind: str):
    with pytest.raises(ArgumentError, match=rf"judge\.batch.*Animal.*\b{kind}\b") as caught:
        Port.of(Animal).several(records, "judge.batch")
    assert caught.value.param == "records"
    assert "Animal(name=...)" in caught.value.hint
    assert ("%%conduit map" in caught.value.hint) == (kind in ("DataFrame", "Series"))


def test_any_other_iterable_of_records_is_a_list():
    assert Port.of(Animal).several((Animal(name) for name in "ab"), "b") == [
        Animal("a"),
        Animal("b"),
    ]


def test_a_bare_value_is_told_how_a_record_is_made():
    with pytest.raises(ValidationError) as caught:
        Port.of(Dog).check("Rex", subject="input")
    assert "Dog(name=..., tricks=...)" in caught.value.hint


class Mood(enum.Enum):
    GOOD = "good"


@dataclass
class Part:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    parts: list[Part]


class Pair(NamedTuple):
    left: list[int]
    right: int


def set_tag(part: Part) -> None:
    part.tags.append("new")


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, 2], lambda value: value.reverse()),
        ([[1], [2]], lambda value: value[0].append(3)),
        ({"a": {"b": 1}}, lambda value: value["a"].update(b=2)),
        (({"a": 1}, 2), lambda value: value[0].clear()),
        (Pair([1], 2), lambda value: value.left.append(3)),
        ({1, 2}, lambda value: value.add(3)),
        (bytearray(b"a"), lambda value: value.append(1)),
        (Part("a", ["x"]), set_tag),
        (Part("a", ["x"]), lambda value: setattr(value, "name", "b")),
        (Frozen([Part("a")]), lambda value: set_tag(value.parts[0])),
        (Page[Part]([Part("a")]), lambda value: value.items.clear()),
    ],
)
def test_a_change_to_the_original_is_not_seen(value: Any, change: Callable[[Any], None]):
    before = copy.deepcopy(value)

    taken = snapshot(value)
    change(value)

    assert taken == before != value
    assert type(taken) is type(before)


def test_arrays_are_copied():
    array = np.array([1, 2])

    taken = snapshot({"a": array})
    array[0] = 9

    assert list(taken["a"]) == [1, 2]


def test_what_cannot_change_is_the_same_object():
    for value in ("text", 3, None, b"x", Mood.GOOD, ("a", 1), Part, ValueError("x")):
        assert snapshot(value) is value


def test_the_arguments_of_a_generic_record_are_kept():
    assert snapshot(Page[int]([1])).__orig_class__ == Page[int]  # pyright: ignore[reportAttributeAccessIssue]  # typing sets it


def test_a_record_inside_of_itself_is_taken_as_it_is():
    page: Page[Any] = Page([])
    page.items.append(page)

    assert snapshot(page) is page


def test_snapshots_are_a_list_of_their_own():
    rows = [Part("a")]

    taken = snapshots(rows)
    rows.append(Part("b"))

    assert taken == [Part("a")]
