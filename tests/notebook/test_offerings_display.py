"""notebook/offerings_display.py: a table of what is offered, and why the rest is not in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.errors import ProviderAuthError
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market, SourceFailure
from tests.compute.made_plans import made_plan
from tests.plans.described_market import L40S, MARKET, offered

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def view_of(market: Market = MARKET, plan: Any = None, **shown: Any) -> OfferingsView:
    choice = choose(market, plan, constraint=DeploymentConstraint())
    return OfferingsView(choice, now=NOW, **shown)


def one_offering(**more: Any) -> str:
    return repr(view_of(Market(offerings=(offered("x", "L4", 22, 0.5, **more),), failures=())))


def test_a_row_says_what_it_is_what_it_costs_and_that_it_is_a_price_only():
    text = repr(view_of())

    [row] = [line for line in text.splitlines() if line.startswith("1  L4")]
    assert row.split() == [
        *("1", "L4", "2", "44.0", "0.80", "0.0182", "high", "US-1", "runpod", "price", "only")
    ]
    assert "3 offerings by usd_per_gib" in text
    assert "spot" in text


def test_with_a_plan_rows_have_a_speed_with_its_range_and_say_that_they_fit():
    view = view_of(plan=made_plan(40, runtime="lmlite"))

    text = repr(view)
    [first, _] = view.choice.ranked
    speed = first.tokens_per_s
    assert speed is not None
    assert f"{speed.expected:,.0f} ({speed.low:,.0f} to {speed.high:,.0f})" in text
    assert "tokens/s (estimate)" in text
    assert "fits" in text
    assert "2 offerings hold made up on lmlite (1 x 40.00 GiB)" in text


def test_what_is_left_out_is_counted_and_shown_where_asked():
    brief, whole = (
        repr(view_of(plan=made_plan(40))),
        repr(view_of(plan=made_plan(40), show_why=True)),
    )

    assert "2 left out (availability 1, memory 1); --why shows them." in brief
    assert "sold out" not in brief
    assert "sold out" in whole
    assert "The plan needs 40.00 GiB on a device; this one has 22.00 GiB" in whole


def test_where_nothing_is_left_the_knobs_are_named():
    text = repr(view_of(plan=made_plan(500)))

    assert "0 offerings hold" in text
    assert "Lower max_model_len" in text


def test_stock_is_shown_with_its_age_and_a_price_with_its_own():
    ages = {
        "7 s": timedelta(seconds=7),
        "5 min": timedelta(minutes=5),
        "30 h": timedelta(hours=30),
        "9 days": timedelta(days=9),
    }

    for said, age in ages.items():
        assert f"high, {said} ago" in one_offering(availability_as_of=NOW - age, price_as_of=NOW)
    assert "high, price 3 h ago" in one_offering(price_as_of=NOW - timedelta(hours=3))


def test_rows_beyond_the_limit_are_counted():
    text = repr(view_of(limit=1))

    assert "2 more" in text
    assert "A100" not in text


def test_failures_that_are_alike_are_said_once_and_counted():
    failures = tuple(
        SourceFailure(
            provider="lists",
            error=ProviderAuthError(f"List {number} is gone.", hint="Look."),
        )
        for number in range(5)
    )

    text = repr(view_of(Market(offerings=(L40S,), failures=(*MARKET.failures, *failures))))

    assert "Missing: other: No key. Set it." in text
    assert "Missing: lists: List 0 is gone. Look. (And 4 more like it.)" in text
    assert "List 1" not in text


def test_why_is_a_table_of_every_offering_with_and_without_a_plan():
    for plan, reason in ((None, "sold out"), (made_plan(40), "sold out")):
        frame = view_of(plan=plan).why()

        assert len(frame) == len(MARKET.offerings)
        assert reason in set(frame["why_not"])
        assert list(frame["rank"].dropna())[:2] == [1, 2]


def test_foreign_text_is_shown_and_not_obeyed():
    market = Market(
        offerings=(offered("x", "<b>GPU</b>\x1b[1m", 10, 1, region="<i>"),), failures=()
    )

    shown = view_of(market)._repr_mimebundle_()

    assert "&lt;b&gt;GPU" in shown["text/html"]
    assert "<b>" not in shown["text/html"]
    assert "<i>" not in shown["text/html"]
    assert "\x1b" not in shown["text/plain"]
