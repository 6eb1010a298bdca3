"""What Conduit shows, looked at in a real browser: both themes, and what axe finds in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.ui.lab import LabPage

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

OUTPUTS = {"include": [[".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"]]}
DISPLAYS = (
    "%load_ext conduit_nb",
    """%%conduit schema
class Item:
    name: Annotated[str, Length(1, 40), "as printed"]
    quantity: Annotated[int, Range(ge=1, le=99)]""",
    "%conduit plan ./data/Qwen2.5-7B-Instruct --gpu L40S --max-model-len 8192 --concurrency 16",
    'import os; os.environ["CONDUIT_GPUHUNT_URL"] = "http://127.0.0.1:9"',
    "%conduit offerings --for ./data/Qwen2.5-7B-Instruct --max-model-len 8192 --why",
    "%conduit ps",
    "%conduit cost",
    "%conduit doctor",
    "%conduit help",
    "%conduit hepl",
)
LAST = "There is no %conduit hepl."


BAD = """from IPython.display import HTML
HTML('<p style="color:#777;background:#666">pale</p><button></button>')"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_what_is_shown_can_be_read(lab: LabPage, picture: Callable[..., Any], theme: str):
    name = f"looks_{theme.split()[-1].lower()}"
    lab.open(lab.server.write(f"{name}.ipynb", *DISPLAYS))
    lab.set_theme(theme)
    lab.run_all()
    lab.output(LAST, seconds=120)

    findings = serious_findings(lab)
    lab.notebook.locator(".jp-OutputArea-output").nth(1).scroll_into_view_if_needed()
    picture(lab.page, name)

    assert findings == {}


def test_what_cannot_be_read_would_be_found(lab: LabPage):
    lab.open(lab.server.write("bad.ipynb", BAD))
    lab.run_all()
    lab.output("pale")

    assert {"color-contrast", "button-name"} <= serious_findings(lab).keys()


def serious_findings(lab: LabPage) -> dict[str, list[str]]:
    """Return what axe finds in the outputs of the notebook in front, rule by rule."""
    # JupyterLab's body has no height and hides what overflows: axe would take all for hidden.
    lab.page.evaluate("() => { document.body.style.height = '100vh'; }")
    report = Axe().run(lab.page, context=OUTPUTS).response
    assert report["passes"], "axe has looked at nothing"
    return {
        violation["id"]: [node["html"][:300] for node in violation["nodes"]]
        for violation in report["violations"]
        if violation["impact"] in ("serious", "critical")
    }
