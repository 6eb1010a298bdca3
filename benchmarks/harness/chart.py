"""A bar chart as SVG, written by hand: one bar a figure, a line where the peer stands.

Knows shapes and colours, not what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, RIGHT = 860, 330, 90
ROW, TOP, BOTTOM = 26, 56, 34
BAR = "#3b6ea5"
SLOWER = "#b5713b"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#444}.title{font-size:16px;font-weight:600}"
    ".range{stroke:#222;stroke-width:1.5;opacity:.55}.even{stroke:#888;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.range{stroke:#eee}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A ratio and its spread."""

    label: str
    least: float
    median: float
    greatest: float


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Return an SVG with a logarithmic axis, on which 2x and 0.5x are equally far from even."""
    lowest = min(0.5, *(bar.least for bar in bars))
    highest = max(2.0, *(bar.greatest for bar in bars))
    span = math.log(highest / lowest)

    def x(ratio: float) -> float:
        return LABELS + math.log(ratio / lowest) / span * (WIDTH - LABELS - RIGHT)

    height = TOP + ROW * len(bars) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="28">{escape(title)}</text>',
    ]
    for at, bar in enumerate(bars):
        top = TOP + ROW * at
        begin, end = sorted((x(1), x(bar.median)))
        middle = top + ROW / 2 - 3
        parts += [
            f'<text x="12" y="{top + 15}">{escape(bar.label)}</text>',
            f'<rect x="{begin:.1f}" y="{top}" width="{max(end - begin, 1):.1f}" height="{ROW - 6}"'
            f' fill="{BAR if bar.median >= 1 else SLOWER}"/>',
            f'<line class="range" x1="{x(bar.least):.1f}" x2="{x(bar.greatest):.1f}"'
            f' y1="{middle}" y2="{middle}"/>',
            f'<text x="{x(max(bar.greatest, 1)) + 8:.1f}" y="{top + 15}">{bar.median:.1f}x</text>',
        ]
    even = x(1)
    bottom = TOP + ROW * len(bars)
    parts += [
        f'<line class="even" x1="{even:.1f}" x2="{even:.1f}" y1="{TOP - 8}" y2="{bottom}"/>',
        f'<text x="{even:.1f}" y="{bottom + 20}" text-anchor="middle">as fast as the peer</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
