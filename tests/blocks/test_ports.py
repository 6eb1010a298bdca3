from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import pandas as pd
import pytest

from conduit_nb.blocks.ports import Port
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
