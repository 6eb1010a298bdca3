"""Options: declared once, as the fields of a dataclass, and read everywhere by the same rules.

A field made with `option(…)` says how it is written: on a command line, as a keyword in Python, in
a form, in JSON. Shell, cell, panel and HTTP are made from `options_of(kind)`, and all of them hand
what a user gave to `read_options`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, cast

from conduit_nb.errors import ArgumentError
from conduit_nb.spelling import nearest
from conduit_nb.units import require_hours, require_seconds, require_usd, require_within

T = TypeVar("T")

Kind = Literal[
    "text",
    "texts",
    "names",
    "count",
    "whole",
    "number",
    "usd",
    "hours",
    "seconds",
    "flag",
    "switch",
    "range",
    "command",
]
"""What a value is. text: one text. texts: the option may be repeated. names: texts with commas
between. count: a whole number from 1. whole: one from 0. number: a number from 0. usd, hours,
seconds: a number above 0. flag: yes or no. switch: yes, no or left open. range: a count, or "1-4"
for the smallest and the largest. command: a command line, or its words."""

UNITS: Mapping[Kind, str] = {"usd": "USD", "hours": "h", "seconds": "s"}
MAX_COUNT = 2**31 - 1
MAX_NUMBER = 1e12
MAX_TEXT = 4_000
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: `name` is its keyword in Python and its key in JSON.

    `aliases` are accepted instead of the name, also as flags; `any_word` is a text that stands for
    no value where the default is another one. `is_basic` options come first in help and forms.
    """

    name: str
    kind: Kind
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    aliases: tuple[str, ...] = ()
    any_word: str | None = None
    is_basic: bool = False
    is_required: bool = False
    """Whether a command line must have it."""
    written: str | None = None
    """The flag, where it is not made of the name."""
    short: str | None = None
    source: str | None = None
    """What Tab completes its value with, where that is not its name: see notebook/completion."""

    @property
    def flag(self) -> str:
        """Return `--max-model-len` for max_model_len."""
        return self.written or _flag(self.name)

    @property
    def flags(self) -> tuple[str, ...]:
        """Return every way to write it on a command line, its own first."""
        short = (self.short,) if self.short else ()
        return (*short, self.flag, *map(_flag, self.aliases))

    @property
    def negative_flag(self) -> str:
        """Return `--no-interruptible` for `--interruptible`."""
        return f"--no-{self.flag[2:]}"

    @property
    def units(self) -> str | None:
        """Return the unit of its number, None where it has none."""
        return UNITS.get(self.kind)

    @property
    def default_hint(self) -> str:
        """Return the hint of an error about a value, where there is no better one."""
        return f"Leave {self.name} out to get the default."

    def read(self, value: object) -> Any:
        """Return what a user gave, as text or typed, as the field's value; None is the default.

        Raises ArgumentError, with `param`, where it is not of the option's kind.
        """
        if value is None:
            return self.default
        if self.any_word is not None and value == self.any_word:
            return None
        try:
            return self._read(value)
        except ArgumentError as error:
            error.param = error.param or self.name
            raise

    def _read(self, value: object) -> Any:
        match self.kind:
            case "text":
                return self._chosen(self._text(value))
            case "texts" | "names":
                return self._texts(value)
            case "count":
                return self._whole(value, 1)
            case "whole":
                return self._whole(value, 0)
            case "number":
                return require_within(
                    self.name, self._number(value), 0, MAX_NUMBER, hint=self.default_hint
                )
            case "usd":
                return require_usd(self.name, self._number(value), hint=self.default_hint)
            case "hours":
                return require_hours(self.name, self._number(value), hint=self.default_hint)
            case "seconds":
                return require_seconds(self.name, self._number(value), hint=self.default_hint)
            case "flag" | "switch":
                return self._is_yes(value)
            case "range":
                return self._range(value)
            case "command":
                return self._command(value)

    def _text(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            raise self._error(value, "a text")
        return str(value)

    def _chosen(self, text: str) -> str:
        if self.choices and text not in self.choices:
            raise ArgumentError(
                f"{self.name} must be one of {', '.join(self.choices)} (got {text!r:.80}).",
                param=self.name,
                hint=nearest(text, self.choices) or self.default_hint,
            )
        return text

    def _texts(self, value: object) -> tuple[str, ...]:
        given: object = value
        if isinstance(value, str):
            given = value.split(",") if self.kind == "names" else [value]
        found = tuple(self._text(one).strip() for one in self._items(given, "a list of texts"))
        if not found:
            raise self._error(value, "at least one name")
        return found

    def _number(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return float(value)
        except ValueError:
            raise self._error(value, "a number") from None

    def _whole(self, value: object, minimum: int) -> int:
        number = self._number(value)
        if isinstance(number, float) and not number.is_integer():
            raise self._error(value, "a whole number")
        bounded = require_within(self.name, number, minimum, MAX_COUNT, hint=self.default_hint)
        return int(bounded)

    def _is_yes(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in YES | NO:
            return value.strip().lower() in YES
        raise self._error(value, "true or false")

    def _range(self, value: object) -> tuple[int, int]:
        """Read 2, "2", "1-4" or (1, 4)."""
        hint = f"Write {self.name} as 2, or as 1-4 for the smallest and the largest."
        given: Any = value
        ends: Sequence[object] = (given, given)
        if isinstance(given, str):
            low, dash, high = given.partition("-")
            ends = (low, high if dash else low)
        elif isinstance(given, tuple | list):
            ends = cast("Sequence[object]", given)
        try:
            first, last = (self._whole(end, 1) for end in ends)
        except (ArgumentError, ValueError):
            raise self._error(value, "a number from 1, or two of them", hint=hint) from None
        if first > last:
            raise self._error(value, "a smaller and a larger number, in that order", hint=hint)
        return first, last

    def _command(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            try:
                return tuple(shlex.split(value))
            except ValueError as err:
                raise ArgumentError(
                    f"{self.name} cannot be read: {err} (got {value!r:.200}).",
                    param=self.name,
                    hint="Close every quote.",
                ) from err
        expected = "a command line, or a list of its words"
        words = tuple(self._items(value, expected))
        if not all(isinstance(word, str) for word in words):
            raise self._error(words, expected)
        return cast("tuple[str, ...]", words)

    def _items(self, value: object, expected: str) -> Iterable[object]:
        given: Any = value
        if not isinstance(given, Iterable) or isinstance(given, Mapping | bytes):
            raise self._error(value, expected)
        return cast("Iterable[object]", given)

    def _error(self, value: object, expected: str, *, hint: str = "") -> ArgumentError:
        return ArgumentError(
            f"{self.name} must be {expected} (got {value!r:.80}).",
            param=self.name,
            hint=hint or self.default_hint,
        )


def option(
    default: T,
    help: str,  # noqa: A002  # the word that click has for it
    *,
    kind: Kind = "text",
    name: str = "",
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    any_word: str | None = None,
    is_basic: bool = False,
    is_required: bool = False,
    written: str | None = None,
    short: str | None = None,
    source: str | None = None,
) -> T:
    """Return a dataclass field that is an option; its `name` is the field's, unless one is given.

    With `any_word`, the field's None is written so.
    """
    declared = Option(
        name=name,
        kind=kind,
        help=help,
        metavar=metavar,
        choices=choices,
        default=default,
        aliases=aliases,
        any_word=any_word,
        is_basic=is_basic,
        is_required=is_required,
        written=written,
        short=short,
        source=source,
    )
    made: Any = dataclasses.field(default=default, metadata={"option": declared})
    return made


def options_in(kind: type) -> dict[str, Option]:
    """Return the options among the fields of a dataclass, by the field's name."""
    return {
        field.name: dataclasses.replace(declared, name=declared.name or field.name)
        for field in dataclasses.fields(kind)
        if isinstance(declared := field.metadata.get("option"), Option)
    }


@cache
def options_of(*kinds: type) -> tuple[Option, ...]:
    """Return the options of several dataclasses, in their order; one of two alike, the first."""
    found: dict[str, Option] = {}
    for kind in kinds:
        for one in options_in(kind).values():
            found.setdefault(one.name, one)
    return tuple(found.values())


def parse_options(kind: type[T], values: Mapping[str, object]) -> T:
    """Return the dataclass that a user's options stand for; what is left out has its default."""
    given = read_options(options_of(kind), values)
    return kind(
        **{name: given[one.name] for name, one in options_in(kind).items() if one.name in given}
    )


def read_options(
    options: Collection[Option], values: Mapping[str, object], *, others: Collection[str] = ()
) -> dict[str, Any]:
    """Return what was given, by the options' names; what was left out, or is None, is not in it.

    `others` are keys that somebody else reads. Raises ArgumentError for a key that is unknown or
    given twice, and for a value that is not of its option's kind.
    """
    by_key = {key: one for one in options for key in (one.name, *one.aliases)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in others:
            continue
        if key not in by_key:
            known = sorted({one.name for one in options} | set(others))
            raise ArgumentError(
                f"Unknown option: {key!r:.80}.",
                param=str(key)[:80],
                hint=nearest(str(key), known) or f"Options are: {', '.join(known)}.",
            )
        one = by_key[key]
        if value is None:
            continue
        if one.name in found:
            raise ArgumentError(
                f"{one.name} is given twice, also as {key}.",
                param=one.name,
                hint=f"Leave one of them out; {one.name} is its name.",
            )
        found[one.name] = one.read(value)
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
