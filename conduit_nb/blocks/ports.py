"""What goes into a block or comes out of it, and whether one fits the other.

A port is one dataclass, a union of dataclasses, or None where a block takes nothing.
Layer 3.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from conduit_nb.errors import ArgumentError, Problem, ValidationError
from conduit_nb.schemas import Schema, schema_of
from conduit_nb.schemas.annotations import bound_class, successor
from conduit_nb.schemas.codec import is_record_of
from conduit_nb.schemas.shapes import are_alike

T = TypeVar("T")

_IMMUTABLE = (str, int, float, bool, bytes, type(None), Enum, type)


def snapshot(value: T) -> T:
    """Return `value` with copies of the lists, dicts, sets, arrays and dataclass records in it.

    Everything else is taken as it is, and so is what is nested too deeply to be copied.
    """
    try:
        return cast("T", _copied(value))
    except RecursionError:  # a cycle, which every check refuses with its path
        return value


def snapshots(values: Iterable[T]) -> list[T]:
    """Return a list of its own with a copy of each value."""
    return [snapshot(value) for value in values]


def _copied(value: Any) -> Any:
    if isinstance(value, _IMMUTABLE):
        return value
    match value:
        case list():
            made = copy.copy(cast("list[Any]", value))
            made[:] = [_copied(item) for item in made]
            return made
        case dict():
            table = copy.copy(cast("dict[Any, Any]", value))
            for key, item in table.items():
                table[key] = _copied(item)
            return table
        case tuple():
            return _copied_tuple(cast("tuple[Any, ...]", value))
        case set() | bytearray():
            return copy.copy(cast("set[Any] | bytearray", value))
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, BaseException):
            return _copied_record(value)
        case _:
            numpy = sys.modules.get("numpy")
            is_array = numpy is not None and isinstance(value, numpy.ndarray)
            return copy.deepcopy(value) if is_array else value


def _copied_tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    items = [_copied(item) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    make = getattr(type(value), "_make", tuple)  # of a named tuple
    return make(items)


def _copied_record(record: Any) -> Any:
    made = copy.copy(record)
    names = dict.fromkeys([*getattr(record, "__dict__", {}), *record.__dataclass_fields__])
    for name in names:
        if not hasattr(made, name):  # a field that was never given a value
            continue
        before = getattr(made, name)
        after = _copied(before)
        if after is not before:
            object.__setattr__(made, name, after)
    return made


@dataclass(frozen=True, slots=True)
class Port:
    """One side of a block: the type as its author wrote it, and the schemas it stands for."""

    kinds: tuple[Any, ...]
    schemas: tuple[Schema[Any], ...]
    takes_none: bool

    @classmethod
    def of(cls, kind: Any) -> Port:
        """Make the port of a type; SchemaError where it cannot be checked."""
        members = _members(kind)
        kinds = tuple(member for member in members if member not in (None, type(None)))
        return cls(
            kinds, tuple(schema_of(one) for one in kinds), takes_none=len(kinds) < len(members)
        )

    @property
    def is_current(self) -> bool:
        """Whether no class of it was changed or defined again since it was made."""
        return all(schema.is_current for schema in self.schemas)

    def renewed(self, *, subject: str, user: str) -> Port:
        """Return the port with its classes as they are defined now.

        Raises ValidationError where one that was defined again means something else than it did
        when `user` was made.
        """
        if self.is_current:
            return self
        kinds = tuple(successor(kind) for kind in self.kinds)
        port = Port(kinds, tuple(schema_of(kind) for kind in kinds), takes_none=self.takes_none)
        for before, now, earlier, later in zip(
            self.schemas, port.schemas, self.kinds, kinds, strict=True
        ):
            if later is not earlier and not before.is_like(now):
                raise _redefined(before.name, subject=subject, user=user)
        return port

    def accepts(self, other: Port) -> bool:
        """Say whether everything that comes out of `other` may go in here."""
        if other.takes_none and not self.takes_none:
            return False
        return all(
            any(
                _is_kind_of(theirs, own) or are_alike(gives.shape, takes.shape)
                for own, takes in zip(self.kinds, self.schemas, strict=True)
            )
            for theirs, gives in zip(other.kinds, other.schemas, strict=True)
        )

    def check(self, value: object, *, subject: str, user: str = "") -> None:
        """Raise ValidationError unless `value` fits; it is read anew, so that changes are seen.

        `user` is the block that is to be made again where its class was defined again.
        """
        if value is None and self.takes_none:
            return
        schema = self._schema_of(value, subject, user)
        try:
            schema.validate(_as_exactly(schema.cls, value))
        except ValidationError as error:
            raise ValidationError(error.problems, subject=f"{subject} ({schema.name})") from error

    def encode(self, record: object) -> str:
        """Return a record that goes in here as JSON."""
        schema = self._schema_of(record, "record")
        return schema.encode(_as_exactly(schema.cls, record))

    def exact(self, record: object) -> object:
        """Return the record as the class that stands here, where it is of a class derived of it."""
        return _as_exactly(self._schema_of(record, "record").cls, record)

    def _schema_of(self, value: object, subject: str, user: str = "") -> Schema[Any]:
        for schema in self.schemas:
            if isinstance(value, schema.cls):
                return schema
        kinds = cast("list[type[Any]]", type(value).__mro__)
        for schema in self.schemas:
            if any(is_record_of(kind, schema.shape) for kind in kinds):
                return schema
        for kind in kinds:
            if kind.__name__ in [schema.cls.__name__ for schema in self.schemas]:
                raise _other_definition(kind, subject=subject, user=user)
        is_class = isinstance(value, type)
        shown = f"the class {value.__name__}" if is_class else type(value).__name__
        problem = Problem(path="$", message=f"expected {self}, got {shown}")
        error = ValidationError((problem,), subject=subject)
        many = isinstance(value, list | tuple) and user
        error.hint = f"{self._how()} Of many: {user}.batch([...])." if many else self._how()
        raise error

    def no_record(self, given: str, name: str) -> ArgumentError:
        """Return the error for fields that were given in the place of a record."""
        return ArgumentError(
            f"{name} takes one record, not {given}.", param="record", hint=self._how()
        )

    def several(self, records: Any, name: str) -> list[Any]:
        """Return copies of records; ArgumentError where they are a table, a text or one record."""
        return as_list(records, name, of=str(self), hint=self._how())

    def _how(self) -> str:
        if not self.schemas:
            return "It takes nothing."
        schema = self.schemas[0]
        fields = ", ".join(f"{name}=..." for name in schema.fields)
        return f"Make a record: {schema.name}({fields})."

    def __str__(self) -> str:
        names = [schema.name for schema in self.schemas]
        return " | ".join([*names, "None"] if self.takes_none else names)


def _redefined(name: str, *, subject: str, user: str) -> ValidationError:
    """Return the error for a block of which a class means something else by now."""
    again = f": run {user}'s cell again" if user else ""
    problem = Problem(path="$", message=f"{name} was redefined{again}", kind="redefined")
    error = ValidationError((problem,), subject=subject)
    error.hint = f"In Python code, make {user or 'the block'} again, with the new {name}."
    return error


def _other_definition(cls: type[Any], *, subject: str, user: str) -> ValidationError:
    """Return the error for a record of a class that has the name of the wanted one."""
    if bound_class(cls) in (cls, None):
        return _redefined(cls.__name__, subject=subject, user=user)
    message = f"{cls.__name__} was redefined after this {cls.__name__} was made"
    problem = Problem(path="$", message=message, kind="redefined")
    error = ValidationError((problem,), subject=subject)
    error.hint = f"Make the record again: {cls.__name__}(...)."
    return error


def as_list(records: Any, name: str, *, of: str, hint: str) -> list[Any]:
    """Return what was given as many records as a list of copies, as they are now.

    Raises ArgumentError where it is something else.
    """
    is_table = hasattr(records, "iloc")  # of pandas: its iteration yields names, or bare values
    if is_table or isinstance(records, str | bytes | Mapping) or not _is_iterable(records):
        kind = type(cast("object", records)).__name__
        raise ArgumentError(
            f"{name} takes a list of {of}, not {kind}.",
            param="records",
            hint=f"{hint} One for each row: {name}([...])."
            + (" In a cell, %%conduit map takes tables." if is_table else ""),
        )
    return snapshots(records)


def _is_iterable(value: object) -> bool:
    return not dataclasses.is_dataclass(value) and isinstance(value, Iterable)


def _members(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _is_kind_of(theirs: Any, own: Any) -> bool:
    if theirs == own:
        return True
    # Page[Item] and Page[User] have one class, so only plain classes compare by inheritance.
    return isinstance(theirs, type) and isinstance(own, type) and issubclass(theirs, own)


def _as_exactly(cls: type[Any], value: Any) -> Any:
    """Return `value` as a `cls`: a derived record is one too, but has more than its schema."""
    if type(value) is cls:
        return value
    plain = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(plain, field.name, getattr(value, field.name))
    return plain
