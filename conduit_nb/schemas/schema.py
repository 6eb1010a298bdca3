"""The compiled schema of a dataclass: shapes, MDL, JSON Schema, codec, and the prompt for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast, get_args, get_origin

from conduit_nb.displayed import Displayed
from conduit_nb.errors import ArgumentError, Problem, SchemaError, ValidationError
from conduit_nb.schemas.annotations import Stamp, read_dataclass
from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.codec import Codec
from conduit_nb.schemas.formats import plain_value
from conduit_nb.schemas.json_schema import to_json_schema
from conduit_nb.schemas.mdl import to_mdl
from conduit_nb.schemas.problems import long_numbers
from conduit_nb.schemas.reader import JsonReader, with_renamed_repeats, without_repeats
from conduit_nb.schemas.refusals import not_a_record
from conduit_nb.schemas.shapes import Bytes, EnumChoice, Record, Shape, are_alike, walk

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")

_CACHE = "__conduit_schemas__"


class Schema(Displayed, Generic[T]):
    """The schema of a dataclass. Made once by `schema_of`; immutable and thread-safe."""

    def __init__(self, record: Record) -> None:
        """Compile `record`. Raises SchemaError."""
        self.shape = record
        self._stamp = Stamp.of(_classes(record))
        self._codec = Codec(record)

    def __repr__(self) -> str:
        return f"Schema({self.name})"

    @property
    def is_current(self) -> bool:
        """Whether none of its classes was changed or redefined since it was made."""
        return self._stamp.is_current

    def is_like(self, other: Schema[Any]) -> bool:
        """Return whether both accept the same records and read the same to a model."""
        return are_alike(self.shape, other.shape) and (
            (self.mdl, self.instruction) == (other.mdl, other.instruction)
        )

    @property
    def cls(self) -> type[T]:
        """The dataclass; of a generic one the class without its arguments."""
        return self.shape.cls

    @property
    def kind(self) -> type[T]:
        """The dataclass; of a generic one with its arguments (`Page[Item]`)."""
        cls: Any = self.shape.cls
        return cls[self.shape.arguments] if self.shape.arguments else cls

    @property
    def name(self) -> str:
        """The name of the class, with type arguments."""
        return self.shape.name

    @property
    def instruction(self) -> str:
        """The docstring that the user wrote at the class, or ""."""
        return self.shape.doc

    @cached_property
    def fields(self) -> dict[str, Shape]:
        """The shape of every field, in order."""
        return {field.name: field.shape for field in self.shape.fields}

    @cached_property
    def mdl(self) -> str:
        """The schema as MDL."""
        return to_mdl(self.shape)

    @property
    def json_schema(self) -> dict[str, Any]:
        """The schema as a JSON Schema; a copy of your own."""
        return copy.deepcopy(self._json_schema)

    @cached_property
    def _json_schema(self) -> dict[str, Any]:
        return to_json_schema(self.shape)

    @cached_property
    def _completer(self) -> Completer:
        return Completer(self._json_schema)

    def encode(self, record: T) -> str:
        """Return `record` as compact JSON, with every field. Raises ValidationError."""
        return self._codec.write(record)

    def decode(self, text: str) -> T:
        """Return the record that `text` holds. Raises ValidationError, with all problems."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users do
            raise ArgumentError(
                f"decode takes JSON as a str, not {type(text).__name__}.",
                hint="Decode bytes first: text.decode('utf-8').",
            )
        return cast("T", self._codec.read(text))

    def close(self, text: str) -> T | None:
        """Complete JSON that was cut off; return the shortest record that begins like `text`.

        Of a duplicate key, which grammars let a model write, the first value is used; where that
        leaves too few keys, the others are renamed. Return None where the text does not fit or
        cannot be completed.
        """
        reader = JsonReader()
        reader.feed(text)
        if not reader.repeats:
            return self._closed(text, reader)
        record = self._closed(without_repeats(text))
        return self._closed(with_renamed_repeats(text)) if record is None else record

    def _closed(self, text: str, reader: JsonReader | None = None) -> T | None:
        if reader is None:
            reader = JsonReader()
            reader.feed(text)
        try:
            closing = self._completer.closing_of(reader)
            return None if closing is None else self.decode(text + closing.decode())
        except (SchemaError, ValidationError):
            return None

    def validate(self, record: T) -> None:
        """Raise ValidationError, with all problems, where `record` does not fit."""
        self._codec.write(record)

    def to_jsonable(self, record: T) -> dict[str, Any]:
        """Return `record` as JSON values. Raises ValidationError."""
        return self._codec.to_json_values(record)

    def from_jsonable(self, value: Any) -> T:
        """Return the record that JSON values stand for. Raises ValidationError."""
        try:
            text = json.dumps(value, ensure_ascii=False, default=_plain)
        except RecursionError as err:
            problem = Problem(path="$", message="not JSON: it nests too deep", kind="too_deep")
            raise ValidationError((problem,), subject="value") from err
        except (TypeError, ValueError) as err:
            problem = Problem(path="$", message=f"not JSON: {err}", kind="not_json")
            problems = long_numbers(value) if "digits" in str(err) else ()
            raise ValidationError(problems or (problem,), subject="value") from err
        return self.decode(text)

    def require_model_output(self) -> None:
        """Raise SchemaError where the record has no fields, or fields that a model cannot write."""
        if not self.fields:
            raise SchemaError(
                f"{self.name} has no fields, so that there is nothing to write",
                hint="A field has a colon: write `is_urgent: bool`, not `is_urgent = True`.",
            )
        for path, shape, _ in walk(self.shape):
            if isinstance(shape, Bytes):
                raise SchemaError(
                    "a model cannot write bytes",
                    path=path,
                    hint="Let the model write text (str) and make the bytes from it in Python.",
                )


def _plain(value: Any) -> Any:
    """Convert a value of numpy or pandas: the `default` hook of json.dumps."""
    plain: object = plain_value(value)
    if plain is value or not isinstance(plain, str | int | float | list | None):
        raise TypeError(f"a {type(value).__name__} is not JSON")
    return cast("Any", plain)


def schema_of(cls: type[T], *, namespace: Mapping[str, Any] | None = None) -> Schema[T]:
    """Return the schema of a dataclass or of a generic one with arguments (`Page[Item]`).

    It is cached on the class, and made again when one of its classes was changed or redefined.
    String hints may use names of the class's module or function, and those in `namespace`. Raises
    SchemaError.
    """
    origin: Any = get_origin(cls) or cls
    arguments = get_args(cls)
    kept: _SchemaCache | None = vars(origin).get(_CACHE) if isinstance(origin, type) else None
    if kept is not None and arguments in kept and kept[arguments].is_current:
        return kept[arguments]
    try:
        schema: Schema[T] = Schema(read_dataclass(cls, namespace))
    except RecursionError as err:
        raise SchemaError(
            "nests too deep to be read from so deep in a program",
            hint="Make the schema nearer to the beginning, or nest fewer dataclasses.",
        ) from err
    if kept is None:
        kept = _SchemaCache()
        setattr(origin, _CACHE, kept)
    kept[arguments] = schema
    for _, shape, _ in walk(schema.shape):
        if isinstance(shape, Record) and shape.arguments and _loses_type_arguments(shape.cls):
            schema_of(cast("Any", shape.cls)[shape.arguments])  # schema_of_record tries it
    return schema


def _classes(record: Record) -> list[type[Any]]:
    """Return every dataclass and Enum of a schema and their base classes, without duplicates."""
    shapes = (shape for _, shape, is_new in walk(record) if is_new)
    found = [shape.cls for shape in shapes if isinstance(shape, Record | EnumChoice)]
    bases = [base for cls in found for base in cls.__mro__[1:] if is_dataclass(base)]
    return list(dict.fromkeys([*found, *bases]))


class _SchemaCache(dict[Any, Schema[Any]]):
    """The schemas of one class, by type arguments. Pickled as empty."""

    def __reduce__(self) -> tuple[type[_SchemaCache], tuple[()]]:
        return (_SchemaCache, ())


def schema_of_record(record: T) -> Schema[T]:
    """Return the schema of the class of `record`, with its type arguments (`Page[Item]`).

    Python does not store the arguments in a frozen or slotted record: for these, the schemas made
    for its class are tried, the newest first.
    """
    cls = cast("type[Any]", type(record))
    if isinstance(record, type) or not is_dataclass(cls):
        raise not_a_record(record)
    kind = getattr(record, "__orig_class__", None)
    if kind is None and _loses_type_arguments(cls):
        kept = cast("_SchemaCache", vars(cls).get(_CACHE, _SchemaCache()))
        for schema in reversed(kept.values()):
            with suppress(ValidationError):
                schema.validate(record)
                return schema
    return schema_of(kind or cls)


def kind_of_record(record: T) -> type[T]:
    """Return the class of `record`, with its type arguments (`Page[Item]`)."""
    return schema_of_record(record).kind


def _loses_type_arguments(cls: type[Any]) -> bool:
    is_generic = is_dataclass(cls) and bool(getattr(cls, "__parameters__", ()))
    is_frozen = is_generic and vars(cls)["__dataclass_params__"].frozen
    return is_generic and (is_frozen or cls.__dictoffset__ == 0)


def prompt_messages(
    *,
    instruction: str,
    input: Schema[In] | None,  # noqa: A002  # the name that blocks use
    output: Schema[Out],
    record: In,
    examples: Sequence[tuple[In, Out]] = (),
) -> list[dict[str, Any]]:
    """Return the chat messages that ask a model for a record of `output`.

    The system message has the instruction and the types as MDL; the examples follow as turns, then
    `record` as JSON. Where `input` is None, the record is plain text. Raises ValidationError where
    a record or an example does not fit its schema, SchemaError where a model cannot write the
    output.
    """
    output.require_model_output()
    messages = [{"role": "system", "content": _system_message(instruction, input, output)}]
    for question, answer in examples:
        messages.append({"role": "user", "content": _user_message(input, question)})
        messages.append({"role": "assistant", "content": output.encode(answer)})
    messages.append({"role": "user", "content": _user_message(input, record)})
    return messages


def _system_message(instruction: str, input_: Schema[Any] | None, output: Schema[Any]) -> str:
    parts = [instruction.strip()] if instruction.strip() else []
    if input_ is not None:
        about = f" {' '.join(input_.instruction.split())}" if input_.instruction else ""
        parts.append(f"Input:{about}\n{input_.mdl}")
    parts.append(f"Output (JSON):\n{output.mdl}")
    return "\n\n".join(parts)


def _user_message(input_: Schema[Any] | None, record: Any) -> str:
    if input_ is not None:
        return input_.encode(record)
    if not isinstance(record, str):
        raise ArgumentError(
            f"Without an input schema the record is a str, not {type(record).__name__}.",
            hint="Pass a dataclass record, or text.",
        )
    return record
