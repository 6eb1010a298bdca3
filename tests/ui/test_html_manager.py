"""The panels where there is no JupyterLab: drawn by `@jupyter-widgets/html-manager`.

That is what renderers such as VS Code's and pages made by nbconvert draw widgets with. The panel at
the other end is real; this page stands between the two, as an application does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from ipywidgets.embed import dependency_state
from playwright.sync_api import Locator, Page, Route, expect

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.deployment_panel import DeploymentPanel
from conduit_nb.notebook.panels.offering_table import OfferingTable
from conduit_nb.notebook.panels.widget import Panel
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market
from conduit_nb.session import Session
from tests.compute.made_plans import made_plan
from tests.notebook.echo_session import echo_session
from tests.notebook.panels.views import View, hear, listening
from tests.plans.described_market import MARKET, offered
from tests.waiting import until_true

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.needs("html-manager")]

PACKAGES = Path(__file__).parents[2] / "extension/node_modules"
FILES = {
    "/require.js": PACKAGES / "requirejs/require.js",
    "/manager.js": PACKAGES / "@jupyter-widgets/html-manager/dist/embed-amd.js",
    "/anywidget.js": Path(sys.prefix) / "share/jupyter/nbextensions/anywidget/index.js",
}
ADDRESS = "http://127.0.0.1:9"  # every request is answered by the test; nothing listens there
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Widgets</title>
<script src="/require.js"></script>
<script>requirejs.config({{ paths: {{ anywidget: '/anywidget' }}, waitSeconds: 120 }});</script>
<script src="/manager.js"></script>
<main><h1>A renderer</h1><div id="here"></div>{rest}</main></html>"""
SAVED = """<script type="application/vnd.jupyter.widget-state+json">{state}</script>
<script type="application/vnd.jupyter.widget-view+json">{view}</script>"""
LOOKS = [
    {"colorScheme": "dark", "color": "#eee", "background": "#111"},
    {"colorScheme": "light", "color": "#000", "background": "#fff"},
]
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
WEAR = "look => Object.assign(document.body.style, look)"
OPEN = """async (opened) => {
  const { HTMLManager } = await new Promise((done) =>
    require(['@jupyter-widgets/html-manager'], done));
  const loader = (name) => new Promise((done, failed) => require([name], done, failed));
  const manager = new HTMLManager({ loader });
  const hears = {};
  window.kernelSays = (id, data) =>
    hears[id]({ content: { comm_id: id, data }, buffers: [], metadata: {}, parent_header: {} });
  let model;
  for (const { id, state } of opened) {
    const comm = {
      comm_id: id,
      send: (data) => { window.kernelHears(id, data); return ''; },
      on_msg: (heard) => { hears[id] = heard; },
      on_close: () => {},
      close: () => {},
    };
    model = await manager.new_model({
      model_id: id,
      comm,
      model_name: state._model_name,
      model_module: state._model_module,
      model_module_version: state._model_module_version,
    }, state);
  }
  await manager.display_view(await manager.create_view(model), document.getElementById('here'));
}"""


class Renderer:
    """A page that a panel's view is drawn in, and what carries messages between the two."""

    def __init__(self, page: Page, wire: View) -> None:
        self.page = page
        self._wire = wire
        self.said: list[str] = []  # what kinds of messages the view has sent
        self._carried = 0
        page.route(f"{ADDRESS}/**", self._serve)
        self._html = ""

    def open(self, *, rest: str = "") -> None:
        """Reload the page."""
        self._html = PAGE.format(rest=rest)
        self.page.goto(ADDRESS)

    def show(self, panel: Panel) -> None:
        """Draw the panel; from now on its messages are carried, by `until`."""
        own = panel.widget.model_id

        def heard(whose: str, data: dict[str, Any]) -> None:
            if whose == own:
                self.said.append(data.get("content", {}).get("kind", ""))
                hear(panel, data)

        self.page.expose_function("kernelHears", heard)
        waiting = list(self._wire.sent)
        self._carried = len(waiting)
        opened = [
            {"id": whose, "state": json.loads(json.dumps(data["state"]))}
            for whose, kind, data in waiting
            if kind == "comm_open"
        ]  # what it is laid out by comes first, the panel itself last
        self.page.evaluate(OPEN, opened)

    def until(self, look: Callable[[], object], *, within_s: float = 90) -> None:
        """Carry what the kernel says until `look` finds what it looks for."""

        def carried() -> object:
            waiting = self._wire.sent[self._carried :]
            self._carried += len(waiting)
            for whose, kind, data in waiting:
                if kind == "comm_msg":
                    self.page.evaluate("([id, data]) => window.kernelSays(id, data)", [whose, data])
            return look()

        until_true(carried, within_s=within_s)

    def region(self, name: str) -> Locator:
        """Return a panel's view."""
        return self.page.get_by_role("region", name=name)

    def findings(self) -> list[tuple[str, str, list[str]]]:
        """Return all that axe calls serious, in dark and in light colours."""
        found: list[tuple[str, str, list[str]]] = []
        for look in LOOKS:
            self.page.evaluate(WEAR, look)
            report = Axe().run(self.page).response
            assert report["passes"], "axe has looked at nothing"
            found += [
                (look["colorScheme"], one["id"], [node["html"][:300] for node in one["nodes"]])
                for one in report["violations"]
                if one["impact"] in ("serious", "critical")
            ]
        return found

    def _serve(self, route: Route) -> None:
        path = "/" + route.request.url.removeprefix(ADDRESS).lstrip("/").partition("?")[0]
        if path == "/":
            route.fulfill(content_type="text/html", body=self._html)
        elif path in FILES:
            route.fulfill(content_type="text/javascript", path=FILES[path])
        else:
            route.fulfill(status=404)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    with listening(monkeypatch) as wire:
        yield wire


@pytest.fixture
def renderer(page: Page, wire: View) -> Renderer:
    return Renderer(page, wire)


def view_of(market: Market, size_gib: int) -> OfferingsView:
    plan = made_plan(size_gib, runtime="lmlite")
    return OfferingsView(choose(market, plan, constraint=DeploymentConstraint()))


def test_the_table_is_drawn_sorted_and_asked_again(
    session: Session, wire: View, renderer: Renderer
):
    views = iter([view_of(Market(offerings=MARKET.offerings[:-1], failures=()), 20)])
    table = OfferingTable(
        session, view_of(MARKET, 20), ask=lambda _: next(views), asked={"models": ["owner/m"]}
    )
    renderer.open()
    renderer.show(table)
    region = renderer.region("Offerings")
    rows = region.locator("tr[data-key]")
    renderer.until(lambda: rows.count() > 3)
    expect(region.get_by_text("Disconnected")).to_be_hidden()

    region.get_by_role("button", name="Dollars per hour: sort").click()
    prices = [float(one) for one in rows.locator("td:nth-child(5)").all_inner_texts()]
    assert prices == sorted(prices)
    assert len(set(prices)) > 1
    rows.first.click()
    region.get_by_role("grid").press("Enter")
    assert renderer.findings() == []
    renderer.page.keyboard.press("Escape")

    region.get_by_role("button", name="Ask every provider again").click()
    renderer.until(lambda: "1 gone" in region.locator(".conduit-status").inner_text())
    table.close()


def test_what_a_provider_says_is_text_and_nothing_else(
    session: Session, wire: View, renderer: Renderer
):
    bad = "<img src=x onerror='window.harm=1'><script>window.harm=1</script>\x1b[31m\u202e"
    market = Market(offerings=(offered("x", "L4", 22, 0.5, region=bad),), failures=())
    table = OfferingTable(session, view_of(market, 1), ask=lambda _: view_of(market, 1), asked={})
    renderer.open()
    renderer.show(table)
    region = renderer.region("Offerings")

    renderer.until(lambda: "onerror" in region.inner_text())

    assert region.locator("img, script").count() == 0
    assert renderer.page.evaluate("() => window.harm") is None
    assert "\u202e" not in region.inner_text()
    table.close()


def test_the_panel_deploys_and_ends(session: Session, wire: View, renderer: Renderer):
    local = Market(offerings=(offered("local", None, 16, 0.0),), failures=())
    panel = DeploymentPanel(session, ask=lambda *_: view_of(local, 1), runtimes=["custom"])
    renderer.open()
    renderer.show(panel)
    region = renderer.region("Deployments")
    renderer.until(lambda: "Nothing runs" in region.inner_text())

    region.get_by_role("textbox", name="model").fill("good/one")
    region.get_by_role("button", name="Show what holds it").click()
    row = region.locator("tr[data-key]").first
    renderer.until(row.is_visible)
    row.click()
    region.get_by_role("button", name="Deploy on the selected offering").click()
    region.get_by_role("button", name="Deploy", exact=True).click()
    card = region.locator(".conduit-item")
    renderer.until(
        lambda: card.count() and "running" in card.locator(".conduit-state").inner_text()
    )
    card.get_by_text("Try it").click()
    assert renderer.findings() == []

    card.get_by_role("button", name="Terminate:").click()
    card.get_by_role("button", name="Terminate", exact=True).click()
    renderer.until(lambda: "Nothing runs" in region.inner_text())
    panel.close()


def test_a_wrong_option_is_marked_in_the_form_and_what_is_corrected_is_deployed(
    session: Session, wire: View, renderer: Renderer
):
    here = offered("local", None, 16, 0.0, provider="local")
    local = Market(offerings=(here,), failures=())
    panel = DeploymentPanel(
        session, ask=lambda *_: view_of(local, 1), runtimes=["custom"], model="good/one"
    )
    renderer.open()
    renderer.show(panel)
    region = renderer.region("Deployments")
    model = region.get_by_role("textbox", name="model")
    renderer.until(lambda: model.input_value() == "good/one")
    region.get_by_role("button", name="Show what holds it").click()
    row = region.locator("tr[data-key]").first
    renderer.until(row.is_visible)
    row.click()
    region.get_by_role("button", name="Deploy on the selected offering").click()
    form = region.get_by_role("group", name="Deploy on")
    hours = form.get_by_role("spinbutton", name="hours")
    assert renderer.findings() == []

    hours.press_sequentially("1e")
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(hours).to_be_focused()
    expect(form.get_by_role("alert")).to_contain_text("hours")
    assert "deploy" not in renderer.said
    hours.fill("-1")
    form.get_by_role("button", name="Deploy", exact=True).click()
    renderer.until(lambda: "-1" in "".join(form.get_by_role("alert").all_inner_texts()))
    expect(hours).to_be_focused()
    expect(hours).to_have_value("-1")
    expect(hours).to_have_attribute("aria-invalid", "true")
    expect(hours).to_have_accessible_description(re.compile("Lease.*-1"))
    form.get_by_text("More options").click()
    form.get_by_label("name").fill("mine")
    assert renderer.findings() == []

    hours.fill("2.5")
    form.get_by_role("button", name="Deploy", exact=True).click()
    card = region.locator(".conduit-item")
    renderer.until(
        lambda: card.count() and "running" in card.locator(".conduit-state").inner_text()
    )
    expect(card.locator(".conduit-name")).to_have_text("mine")
    expect(card).to_contain_text(re.compile(r"ends in 2\.[45] h"))
    expect(form).to_have_count(0)
    panel.close()


def test_a_view_says_that_it_is_seen_once_it_comes_into_sight(
    session: Session, wire: View, renderer: Renderer
):
    table = OfferingTable(session, view_of(MARKET, 20), ask=lambda _: view_of(MARKET, 20), asked={})
    renderer.open()
    renderer.page.evaluate("() => { document.getElementById('here').style.marginTop = '5000px' }")
    renderer.show(table)
    region = renderer.region("Offerings")
    renderer.until(lambda: region.locator("tr[data-key]").count() > 3)
    renderer.page.evaluate(DRAWN)
    assert "seen" not in renderer.said

    region.scroll_into_view_if_needed()

    renderer.until(lambda: "seen" in renderer.said)
    table.close()


def test_a_page_without_a_kernel_says_that_it_is_disconnected(
    session: Session, wire: View, renderer: Renderer
):
    table = OfferingTable(
        session, view_of(MARKET, 20), ask=lambda _: view_of(MARKET, 20), asked={"models": ["m"]}
    )
    panel = DeploymentPanel(session, ask=lambda *_: view_of(MARKET, 20), runtimes=["lmlite"])
    widgets = [table.widget, panel.widget]
    state = {
        "version_major": 2,
        "version_minor": 0,
        "state": dependency_state(widgets, drop_defaults=False),
    }
    saved = "".join(
        SAVED.format(
            state=json.dumps(state if number == 0 else {**state, "state": {}}).replace(
                "<", "\\u003c"
            ),
            view=json.dumps({"version_major": 2, "version_minor": 0, "model_id": one.model_id}),
        )
        for number, one in enumerate(widgets)
    )

    renderer.open(rest=saved)

    for name in ("Offerings", "Deployments"):
        region = renderer.region(name)
        expect(region.get_by_text("Disconnected, last seen")).to_be_visible(timeout=20_000)
        assert "running" not in region.inner_text()
        assert "Asking" not in region.inner_text()
    expect(renderer.region("Deployments").get_by_role("button").first).to_be_disabled()
    assert renderer.findings() == []
    table.close()
    panel.close()
