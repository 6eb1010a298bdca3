"""Text of models, rows and servers that wants to be more than text: it stays text on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.openai_server import openai_server
from tests.ui.lab import LabPage

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

HOSTILE = (
    "<script>window.hacked = 'script'</script>",
    '<img src="nowhere" onerror="window.hacked = \'img\'">',
    "<svg onload=\"window.hacked = 'svg'\"></svg>",
    '"><iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>',
    "<a href=\"javascript:window.hacked='link'\">all is well</a>",
    '<a href="data:text/html,<script>1</script>">here</a>',
    "<style>body { display: none }</style></pre></table></div>",
    "\x1b[31mred\x1b[0m \x1b]8;;javascript:1\x07link\x1b]8;;\x07 \x1b[2J",
    "\u202egnp.exe \u2066and back\u2069",
    "${window.hacked = 1} {{ 7 * 7 }} $$\\href{javascript:window.hacked=1}{x}$$",
)
ELEMENTS = "script, iframe, object, embed, svg, img, [onerror], [onload], a[href^='javascript:']"

CELLS = (
    "%load_ext conduit_nb",
    "import json; rows = json.loads({rows!r})",
    "%%conduit map rows -o values --endpoint {url} --model '<b onclick=1>m</b>'\n"
    "class Echo:\n    echo: str",
    "values",
    "%%conduit map rows -o failed --endpoint {url} --model bad\n"
    "class Kind:\n    kind: Literal['a', 'b']",
    "failed['error'].iloc[0]",
    "for error in failed['error']: print(error)",
    "%%conduit schema\nclass Odd:\n"
    "    text: Annotated[str, {description!r}]\n    kind: Literal[{one!r}, {two!r}]",
    "%conduit {word}",
    "%conduit plan '{word}'",
    "%conduit deploy m --provider '{word}'",
    "print('at the end')",
)


@pytest.fixture
def url() -> Iterator[str]:
    """Yield the address of a server that answers with what it was asked, as a text."""

    def answer(request: Any) -> str:
        said = json.loads(request["messages"][-1]["content"])["text"]
        return json.dumps({"kind" if request["model"] == "bad" else "echo": said})

    with openai_server(answer=answer) as server:
        yield server.url


def test_no_text_becomes_an_element_or_runs(lab: LabPage, url: str, picture: Callable[..., Any]):
    values: dict[str, Any] = {
        "rows": json.dumps(HOSTILE),
        "url": url,
        "description": HOSTILE[1],
        "one": HOSTILE[0],
        "two": HOSTILE[3],
        "word": "<img/src=x/onerror=window.hacked=5>",
    }
    cells = [cell.format(**values) if "{" in cell else cell for cell in CELLS]
    name = lab.server.write("hostile.ipynb", *cells, goes_on=True)
    lab.open(name)
    lab.run_all()
    lab.output("at the end", seconds=60)

    said = lab.outputs()
    assert re.search(r"\w+ -> Echo: 10 of 10 rows.* no errors; values is bound", said)
    assert re.search(r"\w+ -> Kind: 10 of 10 rows.* 10 errors; failed is bound", said)
    assert said.count("<svg onload=") >= 2  # what the model wrote is seen, in values and errors
    errors = said.partition(" 10 errors")[2]
    assert "expected" in errors
    assert not re.search("[\x1b\u202e\u2066]", errors)
    assert lab.page.evaluate("() => window.hacked") is None
    found = lab.page.evaluate(
        "([outputs, elements]) => [...document.querySelectorAll(outputs)]"
        ".flatMap(one => [...one.querySelectorAll(elements)]).map(one => one.outerHTML)",
        [".jp-OutputArea-output", ELEMENTS],
    )
    assert found == []
