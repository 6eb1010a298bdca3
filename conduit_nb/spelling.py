"""The word that was meant, for errors about one that nobody knows.

Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

LONGEST_WORD = 200  # nobody mistypes more, and comparing takes the square of it


# How other tools call what our words do.
OTHER_NAMES = {
    "check": "doctor",
    "delete": "terminate",
    "destroy": "terminate",
    "down": "terminate",
    "exit": "stop",
    "kill": "terminate",
    "list": "ps",
    "ls": "ps",
    "money": "cost",
    "price": "offerings",
    "quit": "stop",
    "remove": "terminate",
    "rm": "terminate",
    "run": "map",
    "spend": "cost",
    "status": "ps",
    "up": "deploy",
}


def closest(
    word: str,
    known: Iterable[str],
    *,
    cutoff: float = 0.6,
    most: int = 1,
    alike: Callable[[str], str] | None = None,
) -> list[str]:
    """Return what in `known` is most like `word`, the likest first, nothing where nothing is.

    `alike` gives what is compared of a word; without it case counts only where it decides.
    """
    if len(word) > LONGEST_WORD:
        return []
    names = sorted(known)
    found = [] if alike else difflib.get_close_matches(word, names, n=most, cutoff=cutoff)
    if not found:
        compared = alike or str.casefold
        by_form = {compared(name): name for name in reversed(names)}
        forms = difflib.get_close_matches(compared(word), by_form, n=most, cutoff=cutoff)
        found = [by_form[form] for form in forms]
    return found


def nearest(
    word: str,
    known: Iterable[str],
    *,
    then: str = "",
    cutoff: float = 0.6,
    most: int = 1,
    alike: Callable[[str], str] | None = None,
) -> str:
    """Return `did_you_mean` for the `closest` in `known`, if there is one, and `then`."""
    found = closest(word, known, cutoff=cutoff, most=most, alike=alike)
    return f"{did_you_mean(*found) if found else ''} {then}".strip()


def did_you_mean(*names: str) -> str:
    """Return the question whether one of `names` was meant, as every hint asks it."""
    return f"Did you mean {' or '.join(names)}?"


def command_meant(word: str, known: Iterable[str]) -> str | None:
    """Return the command that was meant: one of `known`, or what other tools call so."""
    found = closest(word, {*known, *OTHER_NAMES})
    return OTHER_NAMES.get(found[0], found[0]) if found else None
