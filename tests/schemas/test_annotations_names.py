"""schemas/annotations.py: names in string hints, of functions, cells and modules."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import mdl, schema_of


class Outer:
    @dataclass
    class Inner:
        x: int

    @dataclass
    class Holder:
        inner: Inner  # noqa: F821  # a name of the class around it


def test_classes_of_a_function_see_each_other():
    @dataclass
    class Inner:
        x: int

    @dataclass
    class Holder:
        inner: Inner
        me: Holder | None

    assert schema_of(Holder).mdl == "Holder = {\n  inner: {x: int}\n  me: Holder | null\n}"


def test_a_local_name_goes_before_one_of_the_module():
    @dataclass
    class Outer:
        y: str

    @dataclass
    class Holder:
        outer: Outer

    assert mdl(Holder) == "{\n  outer: {y: string}\n}"


def test_the_caller_in_the_same_module_may_know_the_name():
    Inner = local_class()  # noqa: N806  # it is a class
    holder = holder_of_inner()

    assert Inner.__name__ == "Inner"
    assert mdl(holder) == "{\n  inner: {x: int}\n}"


def local_class() -> type[Any]:
    @dataclass
    class Inner:
        x: int

    return Inner


def holder_of_inner() -> type[Any]:
    @dataclass
    class Holder:
        inner: Inner  # noqa: F821  # the test gives it

    return Holder


def test_a_name_that_is_gone_is_an_error_that_says_where_to_make_the_schema():
    holder = holder_of_inner()

    with pytest.raises(SchemaError, match=r"'Inner'.*'Inner'") as caught:
        schema_of(holder)
    assert caught.value.path == "$.inner"
    assert "Inner" in caught.value.hint
    assert "Literal" not in caught.value.hint


def test_classes_in_a_class_see_each_other():
    assert mdl(Outer.Holder) == "{\n  inner: {x: int}\n}"


def test_a_namespace_adds_names():
    holder = holder_of_inner()

    assert schema_of(holder, namespace={"Inner": local_class()}).mdl == "{\n  inner: {x: int}\n}"


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_classes_of_a_notebook_cell_are_found_in_its_module(future: str):
    cell = types.ModuleType("cell_module")
    sys.modules["cell_module"] = cell
    try:
        exec(
            f"{future}"
            "from dataclasses import dataclass\n"
            "from typing import List, Optional\n"
            "@dataclass\nclass File:\n    name: str\n    size: Optional[int]\n"
            "@dataclass\nclass Files:\n    files: List[File]\n    inner: 'List[Files]'\n",
            vars(cell),
        )
        assert mdl(cell.Files) == (
            "Files = {\n  files: {name: string, size: int | null}[]\n  inner: Files[]\n}"
        )
    finally:
        del sys.modules["cell_module"]


def test_a_class_defined_again_is_another_class():
    @dataclass
    class Item:
        x: int

    first = schema_of(Item)

    @dataclass
    class Item:  # as in a cell that runs again
        y: str

    assert schema_of(Item).mdl == "{\n  y: string\n}"
    assert first.mdl == "{\n  x: int\n}"
