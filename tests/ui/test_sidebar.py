"""JupyterLab's sidebar and ticker in a real JupyterLab: start, log, cell, stop, rent, end all."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from conduit_nb.testing.runpod_server import RunpodServer
from tests.ui.lab import LabPage
from tests.waiting import until_true

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium", "extension")]

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
OURS = ("#conduit-sidebar", ".jp-Conduit-ticker")
IDLE = re.compile(r"\$0\.00/h · 0 nodes")
# The ticker's word is 5 s (tests of lab/poller.ts, by a clock); a loaded machine has more.
TOLD_MS = 15_000


@pytest.fixture
def sidebar(lab: LabPage) -> Locator:
    """Open a notebook and, by the ticker, the sidebar."""
    lab.open(lab.server.write("beside.ipynb", "%load_ext conduit_nb"))
    ticker_of(lab).get_by_role("button").first.click()
    found = lab.page.locator("#conduit-sidebar")
    expect(found).to_be_visible()
    return found


def ticker_of(lab: LabPage) -> Locator:
    return lab.page.get_by_role("group", name="Conduit: what runs and what it costs")


def accept(lab: LabPage, word: str) -> None:
    """Answer the question that stands before the page."""
    lab.page.locator(".jp-Dialog").get_by_role("button", name=word, exact=True).click()


def drag(lab: LabPage, what: Locator, onto: Locator) -> None:
    """Take something by the mouse to another place, in steps, as a hand does."""
    begin, end = what.bounding_box(), onto.bounding_box()
    assert begin is not None
    assert end is not None
    mouse = lab.page.mouse
    mouse.move(begin["x"] + begin["width"] / 2, begin["y"] + begin["height"] / 2)
    mouse.down()
    mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=20)
    mouse.up()


def test_a_model_of_this_machine_is_started_used_and_stopped(
    lab: LabPage, sidebar: Locator, picture: Callable[..., Any]
):
    expect(sidebar).to_contain_text("Nothing runs, and nothing costs.", timeout=30_000)
    sidebar.get_by_label("A model's id or folder").fill(MODEL)
    sidebar.get_by_label("A model's id or folder").press("Enter")
    item = sidebar.locator(".conduit-item")
    expect(item.locator(".conduit-state")).to_have_text("running", timeout=120_000)
    expect(item).to_contain_text(MODEL, timeout=120_000)

    item.get_by_role("button", name=re.compile("^Show logs")).click()
    expect(item.locator(".conduit-log")).to_contain_text(re.compile(r"\w+ .*\w+"))
    item.get_by_role("button", name=re.compile("^Insert a cell")).click()
    inserted = lab.notebook.locator(".jp-Cell.jp-mod-active .cm-content")
    expect(inserted).to_contain_text(f"-o moods --model {MODEL}")
    picture(lab.page, "lab_sidebar")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        assert lab.serious_findings(OURS) == {}

    cells = lab.notebook.locator(".jp-Cell")
    before = cells.count()
    drag(lab, item.locator(".conduit-name"), cells.first)
    expect(cells).to_have_count(before + 1)
    dropped = lab.notebook.locator(".jp-Cell .cm-content").filter(has_text="-o moods")
    expect(dropped).to_have_count(2)

    item.get_by_role("button", name=re.compile("^Stop")).click()
    accept(lab, "Stop")
    expect(sidebar).to_contain_text("Nothing runs, and nothing costs.", timeout=60_000)


def test_what_is_rented_costs_in_the_ticker_until_all_is_terminated(
    lab: LabPage, sidebar: Locator, cloud: RunpodServer
):
    ticker = ticker_of(lab)
    expect(ticker).to_contain_text(IDLE, timeout=30_000)
    sidebar.get_by_label("A model's id or folder").fill(MODEL)
    sidebar.get_by_role("button", name="Ask every provider for its prices").click()
    row = sidebar.get_by_role("row").filter(has_text="RTX 4090").first
    expect(row).to_be_visible(timeout=60_000)
    assert lab.serious_findings(OURS) == {}
    row.get_by_role("button", name=re.compile("^Deploy ")).click()
    hours = lab.page.locator(".jp-Dialog").get_by_label("hours")
    hours.fill("-1")
    accept(lab, "Deploy")
    expect(lab.page.locator(".jp-Dialog").get_by_role("alert")).to_contain_text("-1")
    expect(hours).to_be_focused()
    expect(hours).to_have_value("-1")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        assert lab.serious_findings([".jp-Dialog-content"]) == {}
    hours.fill("2")
    accept(lab, "Deploy")
    until_true(cloud.account.billing_pods, within_s=120)

    expect(ticker).to_contain_text(re.compile(r"\$0\.[1-9]\d/h · 1 node"), timeout=TOLD_MS)
    ticker.get_by_role("button", name="Terminate all: end everything that runs").click()
    accept(lab, "Terminate all")
    until_true(lambda: not cloud.account.billing_pods(), within_s=120)

    expect(ticker).to_contain_text(IDLE, timeout=60_000)


def test_what_a_cell_starts_and_ends_stands_in_its_output_and_in_the_ticker(lab: LabPage):
    deploy = f"%conduit deploy {MODEL} --provider local --max-model-len 1024"
    words = ("ps", "cost", "stop", "ps")
    cells = ("%load_ext conduit_nb", deploy, *(f"%conduit {word}" for word in words))
    lab.open(lab.server.write("cell.ipynb", *cells))
    ticker = ticker_of(lab)
    expect(ticker).to_contain_text(IDLE, timeout=30_000)

    lab.command("notebook:run-cell-and-select-next")
    lab.command("notebook:run-cell-and-select-next")
    assert "running" in lab.text_of_cell(1)
    expect(ticker.get_by_role("button", name="Terminate all")).to_be_visible(timeout=TOLD_MS)
    lab.run_all()
    lab.output("Nothing runs", seconds=60)
    expect(ticker.get_by_role("button", name="Terminate all")).to_have_count(0, timeout=TOLD_MS)

    assert lab.outputs().count("running") >= 2
    lab.save()
    lab.open("cell.ipynb")
    assert lab.outputs().count("running") >= 2
