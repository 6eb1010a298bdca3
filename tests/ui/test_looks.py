"""What Conduit shows, looked at in a real browser: both themes, and what axe finds in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.lab import OUTPUTS, LabPage

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

# What cannot be read has to be found where all else is found to be readable.
BAD = """from IPython.display import HTML
HTML('<p class="bad" style="color:#777;background:#666">pale</p><button></button>')"""
READABLE = f"{OUTPUTS[0]}:not(:has(.bad))"
UNREADABLE = f"{OUTPUTS[0]}:has(.bad)"
DISPLAYS = (
    "%load_ext conduit_nb",
    """%%conduit schema
class Item:
    name: Annotated[str, Length(1, 40), "as printed"]
    quantity: Annotated[int, Range(ge=1, le=99)]""",
    "%conduit plan ./data/Qwen2.5-7B-Instruct --gpu L40S --max-model-len 8192 --max-concurrency 16",
    'import os; del os.environ["RUNPOD_API_KEY"]',
    "%conduit offerings --for ./data/Qwen2.5-7B-Instruct --max-model-len 8192 --why",
    "%conduit ps",
    "%conduit cost",
    "%conduit doctor",
    "%conduit help",
    BAD,
    "%conduit hepl",
)
LAST = "Unknown command: %conduit hepl."
THEMES = ("JupyterLab Dark", "JupyterLab Light")


def test_what_is_shown_can_be_read_in_both_themes(lab: LabPage, picture: Callable[..., Any]):
    lab.open(lab.server.write("looks.ipynb", *DISPLAYS))
    lab.set_theme(THEMES[0])
    lab.run_all()
    lab.output(LAST, seconds=120)

    for theme in THEMES:
        lab.set_theme(theme)
        assert lab.serious_findings([READABLE]) == {}, theme
        lab.notebook.locator(".jp-OutputArea-output").nth(1).scroll_into_view_if_needed()
        picture(lab.page, f"looks_{theme.split()[-1].lower()}")

    lab.output("pale").scroll_into_view_if_needed()
    assert {"color-contrast", "button-name"} <= lab.serious_findings([UNREADABLE]).keys()
