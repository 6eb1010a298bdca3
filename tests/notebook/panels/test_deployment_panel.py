"""notebook/panels/deployment_panel.py: plan, pick, deploy, watch, try, extend and end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import conduit_nb
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.deployment_panel import DeploymentPanel
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market
from conduit_nb.session import Session
from tests.compute.made_plans import made_plan
from tests.notebook.echo_session import echo_session
from tests.notebook.panels.views import View, listening, say
from tests.plans.described_market import offered
from tests.waiting import until_true

LOCAL = offered("local", None, 16, 0.0, provider="local")
NEWS = offered("local", None, 12, 0.0, provider="local")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    with listening(monkeypatch) as view:
        yield view


@pytest.fixture
def panel(session: Session, view: View) -> Iterator[DeploymentPanel]:
    def ask(model: str, runtime: str, is_fresh: bool) -> OfferingsView:
        market = Market(offerings=(NEWS if is_fresh else LOCAL,), failures=())
        return OfferingsView(
            choose(market, made_plan(1, runtime="lmlite"), constraint=DeploymentConstraint())
        )

    panel = DeploymentPanel(session, ask=ask, runtimes=["lmlite", "custom"], model="owner/m")
    yield panel
    panel.close()


def runs(overview: dict[str, Any]) -> bool:
    """Return whether every deployment is running; a panel also lists those that are starting."""
    found = overview["deployments"]
    return bool(found) and all(one["status"] == "running" for one in found)


def deployed(name: str) -> str:
    conduit_nb.deploy("m/one", runtime="custom", image="x", name=name)
    return name


def test_a_view_is_told_what_can_be_chosen_and_what_runs(panel: DeploymentPanel, view: View):
    say(panel, kind="here")

    choices = view.await_("choices")
    assert (choices["runtimes"], choices["model"]) == (["lmlite", "custom"], "owner/m")
    names = {one["name"] for one in choices["options"]}
    assert {"hours", "max_usd", "name", "max_model_len"} < names
    assert not names & {"provider", "gpu", "gpu_count", "regions", "runtime"}
    assert view.await_("overview")["deployments"] == []


def test_what_is_deployed_elsewhere_is_seen_extended_and_ended(panel: DeploymentPanel, view: View):
    deployed("mine")
    overview = view.await_("overview", runs)
    [one] = overview["deployments"]
    assert one["name"] == "mine"
    assert overview["urls"][one["key"]].startswith("http://127.0.0.1:")

    say(panel, kind="act", key=one["key"], verb="extend", hours=2)
    longer = view.await_(
        "overview",
        lambda told: (
            told["deployments"][:1] and told["deployments"][0]["lease_until"] > one["lease_until"]
        ),
    )
    assert longer["deployments"][0]["name"] == "mine"
    say(panel, kind="act", key=one["key"], verb="terminate")

    view.await_("action", lambda told: told["text"] == "terminate mine: done")
    view.await_("overview", lambda told: not told["deployments"])


def test_a_deployment_answers_in_the_box_word_by_word(panel: DeploymentPanel, view: View):
    deployed("mine")
    [one] = view.await_("overview", runs)["deployments"]

    say(panel, kind="ask", key=one["key"], model="m/one", text="Say hello.")

    view.await_("answer", lambda told: told.get("state") == "done")
    assert "".join(told["text"] for told in view.of("answer"))


def test_asking_what_is_gone_is_told_in_its_box(panel: DeploymentPanel, view: View):
    say(panel, kind="ask", key="gone", model="m/one", text="Say hello.")

    told = view.await_("answer", lambda told: told.get("state") == "failed")
    assert told["error"]["code"] == "argument"
    assert "'gone'" in told["error"]["message"]


def test_the_log_is_told_while_it_is_open(panel: DeploymentPanel, view: View):
    deployed("mine")
    [one] = view.await_("overview", runs)["deployments"]

    say(panel, kind="logs", key=one["key"], open=True)
    assert view.await_("logs")["key"] == one["key"]
    say(panel, kind="logs", key=one["key"], open=False)


def test_the_log_of_a_view_that_nobody_sees_is_not_read(panel: DeploymentPanel, view: View):
    deployed("mine")
    [one] = view.await_("overview", runs)["deployments"]
    say(panel, kind="seen", view="stays")
    say(panel, kind="logs", key=one["key"], open=True, view="goes")
    view.await_("logs")
    say(panel, kind="gone", view="goes")
    overviews = len(view.of("overview"))
    until_true(lambda: len(view.of("overview")) > overviews + 1)  # one was under way

    logs = len(view.of("logs"))
    until_true(lambda: len(view.of("overview")) > overviews + 3, within_s=60)
    assert len(view.of("logs")) == logs


def test_a_panel_that_slept_says_at_once_what_happened_meanwhile(
    panel: DeploymentPanel, view: View
):
    view.await_("overview")
    say(panel, kind="gone", view="")
    deployed("mine")

    say(panel, kind="seen", view="one")

    assert view.await_("overview", runs)["deployments"][0]["name"] == "mine"


def test_a_press_on_refresh_plans_on_what_is_offered_now(panel: DeploymentPanel, view: View):
    asked = {"kind": "plan", "model": "m/one", "runtime": "lmlite"}
    say(panel, **asked, fresh=False)
    gib = view.await_("table")["columns"].index("gib")
    assert [row[gib] for row in view.await_("table")["rows"]] == [16]

    say(panel, **asked, fresh=True)

    view.await_("table", lambda told: [row[gib] for row in told["rows"]] == [12])


def test_from_a_plan_to_a_deployment(panel: DeploymentPanel, view: View):
    say(panel, kind="deploy", key="x")
    assert view.await_("problem")["code"] == "argument"
    say(panel, kind="plan", model="m/one", runtime="custom")
    table = view.await_("table")
    [row] = table["rows"]

    say(panel, kind="deploy", key=row[0])

    view.await_("action", lambda told: told["text"] == "deploy m/one: done")
    running = view.await_("overview", runs)
    assert running["deployments"][0]["runtime"] == "custom"
    say(panel, kind="act", key="all", verb="terminate")
    view.await_("overview", lambda told: not told["deployments"])


def planned(panel: DeploymentPanel, view: View, runtime: str) -> str:
    """Plan a model, and return the key of the offering that holds it."""
    say(panel, kind="plan", model="m/one", runtime=runtime)
    table = view.await_("table")
    assert table["models"] == ["m/one"]
    return table["rows"][0][0]


def test_a_deployment_has_the_options_of_the_form(panel: DeploymentPanel, view: View):
    key = planned(panel, view, "custom")

    request = {"models": ["m/one"], "hours": "2", "name": "mine", "max_model_len": "512"}
    say(panel, kind="deploy", key=key, view="one", request=request)

    view.await_("action", lambda told: told["text"] == "deploy m/one: done")
    [one] = view.await_("overview", runs)["deployments"]
    assert one["name"] == "mine"
    lease = datetime.fromisoformat(one["lease_until"]) - datetime.fromisoformat(one["started_at"])
    assert timedelta(hours=1.9) < lease < timedelta(hours=2.1)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"models": ["m/one"], "hours": "-1"}, "hours"),
        ({"models": ["m/one"], "gpu": "L4"}, "gpu"),
        ({"models": ["m/one"], "colour": "red"}, "colour"),
        ({"models": ["m/two"]}, "models"),
        ([], "request"),
    ],
)
def test_a_wrong_option_comes_back_to_the_form_that_it_stands_in(
    panel: DeploymentPanel, view: View, request_: object, param: str
):
    key = planned(panel, view, "custom")

    say(panel, kind="deploy", key=key, view="one", request=request_)

    problem = view.await_("problem")
    assert (problem["code"], problem["param"]) == ("argument", param)
    assert (problem["form"], problem["key"]) == ("one", key)
    assert view.of("action") == []


def test_an_option_that_does_not_apply_comes_back_to_the_form_as_well(
    panel: DeploymentPanel, view: View
):
    key = planned(panel, view, "lmlite")  # which is the server that all notebooks share

    say(panel, kind="deploy", key=key, view="one", request={"models": ["m/one"], "hours": "1"})

    view.await_("action", lambda told: told["state"] == "running")
    problem = view.await_("problem")
    assert (problem["param"], problem["form"], problem["key"]) == ("hours", "one", key)


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "plan", "model": "", "runtime": "lmlite"},
        {"kind": "plan", "model": "m" * 1000, "runtime": "lmlite"},
        {"kind": "act", "key": "none", "verb": "stop"},
        {"kind": "act", "key": ["x"], "verb": "stop"},
        {"kind": "nonsense"},
        {},
    ],
)
def test_what_cannot_be_meant_is_a_problem(
    panel: DeploymentPanel, view: View, message: dict[str, object]
):
    say(panel, **message)

    assert view.await_("problem")["message"]
