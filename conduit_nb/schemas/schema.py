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

_CACHE = "__conduit_schemas__"
In = TypeVar("In")
Out = TypeVar("Out")


class Schema(Displayed, Generic[T]):
    """What a dataclass means: made once by `schema_of`, then cheap to use from any thread."""

    def __init__(self, record: Record) -> None:
        """Compile `record`. Raises SchemaError."""
        self.shape = record
        self._stamp = Stamp.of(_classes(record))
        self._codec = Codec(record)

    def __repr__(self) -> str:
        return f"Schema({self.name})"

    @property
    def is_current(self) -> bool:
        """Whether no class that it reaches was changed or defined again since it was made."""
        return self._stamp.is_current

    def is_like(self, other: Schema[Any]) -> bool:
        """Say whether both mean the same to a model and take the same records."""
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
        """Return the shortest record that begins like `text`, which was cut somewhere.

        Of a key that stands twice in an object, which grammars let a model write, the first value
        is taken (where that leaves too few, the others get keys of their own). None where there is
        none: the text does not fit, or cannot be told how to end.
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
        """Raise ValidationError, with all problems, where `record` does not fit (any more)."""
        self._codec.write(record)

    def to_jsonable(self, record: T) -> dict[str, Any]:
        """Return `record` as JSON values. Raises ValidationError."""
        return self._codec.take_apart(record)

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
        """Raise SchemaError where a model could not write such a record, or would write nothing."""
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
    """Return the plain value for one of numpy or pandas, as json asks for it."""
    plain: object = plain_value(value)
    if plain is value or not isinstance(plain, str | int | float | list | None):
        raise TypeError(f"a {type(value).__name__} is not JSON")
    return cast("Any", plain)


def schema_of(cls: type[T], *, namespace: Mapping[str, Any] | None = None) -> Schema[T]:
    """Return the schema of a dataclass or of a generic one with arguments (`Page[Item]`).

    It is kept with the class, so that asking again costs nothing, and made again when a class that
    it reaches was defined again or changed. String hints may name what the class's module or
    function knows, or what stands in `namespace`. Raises SchemaError.
    """
    origin: Any = get_origin(cls) or cls
    arguments = get_args(cls)
    kept: _Kept | None = vars(origin).get(_CACHE) if isinstance(origin, type) else None
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
        kept = _Kept()
        setattr(origin, _CACHE, kept)
    kept[arguments] = schema
    for _, shape, _ in walk(schema.shape):
        if isinstance(shape, Record) and shape.arguments and _forgets_arguments(shape.cls):
            schema_of(cast("Any", shape.cls)[shape.arguments])  # schema_of_record tries it
    return schema


def _classes(record: Record) -> list[type[Any]]:
    """Return every dataclass and Enum of a schema, and what they derive from, each once."""
    shapes = (shape for _, shape, is_new in walk(record) if is_new)
    found = [shape.cls for shape in shapes if isinstance(shape, Record | EnumChoice)]
    bases = [base for cls in found for base in cls.__mro__[1:] if is_dataclass(base)]
    return list(dict.fromkeys([*found, *bases]))


class _Kept(dict[Any, Schema[Any]]):
    """The schemas of one class, by type arguments. A class that is pickled leaves them behind."""

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return (_Kept, ())


def schema_of_record(record: T) -> Schema[T]:
    """Return the schema of the class that `record` is of; of `Page[Item](...)` with arguments.

    Python does not keep the arguments with a frozen or slotted record: of these the schemas that
    were made of its class are tried, the last one first.
    """
    cls = cast("type[Any]", type(record))
    if isinstance(record, type) or not is_dataclass(cls):
        raise not_a_record(record)
    kind = getattr(record, "__orig_class__", None)
    if kind is None and _forgets_arguments(cls):
        kept = cast("_Kept", vars(cls).get(_CACHE, _Kept()))
        for schema in reversed(kept.values()):
            with suppress(ValidationError):
                schema.validate(record)
                return schema
    return schema_of(kind or cls)


def kind_of_record(record: T) -> type[T]:
    """Return the class that `record` is of; of a generic one with its arguments (`Page[Item]`)."""
    return schema_of_record(record).kind


def _forgets_arguments(cls: type[Any]) -> bool:
    is_generic = is_dataclass(cls) and bool(getattr(cls, "__parameters__", ()))
    is_frozen = is_generic and vars(cls)["__dataclass_params__"].frozen
    return is_generic and (is_frozen or cls.__dictoffset__ == 0)


def prompt_messages(
    *,
    instruction: str,
    input: Schema[In] | None,  # noqa: A002  # the word that blocks use for it
    output: Schema[Out],
    record: In,
    examples: Sequence[tuple[In, Out]] = (),
) -> list[dict[str, Any]]:
    """Return the chat: what to do and the types, the examples as turns, then `record`.

    Where `input` is None, the record is plain text. Raises ValidationError where a record or an
    example does not fit its schema, SchemaError where a model cannot write the output.
    """
    output.require_model_output()
    messages = [{"role": "system", "content": _system(instruction, input, output)}]
    for given, wanted in examples:
        messages.append({"role": "user", "content": _asked(input, given)})
        messages.append({"role": "assistant", "content": output.encode(wanted)})
    messages.append({"role": "user", "content": _asked(input, record)})
    return messages


def _system(instruction: str, input_: Schema[Any] | None, output: Schema[Any]) -> str:
    parts = [instruction.strip()] if instruction.strip() else []
    if input_ is not None:
        about = f" {' '.join(input_.instruction.split())}" if input_.instruction else ""
        parts.append(f"Input:{about}\n{input_.mdl}")
    parts.append(f"Output (JSON):\n{output.mdl}")
    return "\n\n".join(parts)


def _asked(input_: Schema[Any] | None, record: Any) -> str:
    if input_ is not None:
        return input_.encode(record)
    if not isinstance(record, str):
        raise ArgumentError(
            f"Without an input schema the record is a str, not {type(record).__name__}.",
            hint="Pass a dataclass record, or text.",
        )
    return record
