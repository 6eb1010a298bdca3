"""Records to JSON text and back, strictly: what does not fit is an error, never a guess.

Two pydantic_core validators are made from the shapes: one reads JSON text into records, the
other takes records apart into JSON values and finds whatever was changed after their making.
Both look at everything and report all problems at once, with paths. Layer 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from json.encoder import encode_basestring
from typing import Any, cast

from pydantic_core import SchemaError as CoreSchemaError
from pydantic_core import SchemaValidator
from pydantic_core import ValidationError as CoreValidationError

from conduit_nb.errors import Problem, SchemaError, ValidationError
from conduit_nb.schemas.formats import write_float
from conduit_nb.schemas.plain_values import is_foreign
from conduit_nb.schemas.problems import found, to_path, to_problems
from conduit_nb.schemas.reader import JsonReader
from conduit_nb.schemas.shapes import Record, Str, walk
from conduit_nb.schemas.validators import json_reader, record_writer, value_writer

MAX_DEPTH = 200
"""How deep lists, dicts and records nest in one text; JSON readers stop soon after."""


class Codec:
    """Reads and writes the records of one schema."""

    def __init__(self, root: Record) -> None:
        """Build both validators. Raises SchemaError where a pattern or a default cannot be."""
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
                said = str(errors[0].get("ctx", {}).get("error", ""))
                problems = tuple(replace(one, path=_place_of(text, one, said)) for one in problems)
                raise ValidationError(problems, subject="text", text=text) from err
        problems += duplicate_keys(text)
        if problems:
            raise ValidationError(problems, subject="text", text=text)
        return record

    def take_apart(self, record: Any) -> Any:
        """Return `record` as JSON values, checked. Raises ValidationError."""
        return self._checked(record)[0]

    def write(self, record: Any) -> str:
        """Return `record` as compact JSON, checked. Raises ValidationError."""
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
        except ValueError as err:  # Python writes no more digits than sys says
            raise ValidationError(long_numbers(value), subject=self._root.name) from err
        if text is None:
            message = f"nests deeper than {MAX_DEPTH} levels"
            problem = Problem(path="$", message=message, kind="too_deep")
            raise ValidationError((problem,), subject=self._root.name)
        if not text.isascii() and (surrogates := tuple(_surrogates(value, []))):
            raise ValidationError(surrogates, subject=self._root.name)
        return value, text


def json_text(value: Any, depth: int = 0) -> str | None:
    """Return JSON values as compact text, or None where they nest deeper than MAX_DEPTH.

    Numbers have no exponent and DEL is escaped, because that is what grammars know.
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
    """Return a problem for every key that stands twice in one object of a valid JSON text."""
    try:
        _ONE_OF_EACH.decode(text)
    except _DoubledError:
        return _doubled(text)
    return ()


class _DoubledError(Exception):
    """A key stands twice in one object."""


def _one_of_each(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _DoubledError


# Numbers are not looked at: float takes digits without end.
_ONE_OF_EACH = json.JSONDecoder(object_pairs_hook=_one_of_each, parse_int=float)


def _doubled(text: str) -> tuple[Problem, ...]:
    doubled: dict[int, tuple[dict[str, Any], list[str]]] = {}  # the value stays alive, and its id

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            doubled[id(value)] = (value, [key for key, count in counts.items() if count > 1])
        return value

    whole = json.loads(text, object_pairs_hook=to_object, parse_int=float)
    return tuple(
        Problem(
            path=to_path([*keys, key]), message="the key stands there twice", kind="duplicate_key"
        )
        for keys, value in _objects(whole, [])
        if id(value) in doubled
        for key in doubled[id(value)][1]
    )


def _objects(value: Any, keys: list[str | int]) -> list[tuple[list[str | int], Any]]:
    found_: list[tuple[list[str | int], Any]] = []
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        found_.append((keys, items))
        for key, item in items.items():
            found_ += _objects(item, [*keys, key])
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            found_ += _objects(item, [*keys, index])
    return found_


def _place_of(text: str, problem: Problem, said: str) -> str:
    """Return where in its values a text stops being JSON, for what JSON writers do write.

    Numbers of many digits, of which the parser `said` so, and halves of characters have a place;
    for other mistakes the column that the message names says more.
    """
    half = _HALF.search(text)
    long = _LONG_NUMBER.search(text) if "number" in said else None
    mistake = long or half
    if mistake is None:
        return problem.path
    reader = JsonReader()
    reader.feed(text[: mistake.start() + 1])
    return to_path(reader.place)


_LONG_NUMBER = re.compile(r"[0-9]{4000}")
_HALF = re.compile(
    r"(?<!\\)(?:\\\\)*\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F])|[\ud800-\udfff]"
)


def long_numbers(value: Any) -> tuple[Problem, ...]:
    """Return a problem for each whole number that has more digits than Python writes."""
    return tuple(_long_numbers(value, []))


def _long_numbers(value: Any, keys: list[str | int]) -> Iterator[Problem]:
    match value:
        case int():
            try:
                int.__repr__(value)
            except ValueError:
                most = sys.get_int_max_str_digits()
                message = f"{found(value)}, and no more than {most:,} are written"
                yield Problem(path=to_path(keys), message=message, kind="not_json")
        case list():
            for index, item in enumerate(cast("list[Any]", value)):
                yield from _long_numbers(item, [*keys, index])
        case dict():
            for key, item in cast("dict[str, Any]", value).items():
                yield from _long_numbers(item, [*keys, key])
        case _:
            pass


def _surrogates(value: Any, keys: list[str | int]) -> list[Problem]:
    match value:
        case str():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                message = "holds a lone surrogate, which JSON text cannot carry"
                return [Problem(path=to_path(keys), message=message, kind="not_json")]
            return []
        case list():
            items = enumerate(cast("list[Any]", value))
            return [one for index, item in items for one in _surrogates(item, [*keys, index])]
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return [
                one
                for key, item in pairs
                for one in (*_surrogates(key, [*keys, key]), *_surrogates(item, [*keys, key]))
            ]
        case _:
            return []


def _check_defaults(root: Record) -> None:
    """Refuse a default that is not of the field's own type."""
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
    """Return which pattern the validator cannot be built with."""
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
