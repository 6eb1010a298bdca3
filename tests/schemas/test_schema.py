"""One compiled schema for each class."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest

import conduit_nb.schemas as schemas
from conduit_nb.errors import ArgumentError, SchemaError
from conduit_nb.schemas import prompt_messages, schema_of
from conduit_nb.schemas.shapes import Int, Range, Str
from tests.schemas.records import check_problems, problems_of

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Item:
    """Count it."""

    sku: str
    count: int = 1


@dataclass
class Special(Item):
    color: str = ""


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Raw:
    parts: list[bytes]


def test_a_schema_is_made_once_for_each_class():
    assert schema_of(Item) is schema_of(Item)
    assert schema_of(Page[Item]) is schema_of(Page[Item])
    assert schema_of(Page[Item]) is not schema_of(Page[int])


def test_a_subclass_has_a_schema_of_its_own():
    schema_of(Item)

    assert list(schema_of(Special).fields) == ["sku", "count", "color"]


def test_a_class_that_is_sent_elsewhere_leaves_its_schemas_behind():
    schema_of(Item)

    assert pickle.loads(pickle.dumps(vars(Item)["__conduit_schemas__"])) == {}


def test_a_schema_tells_what_it_is_about():
    schema = schema_of(Item)

    assert schema.cls is Item
    assert schema.name == "Item"
    assert schema.instruction == "Count it."
    assert schema.fields == {"sku": Str(), "count": Int()}
    assert repr(schema) == "Schema(Item)"
    assert schema_of(Page[int]).name == "Page[int]"


def test_records_go_to_json_values_and_back():
    schema = schema_of(Item)

    assert schema.to_jsonable(Item("a", 2)) == {"sku": "a", "count": 2}
    assert schema.from_jsonable({"sku": "a"}) == Item("a", 1)
    for value, problem in (
        (1, ("$.sku", "mismatch", ("str", "int 1"))),
        (object(), ("$", "not_json", ("object",))),
        (b"x", ("$", "not_json", ("bytes",))),
    ):
        check_problems(problems_of(schema.from_jsonable, {"sku": value}), problem)


def test_only_text_is_decoded():
    with pytest.raises(ArgumentError, match=r"\bdecode\b.*\bstr\b.*\bbytes\b"):
        schema_of(Item).decode(b"{}")  # type: ignore[arg-type]  # the point of the test


def test_a_record_of_another_class_does_not_validate():
    check_problems(
        problems_of(schema_of(Item).validate, Special("a")),
        ("$", "mismatch", ("Item", "Special")),
    )


def test_a_generic_record_knows_its_arguments_when_it_was_made_with_them():
    assert schemas.encode(Page[int]([1])) == '{"items":[1]}'
    page = Page[int](["x"])  # type: ignore[list-item]  # the point of the test
    check_problems(
        problems_of(schemas.validate, page), ("$.items[0]", "mismatch", ("int", 'str "x"'))
    )
    with pytest.raises(SchemaError, match=r"\bT\b") as caught:
        schemas.encode(Page([1]))
    assert "Page[str]" in caught.value.hint
    assert schema_of(Page[int]).encode(Page([1])) == '{"items":[1]}'


def test_bytes_are_refused_in_what_a_model_writes():
    schema_of(Item).require_model_output()
    with pytest.raises(SchemaError, match=r"\bbytes\b") as caught:
        schema_of(Raw).require_model_output()
    assert caught.value.path == "$.parts[]"


def test_the_functions_of_the_package_do_what_the_schema_does():
    item = Item("a")

    assert schemas.mdl(Item) == schema_of(Item).mdl
    assert schemas.json_schema(Item) == schema_of(Item).json_schema
    assert schemas.decode(schemas.encode(item), Item) == item
    schemas.validate(item)


@pytest.mark.parametrize("value", [None, 3, "x", {"sku": "a"}, [Item("a")]])
def test_what_is_not_a_record_is_refused(value: object):
    with pytest.raises(SchemaError, match=rf"\b{type(value).__name__}\b.*\bdataclass\b"):
        schemas.encode(value)


def test_an_output_without_fields_is_refused():
    @dataclass
    class Nothing:
        is_urgent = True

    with pytest.raises(SchemaError, match=r"\bNothing\b") as caught:
        schema_of(Nothing).require_model_output()

    assert "is_urgent: bool" in caught.value.hint


@dataclass
class Held(Generic[T]):
    items: list[T]


@dataclass(frozen=True)
class Frozen(Generic[T]):
    items: list[T]


@dataclass(frozen=True, slots=True)
class Slotted(Generic[T]):
    items: list[T]


@dataclass
class Derived(Held[T], Generic[T]):
    count: int = 0


@dataclass
class DerivedOfItems(Held[Item]):
    count: int = 0


@dataclass
class Choice(Generic[T]):
    kind: T


@dataclass
class Nested(Generic[T, U]):
    one: T
    many: dict[str, Held[U]]
    maybe: Slotted[T] | None
    which: Choice[Literal["a"]] | Choice[Literal["b"]]
    below: list[Nested[T, U]]


@pytest.mark.parametrize("page", [Held, Frozen, Slotted, Derived])
@pytest.mark.parametrize(
    ("argument", "items"),
    [
        (Item, '[{"sku":"a","count":1}]'),
        ("Item", '[{"sku":"a","count":1}]'),
        (Item | None, '[null,{"sku":"a","count":1}]'),
        (Held[Held[Item]], '[{"items":[{"items":[{"sku":"a","count":1}]}]}]'),
        (Slotted[int], '[{"items":[1]}]'),
        (list[Item], '[[{"sku":"a","count":1}]]'),
        (Annotated[int, Range(ge=1)], "[1]"),
        (Literal["a", 1], '["a",1]'),
    ],
)
def test_a_generic_record_that_was_decoded_goes_back_in(page: Any, argument: Any, items: str):
    text = f'{{"items":{items}}}'
    if page is Derived:
        text = f'{{"items":{items},"count":2}}'

    record = schemas.decode(text, page[argument])

    assert schemas.encode(record) == text
    assert schemas.encode(pickle.loads(pickle.dumps(record))) == text
    assert schemas.encode(copy.deepcopy(record)) == text


def test_a_class_with_type_parameters_of_its_own_goes_back_in_too():
    head = "class Own[T]" if sys.version_info >= (3, 12) else "class Own(Generic[T])"
    names: dict[str, Any] = {"Generic": Generic, "T": T, "dataclass": dataclass}
    text = f"@dataclass\n{head}:\n    items: list[T]\n"
    exec(compile(text, "<own>", "exec", dont_inherit=True), names)
    text = '{"items":[{"sku":"a","count":1}]}'

    assert schemas.encode(schemas.decode(text, names["Own"][Item])) == text


def test_the_generic_records_inside_of_another_go_back_in_too():
    text = (
        '{"one":{"sku":"a","count":1},"many":{"x":{"items":["y"]}},"maybe":{"items":[]},'
        '"which":{"kind":"b"},"below":[]}'
    )
    outer = text.replace('"below":[]', f'"below":[{text}]')

    record = schemas.decode(outer, Nested[Item, str])

    assert schemas.encode(record) == outer
    assert schemas.encode(record.below[0]) == text
    assert schemas.encode(record.many["x"]) == '{"items":["y"]}'
    assert schemas.encode(record.maybe) == '{"items":[]}'
    other = outer.replace('"b"', '"a"')
    assert schemas.encode(schemas.decode(other, Nested[Item, str])) == other
    derived = schemas.decode('{"items":[{"sku":"a","count":1}],"count":2}', DerivedOfItems)
    assert schemas.decode(schemas.encode(derived), DerivedOfItems) == derived


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Review:
    """What a customer wrote."""

    text: str


@dataclass
class Verdict:
    """Judge the review."""

    mood: Mood
    sure: bool


def messages(**changes: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "instruction": "Judge the review.",
        "input": schema_of(Review),
        "output": schema_of(Verdict),
        "record": Review('Very "nice".'),
    }
    return prompt_messages(**{**given, **changes})


def test_the_prompt_has_instruction_types_and_the_record_as_json():
    assert messages() == [
        {
            "role": "system",
            "content": (
                "Judge the review.\n\n"
                "Input: What a customer wrote.\n{\n  text: string\n}\n\n"
                'Output (JSON):\n{\n  mood: "good" | "bad"\n  sure: bool\n}'
            ),
        },
        {"role": "user", "content": '{"text":"Very \\"nice\\"."}'},
    ]


def test_examples_are_turns_before_the_record():
    shown = messages(examples=[(Review("Bad."), Verdict(Mood.BAD, True))])

    assert [one["role"] for one in shown] == ["system", "user", "assistant", "user"]
    assert shown[1]["content"] == '{"text":"Bad."}'
    assert shown[2]["content"] == '{"mood":"bad","sure":true}'


def test_a_prompt_holds_no_python_repr():
    shown = messages(examples=[(Review("Bad."), Verdict(Mood.BAD, True))])

    text = "\n".join(one["content"] for one in shown)
    assert not any(part in text for part in ("Mood.", "Review(", "True", "{'", "None"))


def test_without_an_instruction_the_prompt_begins_with_the_types():
    assert messages(instruction="  ")[0]["content"].startswith("Input:")


def test_without_an_input_schema_the_record_is_text():
    shown = messages(input=None, record="Very nice.")

    assert shown[0]["content"].startswith("Judge the review.\n\nOutput (JSON):")
    assert shown[1] == {"role": "user", "content": "Very nice."}
    with pytest.raises(ArgumentError, match=r"\bstr\b.*\bReview\b"):
        messages(input=None)


def test_records_and_examples_that_do_not_fit_are_refused():
    review = Review(3)  # type: ignore[arg-type]  # the point of the test
    verdict = Verdict("good", True)  # type: ignore[arg-type]  # the same

    check_problems(
        problems_of(lambda: messages(record=review)),
        ("$.text", "mismatch", ("str", "int 3")),
    )
    check_problems(
        problems_of(lambda: messages(examples=[(Review("x"), verdict)])),
        ("$.mood", "mismatch", ("Mood", 'str "good"')),
    )


def test_an_output_with_bytes_is_refused():
    with pytest.raises(SchemaError, match=r"\bbytes\b") as caught:
        messages(output=schema_of(Raw))

    assert caught.value.path == "$.parts[]"
