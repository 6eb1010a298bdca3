"""Partial records: the typed fields of a record whose JSON is still arriving.

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
"""How deep open values are read; deeper ones appear when they are complete."""

_MISSING: Any = object()


class Partial(Generic[T]):
    """A record of `T` as far as it was received. Immutable.

    Fields are attributes. A missing field is None; `"name" in partial` distinguishes it from a
    null. A plain `str` holds the text so far, lists and dicts their items so far; a nested record
    is a Partial until it is complete. All other values (numbers, booleans, enums, literals, dates)
    are present once they are complete, and fit their type. Defaults are not filled in.
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
        """Return whether a field has a value so far."""
        return name in self.__values__

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the fields that have a value so far."""
        return iter(self.__values__)

    def __len__(self) -> int:
        return len(self.__values__)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a field. Raises KeyError where it has none so far."""
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
    """Reads the JSON of one record incrementally; each character and value is read once."""

    def __init__(self, schema: Schema[T]) -> None:
        self._root = schema.shape
        self._reader = JsonReader()
        self._text = ""
        self._validators: dict[int, SchemaValidator] = {}

    def feed(self, text: str) -> Partial[T]:
        """Read more text, and return the record so far."""
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
        """Return the value so far, _MISSING where there is none."""
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
        """Return the items of an open list; complete ones are cached."""
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
        """Return a complete value in its Python type, _MISSING where it does not fit."""
        if "typed" not in part.notes:
            part.notes["typed"] = self._read(shape, part)
        return part.notes["typed"]

    def _read(self, shape: Shape, part: Part) -> Any:
        validator = self._validators.get(id(shape))
        if validator is None:
            validator = self._validators[id(shape)] = value_reader(shape)
        try:
            return validator.validate_json(self._text[part.start : part.end])
        except CoreValidationError:  # reported when the record is complete
            return _MISSING


def _member(shape: Shape, part: Part) -> Shape | None:
    """Return the shape of the open `part`, None where it is not decided yet."""
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
    """Return whether the keys, and the values of literals, may belong to `record`."""
    shapes = {field.name: field.shape for field in record.fields}
    for key, value in part.entries.items():
        shape = shapes.get(key)
        if shape is None:
            return False
        fixed = shape.values if isinstance(shape, Choice | EnumChoice) else ()
        if fixed and isinstance(value, Text) and value.end and value.text not in fixed:
            return False
    return True
