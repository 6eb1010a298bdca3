from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

from conduit_nb.blocks.ports import Port
from conduit_nb.errors import SchemaError, ValidationError

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
    with pytest.raises(ValidationError, match=r"input of x does .*expected Animal, got Stone"):
        Port.of(Animal).check(Stone(grams=1), subject="input of x")


def test_a_record_changed_after_it_was_made_is_caught():
    stone = Stone(grams=1)
    stone.grams = "heavy"  # type: ignore[assignment]  # the mistake under test

    with pytest.raises(ValidationError, match="grams"):
        Port.of(Stone).check(stone, subject="input")


def test_what_a_derived_record_inherits_is_checked_and_the_rest_is_left_out():
    port = Port.of(Animal)

    port.check(Dog(name="Rex", tricks=3), subject="input")

    assert port.encode(Dog(name="Rex", tricks=3)) == '{"name":"Rex"}'
    assert port.exact(Dog(name="Rex", tricks=3)) == Animal(name="Rex")
    with pytest.raises(ValidationError, match="name"):
        port.check(Dog(name=7, tricks=3), subject="input")  # type: ignore[arg-type]  # under test


def test_none_is_no_record():
    with pytest.raises(ValidationError, match="expected Animal, got NoneType"):
        Port.of(Animal).check(None, subject="input")


def test_a_type_without_a_schema_makes_no_port():
    with pytest.raises(SchemaError):
        Port.of(dict)
