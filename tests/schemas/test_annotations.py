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
    ("hint", "says", "cure"),
    [
        (Any, "Any says nothing", "Name the type"),
        (object, "object says nothing", "Name the type"),
        (None, "None alone", "str | None"),
        (list, "list does not say of what", "list[str]"),
        (typing.List, "list does not say of what", "list[str]"),  # noqa: UP006  # users write it
        (dict, "dict does not say of what", "dict[str, int]"),
        (dict[int, str], "a key is text", "dict[str, ...]"),
        (set[int], "JSON has no sets", "list[...]"),
        (frozenset, "JSON has no sets", "list[...]"),
        (tuple, "no names", "dataclass"),
        (tuple[int, str], "no names", "dataclass"),
        (tuple[int, ...], "no names", "list[...]"),
        (Place, "NamedTuple", "@dataclass"),
        (Loose, "TypedDict", "@dataclass"),
        (Plain, "Plain is not a dataclass", "@dataclass"),
        (collections.abc.Callable[[int], str], "code, not data", "Leave the field out"),
        (typing.Callable, "code, not data", "Leave the field out"),
        (collections.abc.Sequence[int], "Sequence[int] is not supported", "list[...]"),
        (collections.abc.Mapping[str, int], "is not supported", "dict[str, ...]"),
        (complex, "complex is not supported", "float"),
        (decimal.Decimal, "Decimal is not supported", "float"),
        (uuid.UUID, "UUID is not supported", "str"),
        (pathlib.Path, "Path is not supported", "str"),
        (dt.time, "time is not supported", "str"),
        (dt.timedelta, "timedelta is not supported", "seconds"),
        (bytearray, "bytearray is not supported", "bytes"),
        (type, "type is not supported", "str, int"),
        (Access, "Flag", "Enum"),
        (NoMembers, "has no members", "at least one"),
        (Composite, "Composite.PAIR holds a tuple", "str, int"),
        (Literal[Color.RED], "Enum member", "the Enum itself"),
        (Literal[2**60], "not every JSON reader keeps", "2**53"),
        (Literal[b"x"], "holds a bytes", "str, int"),
        (Literal["\ud800"], "lone surrogate", "UTF-8"),
        (Literal[None], "None alone", "str | None"),
        (["a", "b"], "a value, not a type", "Literal['a', 'b']"),
        (s.Range(ge=1), "is none", "Annotated[int, Range(ge=1"),
        (s.Length(max=5), "is none", "Annotated[str, Length("),
        ("Missing", "the name 'Missing'", "Define Missing"),
        ("list[", "cannot be read", "list[str]"),
        (list[Any], "Any says nothing", "Name the type"),
        (T, "type parameter T is open", "Say what it is"),
        (Page, "type parameter T is open", "Page[str]"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_a_cure(hint: Any, says: str, cure: str):
    error = refusal_of(hint)

    assert says in str(error)
    assert cure in error.hint


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
    with pytest.raises(SchemaError, match="is not a dataclass"):
        read_dataclass(cls)


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

    with pytest.raises(SchemaError, match="more than 20 kinds of Growing"):
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

    with pytest.raises(SchemaError, match=r"\$\.y: is made with init=False"):
        read_dataclass(Computed)


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
        with pytest.raises(SchemaError, match="takes seed as InitVar"):
            read_dataclass(kind)


def test_a_constructor_that_wants_more_than_the_fields_is_refused():
    @dataclass(init=False)
    class Hungry:
        x: int

        def __init__(self, x: int, seed: int) -> None: ...

    with pytest.raises(SchemaError, match="differ in seed"):
        read_dataclass(Hungry)


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
    with pytest.raises(SchemaError, match="contains itself") as caught:
        schema_of(make_dataclass("Holder", [("f", hint)]), namespace=globals())

    assert caught.value.path.startswith("$.f")
    assert "dataclass" in caught.value.hint


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

    with pytest.raises(SchemaError, match="nests deeper") as caught:
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
        with pytest.raises(SchemaError, match="always contains another"):
            schema_of(kind)


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
    ("kind", "said"),
    [
        (Bounded[int], "B of Bounded is to be Part, not int"),
        (Bounded[Other], "not Other"),
        (Bounded[Part | None], "not "),
        (ByName[Part], "is to be Other, not Part"),
        (ToMany[float], "is to be int or str, not float"),
        (ToMany[Literal["a", 0.5]], "is to be int or str"),
        (AnyOf[float], "is to be int or str"),
        (AnyOf[list[int]], "is to be int or str"),
        (Share[str], "is to be float"),
    ],
)
def test_a_type_argument_that_its_parameter_rules_out_is_refused(kind: Any, said: str):
    derived = dataclass(type("Derived", (kind.__origin__,), {"__orig_bases__": (kind,)}))
    for one in (kind, make_dataclass("Holder", [("f", kind)]), derived):
        with pytest.raises(SchemaError) as caught:
            schema_of(one)
        assert said in str(caught.value)


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

    with pytest.raises(SchemaError, match="differ in x"):
        read_dataclass(Empty)


def test_a_subclass_that_adds_fields_without_the_decorator_is_refused():
    class Forgotten(Item):
        price: float

    with pytest.raises(SchemaError, match="Forgotten adds fields to a dataclass but is none"):
        read_dataclass(Forgotten)


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

    assert "kind" in str(error)
    assert cure in error.hint


def test_constants_of_a_class_are_no_fields_and_no_mistake():
    @dataclass
    class Ticket:
        text: str
        limit = 5

        class Inner:
            """Something else."""

    assert [field.name for field in read_dataclass(Ticket).fields] == ["text"]
