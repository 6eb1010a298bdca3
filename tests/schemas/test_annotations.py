"""Type hints to shapes, written as strings (this module's hints are)."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import pathlib
import typing
import uuid
from dataclasses import InitVar, dataclass, field, make_dataclass
from enum import Enum, Flag, IntEnum, StrEnum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.schemas import Length, Range, schema_of
from conduit_nb.schemas import shapes as s
from conduit_nb.schemas.annotations import read_dataclass
from conduit_nb.schemas.refusals import MAX_DEPTH, SUPPORTED, type_name
from tests.schemas.records import has_facts

T = TypeVar("T")
Sku = NewType("Sku", str)


class Color(Enum):
    RED = "red"
    ONE = 1


class Size(StrEnum):
    SMALL = "small"


class Rank(IntEnum):
    FIRST = 1


class Access(Flag):
    READ = 1


class NoMembers(Enum):
    pass


class Composite(Enum):
    PAIR = (1, 2)


class Place(typing.NamedTuple):
    x: int


class Loose(TypedDict):
    x: int


class Plain:
    x: int


@dataclass
class Item:
    sku: str


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: Page[T] | None = None


@dataclass
class ItemPage(Page[Item]):
    total: int = 0


@dataclass
class Node:
    value: int
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)


def shape_of(hint: Any) -> s.Shape:
    return read_dataclass(make_dataclass("Holder", [("f", hint)], namespace={})).fields[0].shape


def refusal_of(hint: Any) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        shape_of(hint)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("hint", "shape"),
    [
        (str, s.Str()),
        (int, s.Int()),
        (float, s.Float()),
        (bool, s.Bool()),
        (bytes, s.Bytes()),
        (dt.date, s.Date()),
        (dt.datetime, s.DateTime()),
        (list[int], s.List(s.Int())),
        (typing.List[int], s.List(s.Int())),  # noqa: UP006  # users write it
        (dict[str, bool], s.Map(s.Bool())),
        (typing.Dict[str, bool], s.Map(s.Bool())),  # noqa: UP006  # users write it
        (Optional[int], s.Union((s.Int(), s.Null()))),  # noqa: UP045  # users write it
        (Union[int, str], s.Union((s.Int(), s.Str()))),  # noqa: UP007  # users write it
        (None | int, s.Union((s.Int(), s.Null()))),
        (int | str | None, s.Union((s.Int(), s.Str(), s.Null()))),
        (Literal["a", 1, True], s.Choice(("a", 1, True))),
        (Literal["a", None], s.Union((s.Choice(("a",)), s.Null()))),
        (Literal["a"] | Literal["b"] | None, s.Union((s.Choice(("a", "b")), s.Null()))),
        (Color, s.EnumChoice(Color)),
        (Size, s.EnumChoice(Size)),
        (Rank, s.EnumChoice(Rank)),
        (Sku, s.Str()),
        (Annotated[int, s.Range(ge=1)], s.Int(s.Range(ge=1))),
        (list["Item | int"], None),
        (str | bytes, s.Union((s.Str(), s.Bytes(is_object=True)))),
        (int | bytes, s.Union((s.Int(), s.Bytes()))),
        ("list[int | None]", s.List(s.Union((s.Int(), s.Null())))),
        (typing.List["int"], s.List(s.Int())),  # noqa: UP006  # users write it
    ],
)
def test_each_supported_hint_becomes_its_shape(hint: Any, shape: s.Shape | None):
    holder = make_dataclass("Holder", [("f", hint)], namespace={"__module__": __name__})

    found = read_dataclass(holder).fields[0].shape

    if shape is not None:
        assert found == shape


@pytest.mark.parametrize(
    ("hint", "facts", "cure"),
    [
        (Any, ("Any",), ("str", "dict[str, str]")),
        (object, ("object",), ("str", "dict[str, str]")),
        (None, ("None",), ("str | None",)),
        (list, ("list",), ("list[str]",)),
        (typing.List, ("list",), ("list[str]",)),  # noqa: UP006  # users write it
        (dict, ("dict",), ("dict[str, int]",)),
        (dict[int, str], ("dict[int, str]", "JSON"), ("dict[str, ...]",)),
        (set[int], ("set[int]", "JSON"), ("list[...]",)),
        (frozenset, ("frozenset", "JSON"), ("list[...]",)),
        (tuple, ("tuple",), ("list[...]", "dataclass")),
        (tuple[int, str], ("tuple[int, str]",), ("list[...]", "dataclass")),
        (tuple[int, ...], ("tuple[int, ...]",), ("list[...]", "dataclass")),
        (Place, ("Place", "NamedTuple"), ("@dataclass", "NamedTuple")),
        (Loose, ("Loose", "TypedDict"), ("@dataclass", "TypedDict")),
        (Plain, ("Plain", "dataclass"), ("@dataclass",)),
        (collections.abc.Callable[[int], str], ("Callable[[int], str]",), ("str",)),
        (typing.Callable, ("Callable",), ("str",)),
        (collections.abc.Sequence[int], ("Sequence[int]",), ("list[...]",)),
        (collections.abc.Mapping[str, int], ("Mapping[str, int]",), ("dict[str, ...]",)),
        (complex, ("complex", "JSON", "int", "float"), ("float", "str")),
        (decimal.Decimal, ("Decimal", "JSON", "int", "float"), ("float", "str")),
        (uuid.UUID, ("UUID",), ("str", "Pattern")),
        (pathlib.Path, ("Path",), ("str", "Pattern")),
        (dt.time, ("time",), ("str", "Pattern")),
        (dt.timedelta, ("timedelta",), ("float", "seconds")),
        (bytearray, ("bytearray",), ("bytes",)),
        (type, ("type",), (SUPPORTED,)),
        (Access, ("Access", "Flag"), ("Enum", "list")),
        (NoMembers, ("NoMembers",), ('A = "a"',)),
        (Composite, ("Composite.PAIR", "tuple"), ("JSON", "str, int, float")),
        (Literal[Color.RED], ("Literal", "Color.RED"), ("Enum", "Literal")),
        (Literal[2**60], ("Literal", "int 1152921504606846976", "JSON"), ("2**53",)),
        (Literal[b"x"], ("Literal", "bytes"), ("JSON", "str, int, float")),
        (Literal["\ud800"], ("Literal",), ("UTF-8",)),
        (Literal[None], ("None",), ("str | None",)),
        (["a", "b"], ("['a', 'b']",), ("Literal['a', 'b']",)),
        (s.Range(ge=1), (repr(s.Range(ge=1)),), (f"Annotated[int, {s.Range(ge=1)!r}]",)),
        (s.Length(max=5), (repr(s.Length(max=5)),), (f"Annotated[str, {s.Length(max=5)!r}]",)),
        ("Missing", ("'Missing'", "'Missing'"), ("Missing",)),
        ("list[", ("'list['",), ("list[str]", "int | None")),
        (list[Any], ("Any",), ("str", "dict[str, str]")),
        (T, ("T",), ("Holder[str]",)),
        (Page, ("T",), ("Page[str]",)),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_a_cure(
    hint: Any, facts: tuple[str, ...], cure: tuple[str, ...]
):
    error = refusal_of(hint)

    assert has_facts(str(error), *facts)
    assert has_facts(error.hint, *cure)
    assert (SUPPORTED in error.hint) == (cure == (SUPPORTED,))


@pytest.mark.parametrize(
    ("hint", "path"),
    [
        (Any, "$.f"),
        (list[Any], "$.f[]"),
        (dict[str, set[int]], "$.f{}"),
        (list[dict[str, Any]] | None, "$.f[]{}"),
        (list[Page[Any]], "$.f[].items[]"),
    ],
)
def test_a_refusal_names_the_path_of_the_field(hint: Any, path: str):
    assert refusal_of(hint).path == path


@pytest.mark.parametrize("cls", [int, str, list[int], None, Plain, "Item", 3])
def test_only_dataclasses_become_schemas(cls: Any):
    with pytest.raises(SchemaError, match="dataclass") as caught:
        read_dataclass(cls)

    assert caught.value.path == "$"
    assert has_facts(str(caught.value), type_name(cls))


def test_fields_keep_their_order_and_say_whether_they_are_required():
    @dataclass
    class Order:
        number: int
        note: str | None
        gift: bool = False
        tags: list[str] = field(default_factory=list)
        kind: Literal["order"] = "order"

    fields = read_dataclass(Order).fields

    assert [one.name for one in fields] == ["number", "note", "gift", "tags", "kind"]
    assert [one.is_required for one in fields] == [True, True, False, False, True]
    assert (fields[2].has_default, fields[2].default) == (True, False)
    assert not fields[3].has_default


def test_descriptions_are_found_on_every_level_of_a_hint():
    @dataclass
    class Order:
        number: Annotated[int, "what stands\n  on the paper"]
        tags: list[Annotated[str, "one word each"]]
        note: Annotated[str | None, "free", s.Length(1)]

    fields = read_dataclass(Order).fields

    assert [one.description for one in fields] == [
        "what stands on the paper",
        "one word each",
        "free",
    ]


def test_class_variables_are_no_fields():
    @dataclass
    class Order:
        version: ClassVar[int] = 1
        number: int = 0

    assert [one.name for one in read_dataclass(Order).fields] == ["number"]


def test_inherited_fields_are_read_where_they_were_written():
    page = read_dataclass(ItemPage)

    assert [one.name for one in page.fields] == ["items", "next", "total"]
    items = page.fields[0].shape
    assert isinstance(items, s.List)
    assert isinstance(items.item, s.Record)
    assert items.item.cls is Item


def test_a_generic_dataclass_takes_its_arguments():
    page = read_dataclass(Page[Item])

    assert page.name == "Page[Item]"
    assert page.cls is Page
    assert without_null_is(page.fields[1].shape, page)
    assert read_dataclass(Page["Item"]).fields[0].shape is not None


def without_null_is(shape: s.Shape, record: s.Record) -> bool:
    return s.without_null(shape) == (record, True)


def test_a_generic_dataclass_that_grows_without_end_is_refused():
    @dataclass
    class Growing(Generic[T]):
        value: T
        next: Growing[list[T]] | None = None

    with pytest.raises(SchemaError, match=r"\b20\b.*\bGrowing\b"):
        read_dataclass(Growing[int])


def test_a_recursive_dataclass_is_one_node_that_points_to_itself():
    node = read_dataclass(Node)

    assert without_null_is(node.fields[1].shape, node)
    assert node.fields[2].shape == s.List(node)


def test_a_class_is_one_node_wherever_it_is_used():
    @dataclass
    class Pair:
        left: Item
        right: Item

    pair = read_dataclass(Pair)

    assert pair.fields[0].shape is pair.fields[1].shape


def test_the_docstring_is_kept_but_not_the_signature_that_dataclass_writes():
    @dataclass
    class Documented:
        """Read this.

        And that.
        """

        x: int = 3

    @dataclass
    class Bare:
        x: int = 3
        y: Size = Size.SMALL
        z: list[int] = field(default_factory=list)

    @dataclass(slots=True, frozen=True)
    class Slotted:
        x: int

    @dataclass
    class Derived(Documented):
        y: int = 4

    assert Bare.__doc__
    assert schema_of(Documented).instruction == "Read this.\n\nAnd that."
    assert schema_of(Bare).instruction == ""
    assert schema_of(Slotted).instruction == ""
    assert schema_of(Derived).instruction == ""


def test_a_field_that_the_constructor_does_not_take_is_refused():
    @dataclass
    class Computed:
        x: int
        y: int = field(init=False, default=0)

    with pytest.raises(SchemaError, match="init=False") as caught:
        read_dataclass(Computed)

    assert caught.value.path == "$.y"


@pytest.mark.parametrize("default", [{}, {"default": 3}])
def test_what_only_the_constructor_is_given_is_refused(default: Any):
    @dataclass(kw_only=True)
    class Hungry:
        seed: InitVar[int] = field(**default)
        x: int

    @dataclass(kw_only=True)
    class Fed(Hungry):
        y: int

    made = make_dataclass("Hungry", [("seed", InitVar[int], field(kw_only=True, **default))])
    for kind in (Hungry, Fed, made):
        with pytest.raises(SchemaError, match=rf"\b{kind.__name__}\b.*\bseed\b.*\bInitVar\b"):
            read_dataclass(kind)


def test_a_constructor_that_wants_more_than_the_fields_is_refused():
    @dataclass(init=False)
    class Hungry:
        x: int

        def __init__(self, x: int, seed: int) -> None: ...

    with pytest.raises(SchemaError, match=r"\bHungry\b.*\bseed\b") as caught:
        read_dataclass(Hungry)

    assert "__init__" in caught.value.hint


Json = Union[str, list["Json"]]  # noqa: UP007  # an alias that names itself
JsonTable = dict[str, "JsonTable"]
JsonOptional = Optional["JsonTuple"]
JsonTuple = list[JsonOptional]
Ones = list["Others"]
Others = dict[str, "Ones"]


@dataclass
class Pair(Generic[T]):
    one: T
    other: "Pair[T] | None"  # noqa: UP037  # a name in a text


@dataclass
class Leaf:
    x: "Json"  # noqa: UP037  # a name in a text
    y: int = 0


@pytest.mark.parametrize(
    "hint",
    [Json, "Json", JsonTable, JsonTuple, Ones, "Ones", list[Others], Leaf, list[Leaf] | None],
)
def test_an_alias_that_contains_itself_is_refused_with_its_place(hint: Any):
    with pytest.raises(SchemaError) as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]), namespace=globals())

    assert caught.value.path.startswith("$.f")
    assert has_facts(caught.value.hint, "dataclass", "X | None", "list[X]")


ALIASES = {"Names": list[str], "Pair": Pair}


def test_an_alias_may_stand_in_many_places_and_around_dataclasses():
    shape = read_dataclass(
        make_dataclass("Holder", [("a", "Names"), ("b", "list[Names]")]), ALIASES
    )
    pairs = read_dataclass(make_dataclass("Holder", [("f", "Pair[Pair[Names]]")]), ALIASES)

    assert [type(one.shape) for one in shape.fields] == [s.List, s.List]
    assert isinstance(pairs.fields[0].shape, s.Record)


@pytest.mark.parametrize(
    ("kind", "depth"), [("record", 101), ("record", 2_000), ("list", 250), ("optional", 250)]
)
def test_what_nests_without_measure_is_refused(kind: str, depth: int):
    hint: Any = make_dataclass("Level", [("x", int)])
    for _ in range(depth):
        if kind == "list":
            hint = list[hint]
        else:
            hint = make_dataclass("Level", [("x", hint | None if kind == "optional" else hint)])

    with pytest.raises(SchemaError, match=rf"\b{MAX_DEPTH}\b") as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]))

    assert caught.value.path.startswith("$.f")
    assert len(caught.value.path) < 100


def test_as_deep_as_is_allowed_everything_works():
    kind: Any = make_dataclass("Level", [("x", int)])
    for _ in range(98):
        kind = make_dataclass("Level", [("x", kind)])
    schema = schema_of(kind)
    text = '{"x":' * 99 + "1" + "}" * 99

    assert schema.encode(schema.decode(text)) == text
    assert schema.close('{"x":' * 99) is not None
    assert schema.mdl.count("x: ") == 99
    assert repr(schema.json_schema).count("properties") == 99
    assert repr(schema) == "Schema(Level)"


@pytest.mark.parametrize("size", [60, 400])
def test_many_dataclasses_that_hold_each_other_are_taken(size: int):
    names: dict[str, Any] = {}
    for number in range(size):
        following = f"Node{(number + 1) % size}"
        fields = [
            (f"own{number}", int),
            ("next", f"{following} | None"),
            ("all", f"list[Node{number}]"),
        ]
        names[f"Node{number}"] = make_dataclass(f"Node{number}", fields)
    schema = schema_of(names["Node0"], namespace=names)
    text = '{"own0":1,"next":{"own1":2,"next":null,"all":[]},"all":[]}'

    record = schema.decode(text)

    assert schema.encode(record) == text
    assert schema.close(text[:20]) is not None
    assert schema.mdl.count(" | null") == size
    assert "$ref" in repr(schema.json_schema)


@dataclass
class Mutual:
    other: "Other"  # noqa: UP037  # a name in a text


@dataclass
class Other:
    back: Mutual
    more: list[Mutual]


def test_dataclasses_that_require_each_other_are_refused():
    for kind in (Mutual, Other):
        with pytest.raises(SchemaError, match=rf"\b{kind.__name__}\b.*\b{kind.__name__}\b") as no:
            schema_of(kind)
        assert has_facts(no.value.hint, "X | None", "list[X]")


@dataclass
class Part:
    x: int


B = TypeVar("B", bound=Part)
BoundByName = TypeVar("BoundByName", bound="Other")
BoundToMany = TypeVar("BoundToMany", bound=int | str)
OneOf = TypeVar("OneOf", int, str)
Fraction = TypeVar("Fraction", bound=float)


@dataclass
class Bounded(Generic[B]):
    x: list[B]


@dataclass
class ByName(Generic[BoundByName]):
    x: list[BoundByName]


@dataclass
class ToMany(Generic[BoundToMany]):
    x: BoundToMany


@dataclass
class AnyOf(Generic[OneOf]):
    x: OneOf


@dataclass
class Share(Generic[Fraction]):
    x: Fraction


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (Bounded[int], ("B", "Bounded", "Part", "int")),
        (Bounded[Other], ("B", "Bounded", "Part", "Other")),
        (Bounded[Part | None], ("B", "Bounded", "Part", "Part | None")),
        (ByName[Part], ("BoundByName", "ByName", "Other", "Part")),
        (ToMany[float], ("BoundToMany", "ToMany", "int", "str", "float")),
        (ToMany[Literal["a", 0.5]], ("BoundToMany", "ToMany", "int", "str", "Literal['a', 0.5]")),
        (AnyOf[float], ("OneOf", "AnyOf", "int", "str", "float")),
        (AnyOf[list[int]], ("OneOf", "AnyOf", "int", "str", "list[int]")),
        (Share[str], ("Fraction", "Share", "float", "str")),
    ],
)
def test_a_type_argument_that_its_parameter_rules_out_is_refused(kind: Any, facts: tuple[str, ...]):
    derived = dataclass(type("Derived", (kind.__origin__,), {"__orig_bases__": (kind,)}))
    for one in (kind, make_dataclass("Holder", [("f", kind)]), derived):
        with pytest.raises(SchemaError) as caught:
            schema_of(one)
        assert has_facts(str(caught.value), *facts)


@pytest.mark.parametrize(
    "kind",
    [
        ToMany[bool],
        ToMany[int | str],
        ToMany[Annotated[str, Length(1)]],
        ToMany[Literal["a", 1]],
        AnyOf[int],
        AnyOf[Literal["a"]],
        Share[int],
        Share[Annotated[float, Range(ge=0)]],
    ],
)
def test_a_type_argument_within_its_parameters_bounds_is_taken(kind: Any):
    assert schema_of(kind).fields.keys() == {"x"}


def test_a_class_made_without_a_constructor_is_refused():
    @dataclass(init=False)
    class Empty:
        x: int

    with pytest.raises(SchemaError, match=r"\bEmpty\b.*\bx\b") as caught:
        read_dataclass(Empty)

    assert "__init__" in caught.value.hint


def test_a_subclass_that_adds_fields_without_the_decorator_is_refused():
    class Forgotten(Item):
        price: float

    with pytest.raises(SchemaError, match=r"\bForgotten\b.*\bdataclass\b") as caught:
        read_dataclass(Forgotten)

    assert has_facts(caught.value.hint, "@dataclass", "class Forgotten")


def test_a_subclass_that_adds_nothing_is_the_dataclass_that_it_is():
    class Renamed(Item):
        pass

    assert [one.name for one in read_dataclass(Renamed).fields] == ["sku"]


def test_keyword_only_and_frozen_classes_are_read():
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Strict:
        x: int = 1
        y: str

    assert [one.name for one in read_dataclass(Strict).fields] == ["x", "y"]
    assert dataclasses.is_dataclass(Strict)


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        (Literal["a", "b"], "kind: Literal['a', 'b']"),
        (bool, "kind: bool"),
        (list[str], "list[str]"),
    ],
)
def test_a_type_that_is_assigned_where_a_colon_was_meant_is_refused(value: Any, cure: str):
    @dataclass
    class Ticket:
        text: str
        kind = value

    error = refusal_of(Ticket)

    assert has_facts(str(error), "kind")
    assert cure in error.hint


def test_constants_of_a_class_are_no_fields_and_no_mistake():
    @dataclass
    class Ticket:
        text: str
        limit = 5

        class Inner:
            """Something else."""

    assert [field.name for field in read_dataclass(Ticket).fields] == ["text"]
