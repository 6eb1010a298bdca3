"""The word that was meant, for errors about one that nobody knows.

Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return "Did you mean …?" for the word in `known` that is most like `word`, else ""."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=cutoff)
    return f"Did you mean {found[0]}?" if found else ""
