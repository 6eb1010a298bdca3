"""MDL, the text that models and people read."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest

from conduit_nb.schemas import Length, Pattern, Range, mdl

T = TypeVar("T")


class Status(Enum):
    NEW = "new"
    PAID = "paid"
    LOST = 3


@dataclass
class Customer:
    name: str
    email: str


@dataclass
class Item:
    sku: str
    quantity: int


@dataclass
class Node:
    value: int
    next: Node | None = None


@dataclass
class Page(Generic[T]):
    items: list[T]


def line_of(hint: Any, **options: Any) -> str:
    text = mdl(make_dataclass("Holder", [("f", hint, field(**options))]))
    return text.removeprefix("{\n  ").removesuffix("\n}")


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (str, "string"),
        (int, "int"),
        (float, "float"),
        (bool, "bool"),
        (bytes, "base64"),
        (date, "date"),
        (datetime, "datetime"),
        (list[int], "int[]"),
        (list[list[int]], "int[][]"),
        (list[int | None], "(int | null)[]"),
        (list[Literal["a", "b"]], '("a" | "b")[]'),
        (list[Literal["a"]], '"a"[]'),
        (dict[str, int | None], "{[string]: int | null}"),
        (Literal["é\n", 1, True], '"é\\n" | 1 | true'),
        (Status, '"new" | "paid" | 3'),
        (int | str | None, "int | string | null"),
        (str | bytes, "string | {base64: base64}"),
        (Customer, "{name: string, email: string}"),
        (list[Customer], "{name: string, email: string}[]"),
        (Page[Item], "{items: {sku: string, quantity: int}[]}"),
        (Annotated[str, Length(1, 80)], "string(1..80)"),
        (Annotated[str, Length(2)], "string(2..)"),
        (Annotated[str, Length(max=9)], "string(..9)"),
        (Annotated[str, Length(3, 3), Pattern("[A-Z]+")], "string(3, /[A-Z]+/)"),
        (Annotated[str, Pattern(r"a\nb")], r"string(/a\nb/)"),
        (Annotated[list[int], Length(1, 3)], "int[1..3]"),
        (Annotated[dict[str, int], Length(1)], "{[string]: int}(1..)"),
        (Annotated[int, Range(ge=1, le=5)], "int(1..5)"),
        (Annotated[int, Range(ge=1)], "int(>=1)"),
        (Annotated[float, Range(gt=0, lt=0.5)], "float(>0 <0.5)"),
        (Annotated[float, Range(ge=1.0, le=2.5)], "float(1..2.5)"),
        (Annotated[str, "as on the label"], "string // as on the label"),
    ],
)
def test_each_type_has_its_short_form(hint: Any, text: str):
    assert line_of(hint) == f"f: {text}"


@pytest.mark.parametrize(
    ("hint", "default", "text"),
    [
        (str | None, None, "f?: string | null"),
        (int, 3, "f?: int = 3"),
        (str, "x", 'f?: string = "x"'),
        (bool, False, "f?: bool = false"),
        (Status, Status.LOST, 'f?: "new" | "paid" | 3 = 3'),
        (Literal["tag"], "tag", 'f: "tag"'),
        (date, date(2024, 1, 1), "f?: date"),
    ],
)
def test_a_default_shows_that_the_key_may_be_left_out(hint: Any, default: Any, text: str):
    assert line_of(hint, default=default) == text


def test_a_default_from_a_factory_shows_as_a_question_mark():
    assert line_of(list[int], default_factory=list) == "f?: int[]"


def test_an_empty_dataclass_is_a_pair_of_braces():
    assert mdl(make_dataclass("Empty", [])) == "{}"


def test_types_that_are_used_twice_are_named_and_others_stand_inline():
    @dataclass
    class Order:
        buyer: Customer
        payer: Customer
        items: list[Item]
        status: Status
        before: Status | None

    assert mdl(Order) == (
        "{\n"
        "  buyer: Customer\n"
        "  payer: Customer\n"
        "  items: {sku: string, quantity: int}[]\n"
        "  status: Status\n"
        "  before: Status | null\n"
        "}\n"
        "Customer = {name: string, email: string}\n"
        'Status = "new" | "paid" | 3'
    )


def test_a_recursive_dataclass_is_named():
    assert mdl(Node) == "Node = {\n  value: int\n  next?: Node | null\n}"


def test_two_classes_of_one_name_get_names_of_their_own():
    other = make_dataclass("Item", [("weight", float)])
    holder = make_dataclass("Holder", [("a", Item), ("b", Item), ("c", other), ("d", list[other])])

    assert mdl(holder) == (
        "{\n  a: Item\n  b: Item\n  c: Item_2\n  d: Item_2[]\n}\n"
        "Item = {sku: string, quantity: int}\n"
        "Item_2 = {weight: float}"
    )


def test_generic_dataclasses_are_named_with_their_arguments():
    holder = make_dataclass("Holder", [("a", Page[Item]), ("b", Page[Item]), ("c", Page[int])])

    assert mdl(holder) == (
        "{\n  a: Page_Item\n  b: Page_Item\n  c: {items: int[]}\n}\n"
        "Page_Item = {items: {sku: string, quantity: int}[]}"
    )


def test_descriptions_inside_a_nested_dataclass_break_it_into_lines():
    @dataclass
    class Part:
        sku: Annotated[str, "as on the label"]
        weight: float

    @dataclass
    class Order:
        parts: list[Part]
        note: str

    assert mdl(Order) == (
        "{\n"
        "  parts: {\n"
        "    sku: string // as on the label\n"
        "    weight: float\n"
        "  }[]\n"
        "  note: string\n"
        "}"
    )


def test_the_docstring_of_a_nested_dataclass_is_its_comment():
    @dataclass
    class Part:
        """One thing in the box.

        More than a model needs.
        """

        sku: str

    @dataclass
    class Order:
        first: Part | None
        others: Annotated[list[Part], "the rest"]

    @dataclass
    class Small:
        part: list[Part]

    assert mdl(Small) == "{\n  part: {sku: string}[] // One thing in the box.\n}"
    assert mdl(Order) == (
        "{\n  first: Part | null\n  others: Part[] // the rest\n}\n"
        "Part = {sku: string} // One thing in the box."
    )
