"""desk/desk.py: revisions, looks at providers, and actions under way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.desk import KEPT_ACTIONS, LOOK_EVERY
from conduit_nb.desk.wire import Action
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.base import Listing
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.sources import Remembered
from conduit_nb.session import Session
from tests.desk.desk_there import DeskThere
from tests.desk.far_provider import FarProvider, put_far_node
from tests.plans.described_market import offered
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
REQUEST = DeploymentRequest(models=(LmLiteModelConfig("m/one"),), runtime="fake", name="mine")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(session: Session, clock: Clock) -> AsyncIterator[DeskThere]:
    desk = DeskThere(session, clock=clock)
    yield desk
    await desk.close()


async def deploy(desk: DeskThere) -> str:
    action = await desk.ended((await desk.deploy(REQUEST)).id)
    assert action.state == "done"
    return (await desk.overview(None))["live"][0]


async def test_only_what_has_changed_is_told_again(desk: DeskThere):
    await deploy(desk)
    first = await desk.overview(None)

    same = await desk.overview(first["revision"])

    assert (first["whole"], len(first["deployments"])) == (True, 1)
    assert (same["whole"], same["deployments"]) == (False, [])
    assert same["revision"] == first["revision"]


async def test_whoever_asks_with_another_servers_revision_is_told_everything(desk: DeskThere):
    await deploy(desk)
    first = await desk.overview(None)
    epoch = first["revision"].partition(".")[0]

    for since in ("other.1", f"{epoch}.999", f"{epoch}.x", f"{epoch}.²", "", "nonsense"):
        assert (await desk.overview(since))["whole"], since


async def test_what_ended_is_a_new_revision(desk: DeskThere, session: Session):
    key = await deploy(desk)
    before = await desk.overview(None)
    await asyncio.wrap_future(session.submit(session.deployments.terminate(key)))

    after = await desk.overview(before["revision"])

    assert after["live"] == []
    assert after["revision"] != before["revision"]


async def test_providers_are_looked_at_every_half_minute_while_somebody_asks(
    desk: DeskThere, clock: Clock, far: FarProvider
):
    put_far_node(far, await deploy(desk))

    async def is_fresh() -> bool:
        return (await desk.overview(None))["looked_at"] == clock.now.isoformat()

    clock.pass_s(31)
    await until(is_fresh)
    seen = far.looks
    clock.pass_s(10)
    await desk.overview(None)
    await desk.overview(None)
    assert (far.looks, await is_fresh()) == (seen, False)
    clock.pass_s(21)
    await until(is_fresh)

    assert far.looks == seen + 1


async def test_what_costs_is_told_with_what_it_has_cost(
    desk: DeskThere, clock: Clock, far: FarProvider
):
    key = await deploy(desk)
    before = await desk.overview(None)
    put_far_node(far, key)

    told = await desk.overview(before["revision"])

    assert (told["nodes"], told["usd_per_hour"]) == (2, 0.42)
    assert told["deployments"][0]["usd_per_hour"] == 0.42
    assert told["spent"][key] > 0
    assert told["today_usd"] > 0


async def test_a_node_that_vanished_is_told_after_a_look(desk: DeskThere, clock: Clock):
    await deploy(desk)
    provider = LocalProvider(grace_s=1)
    for node in await provider.list_nodes():
        await provider.terminate(node.name, None)

    async def is_told() -> bool:
        clock.pass_s(31)
        told = await desk.overview(None)
        return not any(one["status"] == "running" for one in told["deployments"])

    await until(is_told, within_s=60)


async def test_a_provider_that_does_not_answer_leaves_the_news_old(
    desk: DeskThere, session: Session, clock: Clock, far: FarProvider
):
    put_far_node(far, await deploy(desk))
    await until(lambda: _looked_at(desk))
    before = await _looked_at(desk)
    notices: list[str] = []
    session.events.subscribe(lambda event: notices.append(getattr(event, "text", "")))
    far.is_silent = True
    clock.pass_s(31)
    told = await until(lambda: _with_failures(desk))

    assert "It does not answer" in told["look_failures"][0]
    assert told["looked_at"] == before
    assert [one["name"] for one in told["deployments"]] == ["mine"]
    assert notices == [], "the panel shows it: no cell is to repeat it every half minute"

    far.is_silent = False
    clock.pass_s(31)
    await until(lambda: _without_failures(desk))


async def _looked_at(desk: DeskThere) -> str | None:
    return (await desk.overview(None))["looked_at"]


async def _without_failures(desk: DeskThere) -> bool:
    return not (await desk.overview(None))["look_failures"]


async def _with_failures(desk: DeskThere):
    told = await desk.overview(None)
    return told if told["look_failures"] else None


async def test_a_state_that_cannot_be_read_is_an_error(
    desk: DeskThere, session: Session, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as setting:
        setting.setenv("CONDUIT_DB_URI", "postgresql+nothing://nowhere/x")
        with pytest.raises(ArgumentError) as caught:
            await desk.overview(None)
        assert caught.value.param == "CONDUIT_DB_URI"

    assert (await desk.overview(None))["live"] == []


async def test_all_that_runs_is_terminated_the_shared_server_too(desk: DeskThere, session: Session):
    await deploy(desk)
    await asyncio.wrap_future(session.submit(session.endpoint(DeploymentRequest())))
    assert len((await desk.overview(None))["live"]) == 2

    action = await desk.ended((await desk.act("all", "terminate")).id)

    assert (action.state, action.word, action.target) == ("done", "terminate", "all")
    assert (await desk.overview(None))["live"] == []


@pytest.mark.parametrize("verb", ["stop", "start", "extend", "explode"])
async def test_all_can_be_terminated_and_nothing_else(desk: DeskThere, verb: str):
    await deploy(desk)

    with pytest.raises(ArgumentError) as raised:
        await desk.act("all", verb)

    assert raised.value.param == "verb"
    assert len((await desk.overview(None))["live"]) == 1


async def test_a_bug_inside_is_told_and_logged(
    desk: DeskThere,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    async def broken(name: str) -> list[object]:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as breaking:
        breaking.setattr(session.deployments, "terminate", broken)
        action = await desk.ended((await desk.act("all", "terminate")).id)

    error = action.error
    assert error is not None
    assert error["code"] == "conduit"
    assert "a bug" not in error["message"]
    assert "a bug" in caplog.text


async def test_what_is_under_way_when_the_server_stops_is_over(desk: DeskThere):
    async def begun_and_closed() -> Action:
        action = desk.desk.deploy(REQUEST)
        await asyncio.sleep(0)
        await desk.desk.close()
        return desk.desk.action(action.id)

    action = await desk.there(begun_and_closed())

    assert action.state == "failed"
    error = action.error
    assert error is not None
    assert error["code"] == "interrupted"


async def test_only_the_last_actions_are_kept(desk: DeskThere):
    first = await desk.act("all", "terminate")
    assert (await desk.ended(first.id)).state == "done"
    for _ in range(KEPT_ACTIONS + 2):
        assert (await desk.ended((await desk.act("all", "terminate")).id)).state == "done"

    assert len((await desk.overview(None))["actions"]) <= KEPT_ACTIONS + 1
    with pytest.raises(ArgumentError):
        await desk.action(first.id)


def test_a_change_at_a_provider_is_told_within_a_minute():
    """It may happen just after a look: then the next, a question that begins it, one that tells."""
    schema = json.loads((ROOT / "extension/schema/plugin.json").read_text())
    slowest = timedelta(seconds=schema["properties"]["refreshSeconds"]["maximum"])
    for_a_look = timedelta(seconds=10)

    assert LOOK_EVERY + 2 * slowest + for_a_look <= timedelta(minutes=1)


async def test_a_look_that_does_not_end_keeps_no_change_of_ours_back(
    desk: DeskThere, clock: Clock, far: FarProvider
):
    put_far_node(far, await deploy(desk))
    await until(lambda: _looked_at(desk))
    with far.held():
        clock.pass_s(31)
        await desk.overview(None)
        await until(lambda: far.is_asked)

        told = await asyncio.wait_for(desk.overview(None), 30)
        action = await desk.act(told["live"][0], "extend", hours=1)
        ended = await asyncio.wait_for(desk.ended(action.id), 30)
        after = await asyncio.wait_for(desk.overview(told["revision"]), 30)

        assert far.is_asked, "the look is under way still"
        assert (ended.state, after["live"]) == ("done", told["live"])
        assert after["deployments"][0]["lease_until"] > told["deployments"][0]["lease_until"]


async def test_every_question_for_prices_asks_the_providers():
    class Source:
        name = "priced"
        asked = 0

        async def offerings(self, *, timeout_s: float = 20) -> Listing:
            self.asked += 1
            return Listing(offerings=(offered("priced", "L4", 22, 0.1 * self.asked),))

    source = Source()
    asking = Session(make_sources=lambda: [Remembered(source)])
    desk = DeskThere(asking)

    prices = [(await desk.offerings())["offerings"][0]["usd_per_hour"] for _ in range(2)]

    assert prices == [0.1, 0.2]
    await desk.close()
    asking.close()
