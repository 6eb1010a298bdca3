"""plain_text.py: what text of others holds is seen, not obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conduit_nb.plain_text import plain

# The same table is held against the browser's side: extension/tests/shared/words.test.ts.
CASES = json.loads((Path(__file__).parent.parent / "extension/tests/words.json").read_text())


@pytest.mark.parametrize(("text", "said"), CASES["plain"])
def test_what_would_be_obeyed_is_seen_as_in_the_browser_and_all_else_stays(text: str, said: str):
    assert plain(text) == said
