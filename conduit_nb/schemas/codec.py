"""Convert records to JSON text and back, strictly: a value that does not fit is an error.

Two pydantic_core validators are built from the shapes: one reads JSON text into records, the other
turns records into JSON values and so validates records that were changed after they were made.
Both check everything and report all problems at once, with paths.
"""

from __future__ import annotations

import dataclasses
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from enum import Enum
from functools import cached_property
from json.encoder import encode_basestring
from traceback import format_exception_only
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema
from pydantic_core import SchemaError as CoreSchemaError
from pydantic_core import ValidationError as CoreValidationError

from conduit_nb.errors import ConduitError, Problem, ProblemKind, SchemaError, ValidationError
from conduit_nb.plain_text import plain
from conduit_nb.schemas.annotations import definition_of, read_dataclass
from conduit_nb.schemas.formats import (
    BoundedFloat,
    is_foreign,
    plain_value,
    read_base64,
    read_date,
    read_datetime,
    write_base64,
    write_datetime,
    write_float,
)
from conduit_nb.schemas.patterns import anchored
from conduit_nb.schemas.problems import (
    CUSTOM_ERROR,
    describe_value,
    lone_surrogates,
    long_numbers,
    to_path,
    to_problems,
)
from conduit_nb.schemas.reader import JsonReader
from conduit_nb.schemas.shapes import (
    Bool,
    Bytes,
    Choice,
    Date,
    DateTime,
    EnumChoice,
    Float,
    Int,
    List,
    Map,
    Null,
    Range,
    Record,
    Scalar,
    Shape,
    Str,
    Union,
    are_alike,
    walk,
    without_null,
)
from conduit_nb.schemas.unions import json_chooser, python_chooser

T = TypeVar("T")

MAX_DEPTH = 200
"""How deep lists, dicts and records may nest in one text; JSON readers stop soon after."""
MAX_ERROR_TEXT = 300
"""How many characters of a user's own error are shown."""


class Codec:
    """Reads and writes the records of one schema."""

    def __init__(self, root: Record) -> None:
        """Build both validators. Raises SchemaError for an invalid pattern or default."""
        self._root = root
        try:
            self._reader = json_reader(root)
            self._writer = record_writer(root)
        except CoreSchemaError as err:
            raise _broken_pattern(root, err) from err
        _check_defaults(root)

    @cached_property
    def _foreign_writer(self) -> SchemaValidator:
        return record_writer(self._root, takes_foreign=True)

    def read(self, text: str) -> Any:
        """Return the record that `text` holds. Raises ValidationError."""
        problems: tuple[Problem, ...] = ()
        record: Any = None
        try:
            record = self._reader.validate_json(text)
        except CoreValidationError as err:
            errors = err.errors(include_url=False)
            problems = to_problems(errors, self._root)
            if errors[0]["type"] in ("json_invalid", "string_unicode"):
                reason = str(errors[0].get("ctx", {}).get("error", ""))
                problems = tuple(
                    replace(one, path=_error_path(text, one, reason)) for one in problems
                )
                raise ValidationError(problems, subject="text", text=text) from err
        problems += duplicate_keys(text)
        if problems:
            raise ValidationError(problems, subject="text", text=text)
        return record

    def to_json_values(self, record: Any) -> Any:
        """Return `record` as JSON values. Raises ValidationError where it does not fit."""
        return self._checked(record)[0]

    def write(self, record: Any) -> str:
        """Return `record` as compact JSON. Raises ValidationError where it does not fit."""
        return self._checked(record)[1]

    def _checked(self, record: Any) -> tuple[Any, str]:
        try:
            try:
                value = self._writer.validate_python(record)
            except CoreValidationError as err:
                if not any(is_foreign(one["input"]) for one in err.errors(include_url=False)):
                    raise
                value = self._foreign_writer.validate_python(record)
        except CoreValidationError as err:
            errors = err.errors(include_url=False)
            problems = to_problems(errors, self._root, in_python=True)
            raise ValidationError(problems, subject=self._root.name) from err
        try:
            text = json_text(value)
        except ValueError as err:  # beyond sys.get_int_max_str_digits()
            raise ValidationError(long_numbers(value), subject=self._root.name) from err
        if text is None:
            message = f"nests deeper than {MAX_DEPTH} levels"
            problem = Problem(path="$", message=message, kind="too_deep")
            raise ValidationError((problem,), subject=self._root.name)
        if not text.isascii() and (surrogates := lone_surrogates(value)):
            raise ValidationError(surrogates, subject=self._root.name)
        return value, text


def json_text(value: Any, depth: int = 0) -> str | None:
    """Return JSON values as compact text, or None where they nest deeper than MAX_DEPTH.

    Numbers have no exponent and DEL is escaped, as the grammars of such schemas require.
    """
    if isinstance(value, str):
        return encode_basestring(value).replace("\x7f", "\\u007f")
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return write_float(value)
    assert isinstance(value, list | dict), f"not a JSON value: {type(value)}"
    if depth == MAX_DEPTH:
        return None
    if isinstance(value, list):
        items = [json_text(item, depth + 1) for item in cast("list[Any]", value)]
        return None if None in items else f"[{','.join(cast('list[str]', items))}]"
    pairs: list[str] = []
    for key, item in cast("dict[str, Any]", value).items():
        text = json_text(item, depth + 1)
        if text is None:
            return None
        pairs.append(f"{json_text(key)}:{text}")
    return f"{{{','.join(pairs)}}}"


_CONSTANTS = {None: "null", True: "true", False: "false"}


def duplicate_keys(text: str) -> tuple[Problem, ...]:
    """Return a problem for each duplicate key of an object in a valid JSON text."""
    try:
        _UNIQUE_KEYS.decode(text)
    except _DuplicateKeyError:
        return _duplicates_in(text)
    return ()


class _DuplicateKeyError(Exception):
    """An object has a duplicate key."""


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _DuplicateKeyError


# Integers are read as float, which has no limit of digits; the values are not used.
_UNIQUE_KEYS = json.JSONDecoder(object_pairs_hook=_require_unique_keys, parse_int=float)


def _duplicates_in(text: str) -> tuple[Problem, ...]:
    duplicated: dict[
        int, tuple[dict[str, Any], list[str]]
    ] = {}  # the value is kept, so that its id is not reused

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            duplicated[id(value)] = (value, [key for key, count in counts.items() if count > 1])
        return value

    whole = json.loads(text, object_pairs_hook=to_object, parse_int=float)
    return tuple(
        Problem(
            path=to_path([*keys, key]), message="the key stands there twice", kind="duplicate_key"
        )
        for keys, value in _objects(whole, [])
        if id(value) in duplicated
        for key in duplicated[id(value)][1]
    )


def _objects(value: Any, keys: list[str | int]) -> list[tuple[list[str | int], Any]]:
    objects: list[tuple[list[str | int], Any]] = []
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        objects.append((keys, items))
        for key, item in items.items():
            objects += _objects(item, [*keys, key])
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            objects += _objects(item, [*keys, index])
    return objects


def _error_path(text: str, problem: Problem, reason: str) -> str:
    """Return the path of a value that the JSON parser rejects although JSON writers write it.

    These are numbers with too many digits, by the parser's `reason`, and lone surrogates.
    For other errors return the problem's own path: the message names the column.
    """
    half = _SURROGATE.search(text)
    long = _LONG_NUMBER.search(text) if "number" in reason else None
    mistake = long or half
    if mistake is None:
        return problem.path
    reader = JsonReader()
    reader.feed(text[: mistake.start() + 1])
    return to_path(reader.place)


_LONG_NUMBER = re.compile(r"[0-9]{4000}")
_SURROGATE = re.compile(
    r"(?<!\\)(?:\\\\)*\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F])|[\ud800-\udfff]"
)


def _check_defaults(root: Record) -> None:
    """Raise SchemaError where a default does not fit the type of its field."""
    fields = [
        (f"{path}.{field.name}", field)
        for path, shape, is_new in walk(root)
        if isinstance(shape, Record) and is_new
        for field in shape.fields
        if field.has_default
    ]
    if not fields:
        return
    writer = value_writer({path: field.shape for path, field in fields})
    try:
        values = writer.validate_python({path: field.default for path, field in fields})
        for path, value in values.items():
            for problem in long_numbers(value):
                raise SchemaError(
                    f"the default does not fit: {problem.message}", path=path, hint="Change it."
                )
    except CoreValidationError as err:
        shapes = Record("defaults", dict, fields=tuple(replace(f, name=p) for p, f in fields))
        errors = err.errors(include_url=False)
        problem = to_problems(errors[:1], shapes, in_python=True)[0]
        raise SchemaError(
            f"the default does not fit: {problem.message}",
            path=str(errors[0]["loc"][0]),
            hint="Change the default or the type; None needs X | None.",
        ) from err


def _broken_pattern(root: Record, cause: CoreSchemaError) -> SchemaError:
    """Return the error that names the pattern with which the validator cannot be built."""
    for path, shape, _ in walk(root):
        if isinstance(shape, Str) and shape.pattern is not None:
            try:
                value_writer({"pattern": shape})
            except CoreSchemaError:
                return SchemaError(
                    f"the pattern {shape.pattern!r} is too large",
                    path=path,
                    hint="Repeat fewer times; Length bounds a whole text.",
                )
    return SchemaError(f"the validator cannot be built: {cause}", hint="Simplify the dataclass.")


def json_reader(root: Record) -> SchemaValidator:
    """Build the validator that reads JSON text into a record. Raises pydantic_core.SchemaError."""
    return _Reader().validator(root)


def value_reader(shape: Shape) -> SchemaValidator:
    """Build the validator that reads JSON text into a value of one shape."""
    return _Reader().validator(shape)


def record_writer(root: Record, *, takes_foreign: bool = False) -> SchemaValidator:
    """Build the validator that turns a record into JSON values. Raises pydantic_core.SchemaError.

    `takes_foreign` converts values of numpy and pandas, which is slower.
    """
    return _Writer(takes_foreign=takes_foreign).validator(root)


def value_writer(shapes: dict[str, Shape]) -> SchemaValidator:
    """Build the validator that turns a dict of values, each of its own shape, into JSON values."""
    builder = _Writer(takes_foreign=True)
    fields = {
        name: core_schema.typed_dict_field(builder.schema(shape)) for name, shape in shapes.items()
    }
    return builder.closed(core_schema.typed_dict_schema(fields, strict=True))


class _Builder(ABC):
    """Base of the reading and the writing builder. `definitions` holds every record once."""

    def __init__(self) -> None:
        self.definitions: dict[int, CoreSchema] = {}
        self.begun: set[int] = set()
        self.waiting: list[Record] = []

    def validator(self, root: Shape) -> SchemaValidator:
        return self.closed(self.schema(root))

    def closed(self, schema: CoreSchema) -> SchemaValidator:
        while self.waiting:  # not recursively: records may nest deeper than the stack allows
            record = self.waiting.pop()
            definition = {**self.record(record), "ref": _reference_to(record)}
            self.definitions[id(record)] = cast("CoreSchema", definition)
        return SchemaValidator(
            core_schema.definitions_schema(schema, list(self.definitions.values()))
        )

    def schema(self, shape: Shape) -> CoreSchema:
        match shape:
            case Str(length=length, pattern=pattern):
                return core_schema.str_schema(
                    strict=True,
                    min_length=length.min or None,
                    max_length=length.max,
                    pattern=None if pattern is None else anchored(pattern),
                )
            case Int(range=range_):
                return core_schema.int_schema(strict=True, **_bounds(range_))
            case Float():
                return self.float(shape)
            case Bool():
                return core_schema.bool_schema(strict=True)
            case Null():
                return core_schema.none_schema()
            case Bytes():
                return self.bytes(shape)
            case Date():
                return self.date()
            case DateTime():
                return self.datetime()
            case Choice(values=values):
                return _lookup({(type(value), value): self.chosen(value) for value in values})
            case EnumChoice():
                return self.enum(shape)
            case List(item=item, length=length):
                return core_schema.list_schema(
                    self.schema(item),
                    strict=True,
                    min_length=length.min or None,
                    max_length=length.max,
                )
            case Map(value=value, length=length):
                return core_schema.dict_schema(
                    core_schema.str_schema(strict=True),
                    self.schema(value),
                    strict=True,
                    min_length=length.min or None,
                    max_length=length.max,
                )
            case Record():
                return self._reference(shape)
            case Union():
                return self._union(shape)

    def _reference(self, record: Record) -> CoreSchema:
        if id(record) not in self.begun:
            self.begun.add(id(record))
            self.waiting.append(record)
        return core_schema.definition_reference_schema(_reference_to(record))

    def _union(self, union: Union) -> CoreSchema:
        inner, has_null = without_null(union)
        if has_null and not isinstance(inner, Union):
            return core_schema.nullable_schema(self.schema(inner), strict=True)
        choose = self.chooser(union)

        def tag(value: Any) -> int | None:
            index = choose(value)
            return None if index is None else -index - 1  # negative: distinct from list indices

        return core_schema.tagged_union_schema(
            {-index - 1: self.schema(member) for index, member in enumerate(union.members)},
            discriminator=tag,
            strict=True,
        )

    def typed_dict(self, record: Record, *, is_whole: bool) -> CoreSchema:
        """Return the schema of a record's fields; `is_whole` requires those with a default too."""
        return core_schema.typed_dict_schema(
            {
                field.name: core_schema.typed_dict_field(
                    self.schema(field.shape), required=is_whole or field.is_required
                )
                for field in record.fields
            },
            extra_behavior="forbid",
            strict=True,
        )

    @abstractmethod
    def float(self, shape: Float) -> CoreSchema: ...

    @abstractmethod
    def bytes(self, shape: Bytes) -> CoreSchema: ...

    @abstractmethod
    def date(self) -> CoreSchema: ...

    @abstractmethod
    def datetime(self) -> CoreSchema: ...

    @abstractmethod
    def chosen(self, value: Scalar) -> Scalar: ...

    @abstractmethod
    def enum(self, choice: EnumChoice) -> CoreSchema: ...

    @abstractmethod
    def record(self, record: Record) -> CoreSchema: ...

    @abstractmethod
    def chooser(self, union: Union) -> Callable[[Any], int | None]: ...


def _reference_to(record: Record) -> str:
    return f"{record.name}:{id(record)}"


class _Reader(_Builder):
    def float(self, shape: Float) -> CoreSchema:
        return core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(shape.range))

    def bytes(self, shape: Bytes) -> CoreSchema:
        text = _read_with(read_base64)
        if not shape.is_object:
            return text
        holder = core_schema.typed_dict_schema(
            {"base64": core_schema.typed_dict_field(text)}, extra_behavior="forbid", strict=True
        )
        return core_schema.no_info_after_validator_function(_base64_value, holder)

    def date(self) -> CoreSchema:
        return _read_with(read_date)

    def datetime(self) -> CoreSchema:
        return _read_with(read_datetime)

    def chosen(self, value: Scalar) -> Scalar:
        return value

    def enum(self, choice: EnumChoice) -> CoreSchema:
        return _lookup({(type(member.value), member.value): member for member in choice.cls})

    def record(self, record: Record) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            _constructor(record), self.typed_dict(record, is_whole=False)
        )

    def chooser(self, union: Union) -> Callable[[Any], int | None]:
        return json_chooser(union)


class _Writer(_Builder):
    def __init__(self, *, takes_foreign: bool) -> None:
        super().__init__()
        self._takes_foreign = takes_foreign

    def schema(self, shape: Shape) -> CoreSchema:
        made = super().schema(shape)
        if not self._takes_foreign:
            return made
        return core_schema.no_info_before_validator_function(
            lambda value: plain_value(value, shape), made
        )

    def float(self, shape: Float) -> CoreSchema:
        number = core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(shape.range))
        exact = core_schema.no_info_before_validator_function(_require_exact, number)
        if shape.range == Range():
            return exact
        low = max((b for b in (shape.range.ge, shape.range.gt) if b is not None), default=None)
        high = min((b for b in (shape.range.le, shape.range.lt) if b is not None), default=None)
        return core_schema.no_info_after_validator_function(
            lambda value: BoundedFloat(value, low=low, high=high), exact
        )

    def bytes(self, shape: Bytes) -> CoreSchema:
        if not shape.is_object:
            return _converted(bytes, write_base64)
        return _converted(bytes, lambda value: {"base64": write_base64(value)})

    def date(self) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_write_date)

    def datetime(self) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_write_datetime)

    def chosen(self, value: Scalar) -> Scalar:
        return _plain_number(value)

    def enum(self, choice: EnumChoice) -> CoreSchema:
        return _member_writer(choice)

    def record(self, record: Record) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            _record_reader(record), self.typed_dict(record, is_whole=True)
        )

    def chooser(self, union: Union) -> Callable[[Any], int | None]:
        choose = python_chooser(union)

        def chosen(value: Any) -> int | None:
            index = choose(value)
            return _redefined(union, value) if index is None else index

        return chosen


def _bounds(range_: Range) -> dict[str, Any]:
    return {name: bound for name, bound in dataclasses.asdict(range_).items() if bound is not None}


def _mismatch() -> PydanticCustomError:
    """Return an error whose message is made from the shape: expected this, got that."""
    return PydanticCustomError("misfit", "misfit")


def _custom_error(message: str, kind: ProblemKind = "mismatch") -> PydanticCustomError:
    """Return an error with its own message."""
    return PydanticCustomError(CUSTOM_ERROR, "{message}", {"message": message, "kind": kind})


def _read_with(read: Callable[[str], Any]) -> CoreSchema:
    def apply(text: str) -> Any:
        try:
            return read(text)
        except ValueError as err:
            raise _mismatch() from err

    return core_schema.no_info_after_validator_function(apply, core_schema.str_schema(strict=True))


def _base64_value(holder: dict[str, Any]) -> Any:
    return holder["base64"]


def _lookup(table: dict[tuple[type[Any], Any], Any]) -> CoreSchema:
    """Return a schema that accepts only the JSON values in `table`: 1 is neither true nor 1.0."""
    for (kind, value), result in list(table.items()):
        if kind is float and value.is_integer():
            table.setdefault((int, int(value)), result)  # JSON may write a whole float as an int
    kinds = (bool, str, int, float)

    def choose(value: Any) -> Any:
        kind = next((kind for kind in kinds if isinstance(value, kind)), None)
        if kind is None or (kind, value) not in table:
            raise _mismatch()
        return table[kind, value]

    return core_schema.no_info_plain_validator_function(choose)


def _constructor(record: Record) -> Callable[[dict[str, Any]], Any]:
    cls: Any = record.cls
    kind = cls[record.arguments] if record.arguments else None

    def construct(values: dict[str, Any]) -> Any:
        try:
            made = cls(**values)
        except ConduitError:
            raise
        except Exception as err:  # a __post_init__ may raise anything
            raise _custom_error(f"{cls.__name__} refuses it: {_error_text(err)}", "raised") from err
        if kind is not None and hasattr(made, "__dict__"):
            # `Page[Item](...)` sets it too, though not on a frozen dataclass.
            object.__setattr__(made, "__orig_class__", kind)
        return made

    return construct


def _error_text(error: Exception) -> str:
    """Return the type and the text of a user's error, made safe to show and shortened."""
    # format_exception_only survives a broken __str__.
    text = " ".join("".join(format_exception_only(error)).split())
    return f"{plain(text[:MAX_ERROR_TEXT])}{'…' if len(text) > MAX_ERROR_TEXT else ''}"


def _record_reader(record: Record) -> Callable[[Any], dict[str, Any]]:
    names = [field.name for field in record.fields]
    is_known = _SameRecordCheck(record)

    def take(value: Any) -> dict[str, Any]:
        kind = cast("type[Any]", type(value))
        if kind is not record.cls and not is_known(kind):
            if type(value).__name__ == record.cls.__name__:
                message = f"expected {record.name}, got one of another class of that name"
                raise _custom_error(message, "redefined")
            raise _custom_error(f"expected {record.name}, got {describe_value(value)}")
        try:
            return {name: getattr(value, name) for name in names if hasattr(value, name)}
        except Exception as err:  # a property may raise anything
            raise _custom_error(
                f"{record.name} cannot be read: {_error_text(err)}", "raised"
            ) from err

    return take


def is_record_of(cls: type[Any], record: Record) -> bool:
    """Return whether `cls` is the class of `record`, or a redefinition of it with equal fields."""
    if cls is record.cls:
        return True
    if cls.__name__ != record.cls.__name__ or not dataclasses.is_dataclass(cls):
        return False
    kind: Any = cls
    try:
        return are_alike(
            read_dataclass(kind[record.arguments] if record.arguments else kind), record
        )
    except (SchemaError, TypeError):  # TypeError: it takes other type arguments
        return False


class _SameRecordCheck:
    """Checks whether a class defines the same record; cached until the class changes."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: WeakKeyDictionary[type[Any], tuple[object, bool]] = WeakKeyDictionary()

    def __call__(self, cls: type[Any]) -> bool:
        definition, is_alike = self._known.get(cls, (None, False))
        if definition is None or definition is not definition_of(cls):
            is_alike = is_record_of(cls, self._record)
            self._known[cls] = (definition_of(cls), is_alike)
        return is_alike


def is_member_of(value: Any, choice: EnumChoice) -> bool:
    """Return whether `value` is a member of the Enum, or the same member of a redefinition."""
    if isinstance(value, choice.cls):
        return True
    return (
        isinstance(value, Enum)
        and type(value).__name__ == choice.cls.__name__
        and (value.name, value.value) in choice.members
    )


def _redefined(union: Union, value: Any) -> int | None:
    """Return the index of the member whose class the class of `value` redefines."""
    kind = cast("type[Any]", type(value))
    for index, member in enumerate(union.members):
        is_record = isinstance(member, Record) and is_record_of(kind, member)
        if is_record or (isinstance(member, EnumChoice) and is_member_of(value, member)):
            return index
    return None


def _member_writer(choice: EnumChoice) -> CoreSchema:
    def write(member: Any) -> Scalar:
        if not is_member_of(member, choice):
            if type(member).__name__ == choice.cls.__name__:
                message = f"expected {choice.cls.__name__}, got a member of another Enum so named"
                raise _custom_error(message, "redefined")
            raise _mismatch()
        return _plain_number(member.value)

    return core_schema.no_info_plain_validator_function(write)


def _converted(kind: type[T], write: Callable[[T], Any]) -> CoreSchema:
    def apply(value: Any) -> Any:
        if not isinstance(value, kind):
            raise _mismatch()
        return write(value)

    return core_schema.no_info_plain_validator_function(apply)


def _write_date(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise _mismatch()
    return date.isoformat(value)


def _write_datetime(value: Any) -> str:
    if not isinstance(value, datetime) or value != value:  # NaT of pandas
        raise _mismatch()
    try:
        return write_datetime(value)
    except ValueError as err:
        raise _custom_error(
            "expected an aware datetime, got a naive one: give it a tzinfo, e.g. timezone.utc"
        ) from err
    except OverflowError as err:
        raise _custom_error(
            "expected a datetime that UTC can hold, with an offset of minutes"
        ) from err


def _require_exact(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            is_exact = int(float(value)) == value
        except OverflowError:
            is_exact = False
        if not is_exact:
            raise _custom_error(
                f"expected float, got {describe_value(value)}, which no float holds exactly"
            )
    return value


def _plain_number(value: Scalar) -> Scalar:
    """Return a whole float as an int: grammars write a fixed 2.0 as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
