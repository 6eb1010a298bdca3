"""What a reader does with the notebooks: in a real browser, and with the real model."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from tests.ui.lab import LabPage
from tests.waiting import until_true

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

VERDICT = '''%%conduit map rows -o verdicts
class Verdict:
    """Find out whether the customer is satisfied."""

    sentiment: Literal["good", "bad"]'''
LONG_MAP = '''%%conduit map rows -o verdicts
class Story:
    """Tell what happened."""

    story: Annotated[str, Length(1, 30)]'''
SERVER = re.compile(r"lmlite-local-\w+")
ROWS = "rows = ['Lovely, I use it every day.', 'It broke on day two.'] * {times}"


@pytest.fixture
def table(lab: LabPage) -> Iterator[int]:
    """Yield how many rows the quickstart's table has: all of them, where its picture is kept.

    tests/test_notebooks.py counts on all fifty how often the model is right.
    """
    path = lab.server.folder / "data/reviews.csv"
    before = path.read_text()
    lines = before.splitlines(keepends=True)
    kept = lines if os.environ.get("CONDUIT_SCREENSHOTS") == "1" else lines[:11]
    path.write_text("".join(kept))
    yield len(kept) - 1
    path.write_text(before)


def test_the_quickstart_by_clicks_and_what_is_left_of_it_without_a_kernel(
    lab: LabPage, table: int, picture: Callable[..., Any]
):
    lab.open("01_quickstart.ipynb")
    lab.run_all()
    lab.output(f"of {table} verdicts agree with the labels", seconds=240)
    running = lab.notebook.locator(".jp-InputPrompt", has_text="*")
    expect(running).to_have_count(0, timeout=60_000)
    chart = lab.notebook.locator(".jp-OutputArea-output img")
    expect(chart).to_be_visible()
    chart.scroll_into_view_if_needed()
    picture(lab.page, "quickstart_in_lab")
    said = lab.outputs()
    lab.save()
    (kernel,) = lab.server.kernels()

    lab.command("kernelmenu:shutdown")
    lab.open("01_quickstart.ipynb", kernel=False, reload=True)

    assert "verdicts agree" in said
    assert lab.outputs() == said
    expect(lab.notebook.locator(".jp-OutputArea-output img")).to_be_visible()
    assert kernel["id"] not in {one["id"] for one in lab.server.kernels()}


def test_a_kernel_restart_finds_what_runs(lab: LabPage):
    name = lab.server.write("restart.ipynb", "%load_ext conduit_nb", ROWS.format(times=1), VERDICT)
    lab.open(name)
    lab.run_all()
    lab.output("no errors", seconds=120)

    lab.restart_kernel()
    lab.command("notebook:clear-all-cell-outputs")
    lab.run_all()

    lab.output("no errors", seconds=60)
    assert "2 of 2 rows" in lab.outputs()
    assert "Starting the model server" not in lab.outputs()


def test_the_stop_button_keeps_what_a_map_has_done(lab: LabPage):
    name = lab.server.write(
        "stop.ipynb",
        "%load_ext conduit_nb",
        "rows = ['Once upon a time.'] * 900",
        LONG_MAP,
    )
    lab.open(name)
    lab.run_all()
    lab.progress(r"[1-9]\d* of 900", seconds=180)

    lab.page.locator(".jp-NotebookPanel-toolbar [data-command='notebook:interrupt-kernel']").click()

    lab.output("Interrupted", seconds=30)
    assert re.search(r"\d+ of 900 rows", lab.outputs())
    assert "verdicts is bound" in lab.outputs()


def test_two_notebooks_at_once_share_one_server(lab: LabPage):
    cells = ("%load_ext conduit_nb", ROWS.format(times=4), VERDICT, "%conduit ps")
    names = [lab.server.write(f"at_once_{number}.ipynb", *cells) for number in range(2)]
    lab.open(names[0])
    lab.bring(names[1])

    for name in names:
        lab.bring(name)
        lab.run_all()

    found: set[str] = set()
    for name in names:
        lab.bring(name)
        lab.output("8 of 8 rows", seconds=180)
        until_true(lambda: SERVER.search(lab.outputs()), within_s=60)
        found |= set(SERVER.findall(lab.outputs()))
    assert len(found) == 1


def test_the_keyboard_alone_is_enough(lab: LabPage):
    lab.open(lab.server.write("keyboard.ipynb", ""))
    keys = lab.page.keyboard
    lab.notebook.locator(".jp-Notebook").focus()
    for source in ("%load_ext conduit_nb", ROWS.format(times=1), VERDICT):
        keys.press("Enter")
        keys.insert_text(source)
        keys.press("Shift+Enter")

    lab.output("verdicts is bound", seconds=120)
    assert lab.outputs().count("verdicts is bound") == 1
    assert "2 of 2 rows" in lab.outputs()


def test_a_mistake_is_two_lines_in_its_cell(lab: LabPage):
    lab.open(lab.server.write("mistake.ipynb", "%load_ext conduit_nb", "%conduit offer"))
    lab.run_all()

    shown = lab.output("%conduit offer")

    assert len(shown.inner_text().strip().splitlines()) == 2
    assert "offerings" in shown.inner_text()


def test_somebodys_own_table_becomes_records_as_the_first_page_says(lab: LabPage):
    rows = ["text", "Where is my parcel?", "The lamp broke.", "Two more cups please."]
    (lab.server.folder / "mine.csv").write_text("\n".join(rows))
    quickstart = nbformat.read(lab.server.folder / "01_quickstart.ipynb", as_version=4)
    (page,) = [cell.source for cell in quickstart.cells if "## Your own table" in cell.source]
    (cell,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    read = re.search(r"`(mine = .+?)`", page)
    assert read

    start = ("%load_ext conduit_nb", f"import pandas as pd\n{read[1]}")
    lab.open(lab.server.write("own.ipynb", *start, textwrap.dedent(cell), "answers"))
    lab.run_all()

    lab.output("3 of 3 rows", seconds=120)
    lab.output("Two more cups please.")
    assert "no errors" in lab.outputs()


def test_words_and_options_are_completed_by_the_tab_key(lab: LabPage):
    lab.open(lab.server.write("tab.ipynb", "%load_ext conduit_nb\nprint('loaded')", ""))
    lab.run_all()
    lab.output("loaded")
    cell = lab.notebook.locator(".jp-CodeCell .cm-content").last
    offered = lab.page.locator(".jp-Completer-item:visible")

    cell.click()
    lab.page.keyboard.type("%conduit offeri")
    lab.page.keyboard.press("Tab")
    expect(offered).to_have_count(1, timeout=30_000)
    lab.page.keyboard.press("Enter")
    expect(cell).to_have_text("%conduit offerings")
    lab.page.keyboard.type(" --max-u")
    lab.page.keyboard.press("Tab")
    expect(offered).to_contain_text(["--max-usd-per-hour"])
    lab.page.keyboard.press("Enter")
    expect(cell).to_have_text("%conduit offerings --max-usd-per-hour")


def test_a_chain_is_drawn_and_rows_that_failed_are_looked_at(lab: LabPage):
    cells = (
        "%load_ext conduit_nb",
        ROWS.format(times=1),
        "%%conduit schema\nclass Text:\n    text: str\n\nclass Mood:\n    is_good: bool\n",
        "%%conduit block judge --input Text --output Mood\nSay whether the writer is content.",
        "%%conduit block again --input Mood --output Text\nSay it in words.",
        "%%conduit pipeline moods\njudge >> again",
        "%%conduit map rows -o said --max-tokens 1\nclass Said:\n    words: list[str]",
        "%conduit debug said",
        "%conduit receipts",
        "%conduit image push nowhere.invalid/image:1",
        "print('at the end')",
    )
    lab.open(lab.server.write("chain.ipynb", *cells, goes_on=True))
    lab.run_all()
    lab.output("at the end", seconds=180)

    drawn, failed, debugged, kept, pushed = (lab.text_of_cell(number) for number in range(5, 10))
    assert re.search(r"judge.*again", drawn, re.DOTALL)
    assert "is_good: bool" in drawn
    assert re.search(r"\b2\b.*\b2\b.*ReplyBudgetError", failed)
    assert re.search(r"2 rows failed in 1 way:.*ReplyBudgetError", debugged, re.DOTALL)
    assert "-> Said" in kept
    assert "nowhere.invalid/image:1" in pushed or "Docker" in pushed
