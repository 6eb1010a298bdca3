"""Text of models, rows, servers and files that wants to be more than text, or is far too long."""

from __future__ import annotations

HOSTILE = {
    "script": "<script>window.harmed = 'script'</script>",
    "handler": '<img src="nowhere" onerror="window.harmed = \'img\'">',
    "drawing": "<svg onload=\"window.harmed = 'svg'\"></svg>",
    "frame": '"><iframe srcdoc="<script>parent.harmed = 1</script>"></iframe>',
    "link": "<a href=\"javascript:window.harmed='link'\">all is well</a>",
    "data": '<a href="data:text/html,<script>1</script>">here</a>',
    "style": "<style>body { display: none }</style></pre></table></div></details>",
    "terminal": "\x1b[31mred\x1b[0m \x1b]8;;javascript:1\x07link\x1b]8;;\x07 \x1b[2J\x9b1A",
    "direction": "\u202egnp.exe \u2066and back\u2069",
    "formula": "${window.harmed = 1} {{ 7 * 7 }} $$\\href{javascript:window.harmed=1}{x}$$",
    "nothing": "nul\x00bell\x07 \ud800 half",
    "long": "<b>" * 1_700_000,  # one line of 5 MB
}
