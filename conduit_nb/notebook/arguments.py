"""How a magic's line becomes words: quotes, brackets, and variables in braces.

Every mistake is an ArgumentError, never IPython's UsageError: that one is printed without failing
the cell, so a notebook under test would pass with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.expressions import users_names
from conduit_nb.spelling import nearest

_VARIABLE = re.compile(r"((?:--[\w-]+=)?)\{([^\W\d]\w*)\}")
BRACKETS = {"(": ")", "[": "]", "{": "}"}


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
