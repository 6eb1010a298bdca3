"""schemas/annotations.py: classes that are defined again, and what was made of earlier ones."""

from __future__ import annotations

import sys
import textwrap
import timeit
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import encode, schema_of, validate
from conduit_nb.schemas.annotations import bound_class, successor
from conduit_nb.schemas.shapes import are_alike
from tests.schemas.records import problems_of

HEAD = """
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Generic, Literal, Optional, TypeVar, Union
from conduit_nb.schemas import Length, Pattern, Range
T = TypeVar("T")
"""
INNER = "@dataclass\nclass Inner:\n    text: str\n"
KIND = "class Kind(Enum):\n    A = 'a'\n    B = 'b'\n"
OUTER = "@dataclass\nclass Outer:\n    inner: {hint}\n    kind: Kind = Kind.A\n"

Execute = Callable[[str], Any]


@pytest.fixture
def cell() -> Iterator[Execute]:
    """Run statements in one module, as cells run in a notebook's, and return the module."""
    module = ModuleType("conduit_cells")
    sys.modules[module.__name__] = module

    def execute(text: str) -> Any:
        code = compile(textwrap.dedent(text), "<cell>", "exec", dont_inherit=True)
        exec(code, vars(module))
        return module

    execute(HEAD)
    yield execute
    del sys.modules[module.__name__]


def execute_all(cell: Execute, hint: str = "Inner") -> Any:
    return cell(INNER + KIND + OUTER.format(hint=hint))


@pytest.mark.parametrize(
    "hint",
    [
        "Inner",
        "'Inner'",
        "list[Inner]",
        "dict[str, Inner]",
        "Optional[Inner]",
        "Union[Inner, str]",
        "Annotated[list[Inner], Length(max=3)]",
    ],
)
def test_a_class_that_was_defined_again_is_taken_as_it_is_now(cell: Execute, hint: str):
    module = execute_all(cell, hint)
    before = schema_of(module.Outer)

    cell(INNER + "    stars: int\n")
    after = schema_of(module.Outer)

    assert "stars" not in before.mdl
    assert "stars: int" in after.mdl
    assert not before.is_current
    assert after is schema_of(module.Outer)


def test_an_earlier_class_that_no_schema_was_made_of_is_replaced_too(cell: Execute):
    module = execute_all(cell)

    cell(INNER + "    stars: int\n")

    assert "stars: int" in schema_of(module.Outer).mdl


def test_an_argument_of_a_generic_dataclass_is_replaced_too(cell: Execute):
    module = cell(INNER + "@dataclass\nclass Page(Generic[T]):\n    items: list[T]\n")
    page = module.Page[module.Inner]
    assert "text: string" in schema_of(page).mdl

    cell(INNER + "    stars: int\n")

    assert "stars: int" in schema_of(page).mdl
    assert successor(page) == module.Page[module.Inner]


@pytest.mark.parametrize("generic", [False, True])
def test_a_base_that_was_defined_again_with_other_fields_is_named(cell: Execute, generic: bool):
    base = INNER.replace("Inner:", "Inner(Generic[T]):") if generic else INNER
    module = cell(base + "@dataclass\nclass Whole(Inner):\n    more: int\n")
    first = schema_of(module.Whole)

    cell(base)
    assert schema_of(module.Whole).mdl == first.mdl
    cell(base + "    stars: int\n")
    with pytest.raises(SchemaError, match=r"\bInner\b.*\bWhole\b") as caught:
        schema_of(module.Whole)
    assert "Whole" in caught.value.hint
    cell("@dataclass\nclass Whole(Inner):\n    more: int\n")

    assert "stars" in schema_of(module.Whole).mdl


def test_an_enum_that_was_defined_again_is_taken_as_it_is_now(cell: Execute):
    module = execute_all(cell, "str")
    schema_of(module.Outer)

    cell(KIND + "    C = 'c'\n")
    cell("class Outer(Outer): pass\nOuter = Outer.__mro__[1]")

    record = schema_of(module.Outer).decode('{"inner":"x","kind":"c"}')
    assert record.kind is module.Kind.C


def test_a_class_changed_in_place_is_seen(cell: Execute):
    module = execute_all(cell, "str")
    assert '"c"' not in schema_of(module.Outer).mdl
    kind = module.Kind

    cell("class Kind(Enum):\n    A = 'a'\n    C = 'c'\n")
    newer, module.Kind = module.Kind, kind
    for name in ("_member_map_", "_member_names_", "_value2member_map_"):  # as autoreload does
        setattr(kind, name, getattr(newer, name))

    schema = schema_of(module.Outer)
    assert '"a" | "c"' in schema.mdl
    record = schema.decode('{"inner":"x","kind":"c"}')
    schema.validate(record)


def test_names_that_lead_elsewhere_are_no_later_definition(cell: Execute):
    module = execute_all(cell)
    inner, kind = module.Inner, module.Kind

    cell("Inner = 3\nKind = Inner\n")
    assert (successor(inner), successor(kind)) == (inner, kind)
    cell("class Inner: pass\nclass Kind: pass\n")
    assert (successor(inner), successor(kind)) == (inner, kind)
    cell("del Inner, Kind")

    assert (successor(inner), successor(kind)) == (inner, kind)
    assert bound_class(inner) is None
    assert "text: string" in schema_of(module.Outer).mdl


def test_a_class_made_by_a_function_is_not_mistaken_for_another_of_its_name(cell: Execute):
    module = cell(INNER)
    made = make_dataclass("Inner", [("other", int)])
    made.__module__ = module.__name__

    assert successor(made) is made


def test_a_class_of_a_function_has_no_name_that_others_could_take():
    class Local(Enum):
        A = 1

    assert successor(Local) is Local
    assert bound_class(Local) is None


@pytest.mark.parametrize("hint", ["Inner", "list[Inner]", "Union[Inner, int]", "dict[str, Inner]"])
def test_a_record_of_an_equal_definition_is_taken_everywhere(cell: Execute, hint: str):
    module = execute_all(cell, hint)
    inner, kind = module.Inner("a"), module.Kind.B
    value = {"list": [inner], "dict": {"k": inner}}.get(hint.partition("[")[0], inner)
    record = module.Outer(value, kind)
    text = encode(record)

    cell(INNER + KIND)

    validate(record)
    assert encode(record) == text
    cell(OUTER.format(hint=hint))
    assert schema_of(module.Outer).encode(record) == text


def test_a_member_that_an_enum_still_has_stays_one(cell: Execute):
    module = execute_all(cell)
    record = module.Outer(module.Inner("a"), module.Kind.B)

    cell("class Kind(Enum):\n    Z = 'z'\n    B = 'b'\n    A = 'a'\n")

    assert encode(record) == '{"inner":{"text":"a"},"kind":"b"}'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("@dataclass\nclass Inner:\n    text: int\n", "$.inner"),
        ("@dataclass\nclass Inner:\n    text: str\n    more: str = ''\n", "$.inner"),
        ("@dataclass\nclass Inner:\n    text: Annotated[str, Length(max=9)]\n", "$.inner"),
        ("class Kind(Enum):\n    A = 'a'\n", "$.kind"),
        ("class Kind(Enum):\n    A = 'a'\n    B = 'x'\n", "$.kind"),
        ("class Kind(Enum):\n    A = 'a'\n    C = 'b'\n", "$.kind"),
    ],
)
def test_a_record_of_a_changed_definition_is_refused(cell: Execute, text: str, path: str):
    module = execute_all(cell)
    record = module.Outer(module.Inner("a"), module.Kind.B)

    cell(text)

    [problem] = problems_of(validate, record)
    assert (problem.path, problem.kind) == (path, "redefined")


def test_recursive_definitions_are_compared_to_their_end(cell: Execute):
    tree = "@dataclass\nclass Tree:\n    next: 'Optional[Tree]'\n    below: 'list[Tree]'\n"
    module = cell(tree)
    first = schema_of(module.Tree)

    second = schema_of(cell(tree).Tree)
    assert first is not second
    assert are_alike(first.shape, second.shape)
    third = schema_of(cell(tree + "    name: str = ''\n").Tree)

    assert not are_alike(first.shape, third.shape)


def test_asking_whether_classes_changed_takes_microseconds(cell: Execute):
    schema = schema_of(execute_all(cell).Outer)

    assert min(timeit.repeat(lambda: schema.is_current, number=1000, repeat=5)) < 0.1
