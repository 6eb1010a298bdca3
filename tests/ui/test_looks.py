"""What Conduit shows, looked at in a real browser: both themes, and what axe finds in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.lab import LabPage

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

DISPLAYS = (
    "%load_ext conduit_nb",
    """%%conduit schema
class Item:
    name: Annotated[str, Length(1, 40), "as printed"]
    quantity: Annotated[int, Range(ge=1, le=99)]""",
    "%conduit plan ./data/Qwen2.5-7B-Instruct --gpu L40S --max-model-len 8192 --concurrency 16",
    'import os; del os.environ["RUNPOD_API_KEY"]',
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

    findings = lab.serious_findings()
    lab.notebook.locator(".jp-OutputArea-output").nth(1).scroll_into_view_if_needed()
    picture(lab.page, name)

    assert findings == {}


def test_what_cannot_be_read_would_be_found(lab: LabPage):
    lab.open(lab.server.write("bad.ipynb", BAD))
    lab.run_all()
    lab.output("pale")

    assert {"color-contrast", "button-name"} <= lab.serious_findings().keys()
