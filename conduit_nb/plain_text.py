"""Text of others, made safe to show: what it holds is seen, not obeyed.

Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import re

# Control characters (but for line ends and tabs), halves of characters, and the marks that make
# text read otherwise than it is written.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def plain(text: str) -> str:
    """Return text whose control characters and direction marks are seen instead of obeyed.

    A message may hold what a model, a server or a file says. `extension/src/shared/text.ts` does
    the same in the browser.
    """
    return _UNSEEN.sub("\ufffd", text)
