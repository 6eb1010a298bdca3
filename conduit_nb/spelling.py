"""The word that was meant, for errors about one that nobody knows.

Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

LONGEST_WORD = 200  # nobody mistypes more, and comparing takes the square of it


def nearest(
    word: str,
    known: Iterable[str],
    *,
    then: str = "",
    cutoff: float = 0.6,
    most: int = 1,
    alike: Callable[[str], str] | None = None,
) -> str:
    """Return "Did you mean …?" for what in `known` is most like `word`, if any, and `then`.

    `alike` gives what is compared of a word; without it case counts only where it decides.
    """
    if len(word) > LONGEST_WORD:
        return then
    names = sorted(known)
    found = [] if alike else difflib.get_close_matches(word, names, n=most, cutoff=cutoff)
    if not found:
        compared = alike or str.casefold
        by_form = {compared(name): name for name in reversed(names)}
        forms = difflib.get_close_matches(compared(word), by_form, n=most, cutoff=cutoff)
        found = [by_form[form] for form in forms]
    meant = f"Did you mean {' or '.join(found)}?" if found else ""
    return f"{meant} {then}".strip()
