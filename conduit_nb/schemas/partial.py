"""Records while they are written: what is there already, typed, and nothing that is not.

partial = PartialRecords(schema)
partial.feed('{"title":"Cof')      # Partial(title='Cof')
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, cast

from pydantic_core import SchemaValidator
from pydantic_core import ValidationError as CoreValidationError

from conduit_nb.schemas.codec import value_reader
from conduit_nb.schemas.reader import Array, JsonReader, Object, Part, Text, Word
from conduit_nb.schemas.schema import Schema
from conduit_nb.schemas.shapes import Choice, EnumChoice, List, Map, Record, Shape, Str, Union

T = TypeVar("T")

MAX_DEPTH = 100
"""How deep open values are looked into; what is deeper is there when it is whole."""

_MISSING: Any = object()


class Partial(Generic[T]):
    """A record of `T` as far as it is written. Immutable; the next one is another.

    Fields are attributes: a field that is not there yet is None, and `"name" in partial` tells the
    two apart. Text (of a plain `str` field) is as much as there is; lists and dicts hold what is
    there; a record inside is a Partial until it is whole, then a record. Everything else (numbers,
    booleans, enums, literals, dates) is there when it is whole, and fits its type. Defaults are not
    filled in.
    """

    __slots__ = ("__record__", "__values__")

    def __init__(self, record: Record, values: dict[str, Any]) -> None:
        self.__record__ = record
        self.__values__ = values

    def __getattr__(self, name: str) -> Any:
        if name in self.__values__:
            return self.__values__[name]
        if any(field.name == name for field in self.__record__.fields):
            return None
        raise AttributeError(f"{self.__record__.name} has no field {name!r}", name=name, obj=self)

    def __contains__(self, name: object) -> bool:
        """Say whether there is something of a field."""
        return name in self.__values__

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the fields that are there."""
        return iter(self.__values__)

    def __len__(self) -> int:
        return len(self.__values__)

    def __getitem__(self, name: str) -> Any:
        """Return a field that is there; KeyError where it is not."""
        return self.__values__[name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partial):
            return NotImplemented
        theirs = cast("Partial[Any]", other)
        return self.__record__ is theirs.__record__ and self.__values__ == theirs.__values__

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it holds lists

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__values__.items())
        return f"Partial[{self.__record__.name}]({fields})"


class PartialRecords(Generic[T]):
    """Reads one record's JSON as it arrives. Each character and each whole value is read once."""

    def __init__(self, schema: Schema[T]) -> None:
        self._root = schema.shape
        self._reader = JsonReader()
        self._text = ""
        self._validators: dict[int, SchemaValidator] = {}

    def feed(self, text: str) -> Partial[T]:
        """Read on, and return what is there now."""
        self._text += text
        self._reader.feed(text)
        root = self._reader.root
        if not isinstance(root, Object):
            return Partial(self._root, {})
        return self._partial(self._root, root, 0)

    def _partial(self, record: Record, part: Object, depth: int) -> Partial[Any]:
        values: dict[str, Any] = {}
        for field in record.fields:
            value = part.entries.get(field.name)
            if value is not None:
                there = self._there(field.shape, value, depth)
                if there is not _MISSING:
                    values[field.name] = there
        return Partial(record, values)

    def _there(self, shape: Shape, part: Part, depth: int) -> Any:
        """Return what there is of a value; _MISSING for nothing."""
        if part.end is not None:
            return self._whole(shape, part)
        if depth == MAX_DEPTH:
            return _MISSING
        depth += 1
        match part, _member(shape, part):
            case Text(), Str():
                return part.text
            case Array(), List(item=item):
                return self._items(item, part, depth)
            case Object(), Map(value=value):
                found = {key: self._there(value, one, depth) for key, one in part.entries.items()}
                return {key: one for key, one in found.items() if one is not _MISSING}
            case Object(), Record() as record:
                return self._partial(record, part, depth)
            case _:
                return _MISSING

    def _items(self, item: Shape, part: Array, depth: int) -> list[Any]:
        """Return the items of an open list; those that are whole are kept from time to time."""
        read, items = cast("tuple[int, list[Any]]", part.notes.setdefault("items", (0, [])))
        while read < len(part.items) and part.items[read].end is not None:
            value = self._whole(item, part.items[read])
            if value is not _MISSING:
                items.append(value)
            read += 1
        part.notes["items"] = (read, items)
        is_open = read < len(part.items)
        last = self._there(item, part.items[read], depth) if is_open else _MISSING
        return items.copy() if last is _MISSING else [*items, last]

    def _whole(self, shape: Shape, part: Part) -> Any:
        """Return a whole value as what it stands for; _MISSING where it does not fit."""
        if "typed" not in part.notes:
            part.notes["typed"] = self._read(shape, part)
        return part.notes["typed"]

    def _read(self, shape: Shape, part: Part) -> Any:
        validator = self._validators.get(id(shape))
        if validator is None:
            validator = self._validators[id(shape)] = value_reader(shape)
        try:
            return validator.validate_json(self._text[part.start : part.end])
        except CoreValidationError:  # what is wrong is told when the record is whole
            return _MISSING


def _member(shape: Shape, part: Part) -> Shape | None:
    """Return which shape the open `part` will have; None where it cannot be told yet."""
    members = shape.members if isinstance(shape, Union) else (shape,)
    match part:
        case Text():
            kinds: tuple[type[Any], ...] = (Str,)
        case Array():
            kinds = (List,)
        case Object():
            kinds = (Map, Record)
        case Word():
            return None
    found = [one for one in members if isinstance(one, kinds)]
    if isinstance(part, Object) and len(found) > 1:
        found = [one for one in found if isinstance(one, Record) and _may_be(one, part)]
    return found[0] if len(found) == 1 else None


def _may_be(record: Record, part: Object) -> bool:
    """Say whether the keys, and the values of literals, are those of `record`."""
    shapes = {field.name: field.shape for field in record.fields}
    for key, value in part.entries.items():
        shape = shapes.get(key)
        if shape is None:
            return False
        fixed = shape.values if isinstance(shape, Choice | EnumChoice) else ()
        if fixed and isinstance(value, Text) and value.end and value.text not in fixed:
            return False
    return True
