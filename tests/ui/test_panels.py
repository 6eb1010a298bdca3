"""The live table and the panel in a real JupyterLab: sorted, filtered, used to deploy, to end."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import docker
import pytest
from playwright.sync_api import Locator, expect

from tests.fake_lmlite import ECHO_IMAGE, ECHO_IN_IMAGE
from tests.ui.conftest import end_all
from tests.ui.lab import LabPage
from tests.ui.test_deployments import BOXED
from tests.waiting import until_true

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
OFFERINGS = "%conduit offerings --for ./data/Qwen2.5-7B-Instruct --max-model-len 8192"

# Whoever is not seen for a second is absent: the test need not wait for a minute.
SLEEPY = """from conduit_nb.notebook.panels.widget import Panel
Panel.absent_after_s = 1.0"""


def panel_of(lab: LabPage, name: str) -> Locator:
    """Wait for a panel's view, and return it."""
    found = lab.notebook.get_by_role("region", name=name)
    expect(found).to_be_visible(timeout=60_000)
    return found


def column(table: Locator, number: int) -> list[str]:
    """Return the texts of a column, of the rows that are drawn."""
    return table.locator(f"tbody tr[data-key] td:nth-child({number})").all_inner_texts()


def test_the_table_sorts_filters_and_is_worked_with_keys_alone(
    lab: LabPage, picture: Callable[..., Any]
):
    lab.open(lab.server.write("table.ipynb", "%load_ext conduit_nb", OFFERINGS))
    lab.run_all()
    table = panel_of(lab, "Offerings")
    rows = table.locator("tbody tr[data-key]")
    expect(rows.first).to_be_visible(timeout=60_000)
    picture(table, "offering_table")

    table.get_by_role("button", name="Dollars per hour: sort").click()
    prices = [float(text) for text in column(table, 5)]
    assert len(prices) > 5
    assert prices == sorted(prices)
    table.get_by_role("button", name="Dollars per hour: sort").click()
    prices = [float(text) for text in column(table, 5)]
    assert prices == sorted(prices, reverse=True)
    assert table.get_by_role("columnheader").nth(4).get_attribute("aria-sort") == "descending"

    table.get_by_label("search").fill("a100")
    assert column(table, 2)
    assert all("A100" in name for name in column(table, 2))
    table.get_by_label("search").fill("no such device")
    assert column(table, 2) == []
    table.get_by_label("search").fill("")
    table.get_by_label("only what fits").check()
    assert {text.split(",")[0] for text in column(table, 1)} == {"fits"}

    table.get_by_role("grid").focus()
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("ArrowDown")
    chosen = table.locator("tr[aria-selected='true']")
    assert chosen.count() == 1
    lab.page.keyboard.press("Enter")
    question = table.get_by_role("group", name=re.compile("^Deploy on"))
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    lab.page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert lab.notebook.locator(".jp-Cell").count() == 2  # no key has reached the notebook

    assert lab.serious_findings() == {}


def test_what_is_left_of_the_table_without_a_kernel(lab: LabPage):
    lab.open(lab.server.write("left.ipynb", "%load_ext conduit_nb", OFFERINGS))
    lab.run_all()
    table = panel_of(lab, "Offerings")
    expect(table.locator("tbody tr[data-key]").first).to_be_visible(timeout=60_000)
    lab.save()
    lab.command("kernelmenu:shutdown")

    expect(table.get_by_text("Disconnected, last seen")).to_be_visible(timeout=30_000)
    expect(table.get_by_role("button", name="Ask every provider again")).to_be_disabled()
    lab.notebook.get_by_text("without a kernel").click()
    expect(lab.notebook.locator("details table")).to_contain_text("MI300X")


def test_a_panel_behind_another_notebook_sleeps_and_is_right_when_it_is_seen_again(lab: LabPage):
    name = lab.server.write("asleep.ipynb", "%load_ext conduit_nb", SLEEPY, "%conduit panel")
    lab.open(name)
    lab.run_all()
    panel = panel_of(lab, "Deployments")
    lost = lab.page.get_by_role("region", name="Deployments", include_hidden=True).get_by_text(
        "Disconnected, last seen"
    )
    expect(panel).to_contain_text("Nothing runs", timeout=60_000)
    expect(lost).to_have_count(0)

    lab.bring(lab.server.write("in_front.ipynb", f"%load_ext conduit_nb\n%conduit deploy {MODEL}"))
    expect(lost).to_have_count(1, timeout=30_000)  # it knows no better: nothing is said any more
    lab.run_all()
    lab.output("running", seconds=120)
    lab.bring(name)

    expect(panel.locator(".conduit-state")).to_have_text("running", timeout=10_000)
    expect(lost).to_have_count(0)
    end_all()


def test_from_a_models_id_to_an_answer_through_a_restart_and_back_to_nothing(
    lab: LabPage, picture: Callable[..., Any]
):
    lab.open(lab.server.write("panel.ipynb", "%load_ext conduit_nb", f"%conduit panel {MODEL}"))
    lab.run_all()
    panel = panel_of(lab, "Deployments")
    expect(panel).to_contain_text("Nothing runs", timeout=60_000)

    panel.get_by_label("runtime").select_option("lmlite")
    panel.get_by_role("button", name="Show what holds it").click()
    row = panel.get_by_role("row").filter(has_text="local").first
    expect(row).to_be_visible(timeout=60_000)
    row.click()
    panel.get_by_role("button", name="Deploy on the selected offering").click()
    panel.get_by_role("button", name="Deploy", exact=True).click()
    card = panel.locator(".conduit-item")
    expect(card).to_contain_text("running", timeout=120_000)

    card.get_by_text("Try it").click()
    card.get_by_label("Question").fill("Say hello.")
    card.get_by_role("button", name="Ask the model").click()
    expect(card.get_by_label("Answer")).to_have_text(re.compile(r"\w{2,}"), timeout=120_000)
    expect(card.locator(".conduit-log")).to_contain_text(re.compile(r"\w+ .*\w+"))
    card.get_by_role("button", name=re.compile("^Hide logs")).click()
    expect(card.locator(".conduit-log")).to_have_count(0)
    picture(card, "deployment_panel")

    assert lab.serious_findings() == {}

    state = panel.locator(".conduit-state")
    expect(state).to_contain_text("running")
    lab.restart_kernel()
    expect(state).to_have_text(re.compile(r"^last seen running at \S+"), timeout=30_000)
    expect(panel.get_by_text("Disconnected, last seen")).to_be_visible()

    lab.run_all()
    expect(state).to_contain_text("running", timeout=60_000)
    panel.get_by_role("button", name=re.compile("^Terminate all:")).click()
    question = panel.get_by_role("group", name=re.compile("^Terminate all"))
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    question.get_by_role("button", name="Terminate all", exact=True).click()
    expect(panel).to_contain_text("Nothing runs", timeout=60_000)


@pytest.mark.needs("docker")
class TestDocker:
    def test_a_container_is_seen_extended_and_ended(
        self, first_cell: str, lab: LabPage, engine: str
    ):
        name = lab.server.write(
            "boxed.ipynb",
            first_cell,
            BOXED.format(image=ECHO_IMAGE, command=("python3", ECHO_IN_IMAGE, "--port", "{port}")),
            "%conduit panel",
        )
        lab.open(name)
        lab.run_all()
        panel = panel_of(lab, "Deployments")
        card = panel.locator(".conduit-item").filter(has_text="docker")
        expect(card).to_contain_text("running", timeout=120_000)
        expect(card).to_contain_text("ends in")

        card.get_by_role("button", name=re.compile("^Extend 1 h:")).click()
        expect(panel).to_contain_text("extend", timeout=30_000)
        card.get_by_role("button", name=re.compile("^Terminate:")).click()
        card.get_by_role("button", name="Terminate", exact=True).click()

        expect(card).to_have_count(0, timeout=60_000)
        with closing(docker.DockerClient(base_url=engine)) as client:
            until_true(lambda: not client.containers.list(all=True))
