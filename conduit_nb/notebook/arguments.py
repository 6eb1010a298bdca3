"""What may stand on a magic's line, and how a line becomes arguments.

Every mistake is an ArgumentError, never IPython's UsageError: that one is printed without failing
the cell, so a notebook under test would pass with it.
Layer 7.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from IPython.core.magic_arguments import MagicArgumentParser

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.expressions import users_names
from conduit_nb.spelling import nearest

_VARIABLE = re.compile(r"((?:--[\w-]+=)?)\{([^\W\d]\w*)\}")
BRACKETS = {"(": ")", "[": "]", "{": "}"}


class Asking(list[str]):
    """Tokens that ask a command for its parser instead of its work: see `parser_of`."""


class ParserFound(Exception):  # noqa: N818  # no error: the answer to Asking
    """Carries a command's parser to whoever asked for it."""

    def __init__(self, parser: MagicParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


def parser_of(command: Callable[..., object], shell: object) -> MagicParser | None:
    """Return the parser of a word's command: its line is the first thing that a command reads."""
    try:
        command(shell, Asking(), "")
    except ParserFound as found:
        return found.parser
    return None


class MagicParser(MagicArgumentParser):
    """An argument parser whose every mistake is an ArgumentError that says how it is written."""

    def __init__(self, prog: str, *, usage: str) -> None:
        self.actions: list[argparse.Action] = []
        super().__init__(prog, usage=usage)  # pyright: ignore[reportUnknownMemberType]  # IPython has no types here
        self.allow_abbrev = False
        self.long_options: list[str] = []

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument and remember it, for completion."""
        action = super().add_argument(*names, **settings)
        self.actions.append(action)
        return action

    def option(self, *names: str, **settings: Any) -> None:
        """Add an option; it is among those that a mistyped one is compared with."""
        self.add_argument(*names, **settings)
        self.long_options += [name for name in names if name.startswith("--")]

    def parse_line(self, tokens: Sequence[str]) -> argparse.Namespace:
        """Return the arguments that `tokens` stand for."""
        if isinstance(tokens, Asking):
            raise ParserFound(self)
        arguments, unknown = self.parse_known_args(list(tokens))
        if unknown:
            self._refuse(unknown[0], tokens)
        return arguments

    def error(self, message: str) -> NoReturn:
        param = self._at_fault(message)
        message = re.sub(r"^argument (\S+): takes ", r"\1 takes ", message)
        wrong = re.match(r"argument \S+: invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        near = nearest(wrong[1], re.findall(r"[^\s,']+", wrong[2])) if wrong else ""
        raise ArgumentError(f"{self.prog}: {message}.", param=param, hint=near or self._how())

    def _at_fault(self, message: str) -> str | None:
        """Return the name in Python of the one argument that argparse complains about."""
        found = re.match(r"argument (\S+): |the following .* required: (\S+)$", message)
        written = (found[1] or found[2]) if found else ""
        for action in self.actions:
            if written and written in (
                "/".join(action.option_strings),
                action.metavar,
                action.dest,
            ):
                return action.dest
        return None

    def _refuse(self, token: str, tokens: Sequence[str]) -> NoReturn:
        if token.startswith("-"):
            name = token.partition("=")[0]
            raise ArgumentError(
                f"{self.prog} has no option {name}.",
                hint=nearest(name, self.long_options) or self._how(),
            )
        raise ArgumentError(
            f"{self.prog}: {token!r} is one argument too many.",
            hint=self._parted(token, tokens) or self._how(),
        )

    def _parted(self, token: str, tokens: Sequence[str]) -> str:
        """Return the cure where blanks have parted the value of the option just before `token`."""
        at = tokens.index(token) if token in tokens else 0
        flag, value = tokens[at - 2 : at] if at >= 2 else ("", "")
        option = next((one for one in self.actions if flag in one.option_strings), None)
        if option is None or option.nargs == 0:
            return ""
        if "," in str(option.metavar):
            return (
                f"Write its values with commas and without blanks, {flag} {option.metavar}; one "
                "that has blanks itself in quotes."
            )
        return f'Put a value that has blanks into quotes: {flag} "{value} {token}".'

    def _how(self) -> str:
        return f"Write it as: {self.usage}; see %conduit help {self.prog.split()[-1]}."


def add_model_options(parser: MagicParser) -> None:
    """Add the options that say which model answers, and where it runs."""
    parser.option("--model", metavar="ID")
    parser.option("--revision", metavar="R")
    parser.option("--runtime", metavar="NAME", default="lmlite")
    parser.option("--provider", metavar="NAME", default="local")
    parser.option("--gpu", metavar="NAME")
    parser.option("--gpu-count", metavar="N", type=at_least_one)
    parser.option("--tensor-parallel", metavar="N", type=at_least_one, default=1)
    parser.option("--replicas", metavar="N|N-N", type=_replicas, default=1)
    parser.option("--image", metavar="NAME")
    parser.option("--max-usd", metavar="X", type=not_negative)
    parser.option("--endpoint", metavar="URL")
    parser.option("--api-key-env", metavar="VARIABLE")
    parser.option("--max-model-len", metavar="TOKENS", type=at_least_one)
    parser.option("--max-concurrency", metavar="N", type=at_least_one)
    parser.option("--max-tokens", metavar="TOKENS", type=at_least_one)
    parser.option("--temperature", metavar="T", type=not_negative, default=0.0)
    parser.option("--seed", metavar="N", type=whole_number)
    parser.option("--examples", metavar="PAIRS")
    parser.option("--on-length", metavar="error|keep", choices=("error", "keep"), default="error")
    parser.option("--confidence", action="store_true")


def count(text: str) -> int:
    """Read a whole number from 0 up."""
    value = whole_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def split_line(line: str) -> list[str]:
    """Split at blanks that stand in no quotes and no brackets.

    `df[df.stars > 3]` is one argument; quotes around a whole argument or option value are taken
    off, others are kept: `"a b"`, `--model="a b"`, `text="Review Text",stars`.
    """
    _refuse_comment(line)
    return [_without_quotes(token) for token in split_outside(line, str.isspace) if token]


def with_values(tokens: Sequence[str], namespace: Mapping[str, object]) -> list[str]:
    """Put the values of variables where a whole argument is `{name}`, as IPython's magics do.

    Nothing else is expanded: braces elsewhere are Python, or stand in a command for a port.
    """
    expanded: list[str] = []
    for token in tokens:
        found = _VARIABLE.fullmatch(token)
        expanded.append(f"{found[1]}{_value_of(found[2], namespace)}" if found else token)
    return expanded


def _value_of(name: str, namespace: Mapping[str, object]) -> str:
    value = namespace.get(name)
    if isinstance(value, str | int | float | Path):
        return str(value)
    if name in namespace:
        raise ArgumentError(
            f"{{{name}}} is a {type(value).__name__}, and no text that could stand here.",
            hint="Give a variable that holds a text or a number.",
        )
    raise ArgumentError(
        f"{{{name}}}: there is no variable {name}.",
        hint=nearest(name, users_names(namespace)) or "Define it in a cell above.",
    )


def split_outside(text: str, is_separator: Callable[[str], bool]) -> list[str]:
    """Split at separators that stand in no quotes and no brackets."""
    parts: list[str] = []
    part = quote = ""
    closing: list[str] = []
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in BRACKETS:
            closing.append(BRACKETS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif is_separator(character) and not closing:
            parts.append(part)
            part = ""
            continue
        part += character
    if quote or closing:
        missing = quote or closing[-1]
        raise ArgumentError(
            f"{text.strip()!r} ends inside {'quotes' if quote else 'a bracket'}.",
            hint=f"Close it with {missing} or put the whole argument into the other quotes.",
        )
    return [*parts, part]


def _refuse_comment(line: str) -> None:
    for found in re.finditer(r"(?:^|\s)#", line):
        try:
            split_outside(line[: found.start()], str.isspace)
        except ArgumentError:  # this one stands in quotes or brackets
            continue
        raise ArgumentError(
            f"A comment cannot stand on a magic's line: {line[found.start() :].strip()!r}.",
            hint="Put it on a line of its own, in the cell's body or in another cell.",
        )


def _without_quotes(token: str) -> str:
    if token.startswith("--") and "=" in token:
        name, _, value = token.partition("=")
        return f"{name}={_without_quotes(value)}"
    quoted = len(token) >= 2 and token[0] in "\"'" and token[-1] == token[0]
    return token[1:-1] if quoted and token[0] not in token[1:-1] else token


def whole_number(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}") from None


def number(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a number, not {text!r}") from None


def at_least_one(text: str) -> int:
    """Read a whole number from 1 up."""
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _replicas(text: str) -> int | tuple[int, int]:
    """Read a number of replicas, or the least and the most: 2, 1-4."""
    least, dash, most = text.partition("-")
    return (at_least_one(least), at_least_one(most)) if dash else at_least_one(least)


def not_negative(text: str) -> float:
    """Read a number from 0 up."""
    value = number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return value
