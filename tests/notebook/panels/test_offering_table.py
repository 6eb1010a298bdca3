"""notebook/panels/offering_table.py: what the live table tells, asks again, and deploys on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import conduit_nb
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.desk.wire import form_document
from conduit_nb.errors import ArgumentError, ProviderAuthError
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.offering_table import (
    COLUMNS,
    SETTLED,
    LiveOfferings,
    OfferingTable,
    Snapshot,
    key_of,
    offering_of,
    open_options,
    request_on,
    table_message,
)
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market, SourceFailure
from conduit_nb.session import Session
from tests.compute.made_plans import made_plan
from tests.notebook.echo_session import echo_session
from tests.notebook.panels.views import View, listening, say
from tests.plans.described_market import MARKET, offered

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ASKED = {"models": ["owner/m"], "runtime": "lmlite", "max_model_len": 4096}


def view_of(market: Market = MARKET, plan: Any = None) -> OfferingsView:
    return OfferingsView(choose(market, plan, constraint=DeploymentConstraint()), now=NOW)


def _differences(one: DeploymentConstraint, other: DeploymentConstraint) -> set[str]:
    return {
        each.name for each in fields(one) if getattr(one, each.name) != getattr(other, each.name)
    }


def rows_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(message["columns"], row, strict=True)) for row in message["rows"]]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    with listening(monkeypatch) as view:
        yield view


def test_every_offering_is_a_row_with_its_price_of_tokens_or_why_it_does_not_fit():
    shown = view_of(plan=made_plan(40, runtime="lmlite"))

    message = json.loads(
        json.dumps(table_message(shown, at=NOW, models=["owner/m"]), allow_nan=False)
    )

    rows = rows_of(message)
    assert tuple(message["columns"]) == COLUMNS
    assert len(rows) == len(MARKET.offerings)
    fits, out = [row for row in rows if row["fits"]], [row for row in rows if not row["fits"]]
    assert fits
    assert out
    for row, one in zip(fits, shown.choice.ranked, strict=True):
        assert one.tokens_per_s is not None
        usd = one.usd_per_hour / (one.tokens_per_s.expected * 3600) * 1e6
        assert row["usd_per_mtok"] == pytest.approx(usd)
    assert all(row["why"] and row["usd_per_mtok"] is None for row in out)
    assert len({row["key"] for row in rows}) == len(rows)


def test_without_a_plan_nothing_fits_or_does_not():
    message = table_message(view_of(), at=NOW, models=())

    assert {row["fits"] for row in rows_of(message) if not row["why"]} == {None}
    assert message["has_plan"] is False


def test_text_of_providers_is_made_plain_and_who_failed_is_named():
    hostile = "EU\x1b[31m\u202e<script>"
    error = ProviderAuthError("No key.\x1b[2J", hint="Set it.")
    failure = SourceFailure(provider="x", error=error)
    market = Market(offerings=(offered("x", "L4", 22, 0.5, region=hostile),), failures=(failure,))

    message = table_message(view_of(market), at=NOW, models=())

    [row] = rows_of(message)
    assert "\x1b" not in row["region"] + row["key"]
    assert "\u202e" not in row["region"] + row["key"]
    [told] = message["failures"]
    assert (told["provider"], told["message"], told["hint"]) == ("x", "No key.\ufffd[2J", "Set it.")
    assert offering_of(view_of(market).choice, row["key"]) is market.offerings[0]


def test_offerings_whose_ids_are_endless_are_still_told_apart():
    one, other = (offered("x", "L4", 22, 0.5, region="r" * 5_000 + end) for end in "ab")

    assert key_of(one) != key_of(other)
    assert max(len(key_of(one)), len(key_of(other))) < 400  # what a panel takes back


def test_a_deployment_is_asked_for_on_just_that_offering_and_no_dearer():
    offering = next(one for one in MARKET.offerings if one.usd_per_hour and one.accelerator)

    request = request_on(offering, ASKED)

    assert [one.model_id for one in request.models] == ["owner/m"]
    assert request.models[0].max_model_len == 4096
    assert (request.provider, request.gpu) == (offering.provider, offering.accelerator)
    assert request.gpu_count == offering.count
    assert request.constraint.max_usd_per_hour == offering.usd_per_hour
    assert request.constraint.interruptible == offering.interruptible


def test_what_is_deployed_is_what_was_planned():
    asked = {
        **ASKED,
        "dtype": "bf16",
        "quantization": "int8",
        "replicas": 2,
        "runtime_version": "0.9",
        "tensor_parallel": 2,
        "max_model_concurrency": 8,
    }

    request = request_on(MARKET.offerings[0], asked)

    [model] = request.models
    assert (model.dtype, model.quantization) == ("bfloat16", "int8")
    assert model.max_model_concurrency == 8
    assert request.replicas == Replicas(2, 2)
    assert (request.runtime_version, request.tensor_parallel) == ("0.9", 2)


def test_a_form_adds_to_what_was_planned():
    given = {"models": ["owner/m"], "hours": "2", "max_usd": "3", "max_model_len": "8192"}

    request = request_on(MARKET.offerings[0], ASKED, {**given, "name": None})

    assert request.models[0].max_model_len == 8192
    assert (request.hours, request.max_usd, request.name) == (2.0, 3.0, None)
    assert request.runtime == ASKED["runtime"]


def test_a_constraint_from_a_form_stands_beside_the_offerings_own():
    offering = next(one for one in MARKET.offerings if one.usd_per_hour)

    request = request_on(offering, ASKED, {"enterprise": "true"})

    assert request.constraint.enterprise
    assert request.constraint.max_usd_per_hour == offering.usd_per_hour


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"hours": "-1"}, "hours"),
        ({"hours": "soon"}, "hours"),
        ({"replicas": "4-1"}, "replicas"),
        ({"command": "'open"}, "command"),
        ({"prize": "1"}, "prize"),
        ({"models": ["another/m"]}, "models"),
        ({"models": "owner/m"}, "models"),
        ({"constraint": {}}, "constraint"),
        ({"compute_provider": "local"}, "provider"),
        (["hours"], "request"),
        ("hours", "request"),
        *(({name: "1"}, name) for name in SETTLED),
    ],
)
def test_what_a_form_cannot_ask_for_is_refused_by_its_name(given: object, param: str):
    with pytest.raises(ArgumentError) as caught:
        request_on(MARKET.offerings[0], ASKED, given)

    assert caught.value.param == param
    assert caught.value.hint


def test_a_form_asks_for_all_but_what_the_plan_and_the_offering_settle():
    names = [one["name"] for one in open_options({})]

    assert sorted([*names, *SETTLED]) == sorted(one["name"] for one in form_document())
    offering = next(one for one in MARKET.offerings if one.usd_per_hour and one.region)
    bare, on_it = DeploymentRequest.parse({"models": ["m"]}), request_on(offering, ASKED)
    settled = {*bare.differences(on_it), *_differences(bare.constraint, on_it.constraint)}
    assert settled - {"models", "constraint"} <= set(SETTLED)


def test_a_form_shows_what_was_planned_as_the_default():
    asked = {**ASKED, "dtype": "bf16", "concurrency": 8, "kv_dtype": "fp8"}
    shown = {one["name"]: one["default"] for one in open_options(asked)}

    assert (shown["max_model_len"], shown["dtype"], shown["max_concurrency"]) == (
        4096,
        "bfloat16",
        8,
    )
    assert (shown["hours"], shown["tensor_parallel"]) == (None, 1)


@pytest.mark.parametrize(
    ("name", "value"), [("kv_dtype", "fp8"), ("quantization", "gguf:Q4_K_M"), ("dtype", "fp8_e4m3")]
)
def test_a_plan_that_no_deployment_can_follow_is_refused(name: str, value: str):
    with pytest.raises(ArgumentError, match=name.replace("_", "-")) as caught:
        request_on(MARKET.offerings[0], {**ASKED, name: value})

    assert caught.value.param == name
    assert f"--{name.replace('_', '-')}" in caught.value.hint


def test_what_is_not_offered_any_more_is_said():
    with pytest.raises(ArgumentError) as caught:
        offering_of(view_of().choice, "runpod|gone||1|")
    assert caught.value.param == "key"


def test_a_view_gets_the_table_and_a_new_one_when_it_asks(session: Session, view: View):
    dearer = Market(offerings=(offered("x", "L4", 22, 0.75),), failures=())
    cheap = Market(offerings=(offered("x", "L4", 22, 0.5),), failures=())
    table = OfferingTable(
        session,
        view_of(cheap),
        ask=lambda is_fresh: view_of(dearer if is_fresh else cheap),
        asked={},
    )

    say(table, kind="here")
    [before] = rows_of(view.await_("table"))
    assert view.await_("choices")["options"] == open_options({})
    say(table, kind="refresh")
    [after] = rows_of(view.await_("table", lambda told: told["rows"][0] != view.told[0]["rows"][0]))

    assert (before["usd_per_hour"], after["usd_per_hour"]) == (0.5, 0.75)
    assert before["key"] == after["key"] == key_of(dearer.offerings[0])
    table.close()


def test_it_asks_again_by_itself(session: Session, view: View):
    asked: list[bool] = []

    def ask(is_fresh: bool) -> OfferingsView:
        asked.append(is_fresh)
        return view_of()

    table = OfferingTable(session, view_of(), ask=ask, asked={}, refresh_s=0.0)

    view.await_("table")
    assert asked
    assert not any(asked), "what is remembered is fresh enough for the clock"
    table.close()


def test_a_press_is_not_lost_in_a_timed_refresh(session: Session, view: View):
    dearer = Market(offerings=(offered("x", "L4", 22, 0.75),), failures=())
    begun, goes_on = threading.Event(), threading.Event()
    asked: list[bool] = []

    def ask(is_fresh: bool) -> OfferingsView:
        asked.append(is_fresh)
        if is_fresh:
            return view_of(dearer)
        begun.set()
        goes_on.wait()
        return view_of()

    table = OfferingTable(session, view_of(), ask=ask, asked={}, refresh_s=0.0)
    assert begun.wait(60)
    for _ in range(3):
        say(table, kind="refresh")
    say(table, kind="here")
    view.await_("table")  # by now all that was said before has been heard
    goes_on.set()

    view.await_("table", lambda told: [row["usd_per_hour"] for row in rows_of(told)] == [0.75])
    assert asked.count(True) == 1
    table.close()


def test_deploying_from_it_says_how_that_ended(session: Session, view: View):
    local = offered("local", None, 16, 0.0)
    shown = view_of(Market(offerings=(local,), failures=()), made_plan(1, runtime="lmlite"))
    asked = {"models": ["good/one"], "runtime": "custom"}
    table = OfferingTable(session, shown, ask=lambda _: shown, asked=asked)

    say(table, kind="deploy", key=key_of(local))
    view.await_("action", lambda told: told["text"] == "deploy good/one …")
    view.await_("action", lambda told: told["text"] == "deploy good/one: done")

    [running] = conduit_nb.ps()
    assert (running.runtime, running.status) == ("custom", "running")
    say(table, kind="dance")
    assert view.await_("problem")["code"] == "argument"
    table.close()


def test_beside_the_table_stands_what_it_was_for_readers_without_a_kernel(
    session: Session, view: View
):
    shown = view_of()
    live = LiveOfferings(shown, OfferingTable(session, shown, ask=lambda _: shown, asked={}))

    snapshot = Snapshot(live, at=NOW)._repr_mimebundle_()

    assert snapshot["text/html"].startswith("<details><summary>As of 2026-11-24 12:00 UTC")
    assert "<table>" in snapshot["text/html"]
    assert snapshot["text/plain"] == repr(shown)
    live.table.close()
