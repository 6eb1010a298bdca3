"""Whatever a provider replies: no pod runs unseen, no dollar is uncounted, no second pod runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.deployments.boot import LOG_EVERY
from conduit_nb.deployments.overview import cost_report
from conduit_nb.deployments.service import Deployments
from conduit_nb.errors import BootError, ConduitError, ProviderError, SpendCapError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.testing.runpod_server import HOSTILE_KINDS, Fault, hostile
from tests import waiting
from tests.deployments.deployed import INSTALLATION, request
from tests.deployments.hostile_bench import LIST_LAG_S, HostileBench, KilledError, hostile_bench

pytestmark = pytest.mark.system  # a rented node for each reply


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HostileBench]:
    with hostile_bench(tmp_path) as bench:
        yield bench


ONE_POD, ACTION = "/pods/[^/]+", "/pods/[^/]+/action"
WANTED = request("runpod")
IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
PLACES = [
    *(("deploy", "POST", "/pods"), ("deploy", "GET", ONE_POD), ("deploy", "GET", "/pods")),
    *(("stop", "POST", ACTION), ("start", "POST", ACTION), ("start", "PATCH", ONE_POD)),
    *(("terminate", "DELETE", ONE_POD), ("terminate", "GET", ONE_POD)),
]
CREATE = PLACES[0]


def matrix() -> Iterator[object]:
    """Yield every kind of reply to a creation, and to one other call in turn (in soak to all)."""
    for number, kind in enumerate(HOSTILE_KINDS):
        others = PLACES[1:] if IS_SOAK else [PLACES[1:][number % len(PLACES[1:])]]
        for word, method, path in (CREATE, *others):
            yield pytest.param(kind, word, method, path, id=f"{word}, {method} {path}: {kind}")


def edited(**change: Any) -> Callable[[bytes], bytes]:
    """Return what puts these fields into every pod of a reply."""

    def falsify(body: bytes) -> bytes:
        told = json.loads(body)
        if "pods" in told:
            return json.dumps({"pods": [{**pod, **change} for pod in told["pods"]]}).encode()
        return json.dumps({**told, **change}).encode()

    return falsify


def says_clock(text: str, *more: str) -> bool:
    """Say whether it was told of clocks, with these words."""
    return all(re.search(rf"\b{word}\b", text) for word in ("clock", *more))


async def do(service: Deployments, word: str) -> None:
    """Do one thing to the one deployment; that it fails must be told by an error of ours."""
    with suppress(ConduitError):
        if word == "deploy":
            await service.deploy(WANTED)
            return
        (record,) = service.context.store.deployments(INSTALLATION.id)
        await getattr(service, word)(record.name)


@pytest.mark.parametrize(("kind", "word", "method", "path"), list(matrix()))
async def test_no_reply_leaves_a_pod_unseen_or_a_dollar_uncounted(
    bench: HostileBench, kind: str, word: str, method: str, path: str
):
    service = bench.service()
    if word != "deploy":
        await service.deploy(WANTED)
        bench.clock.advance(minutes=10)
    if word == "start":
        await do(service, "stop")
        bench.clock.advance(minutes=10)
    bench.server.spoil(hostile(kind, method, path))

    await do(service, word)

    await bench.require_order()


@pytest.mark.parametrize(
    "reply",
    [
        b"<html>",
        b"{}",
        b"null",
        b"[]",
        b'{"lease_until": NaN, "now": 1}',
        b'{"lease_until": 1e999',
        b'{"lease_until": 1e300, "now": 0}',
        b'{"lease_until": 0, "now": 500}',
        b"[" * 20_000,
        None,
    ],
)
async def test_an_extension_whose_reply_is_lost_is_looked_after(
    bench: HostileBench, reply: bytes | None
):
    service = bench.service()
    info = await service.deploy(request("runpod", hours=1 / 6))
    bench.pods.extend_reply = reply

    extended = await service.extend(info.name, 1)

    assert bench.pods.leases_s
    assert all(3500 < seconds <= 3600 for seconds in bench.pods.leases_s)
    assert (bench.record(extended).lease_until - bench.clock()).total_seconds() > 3500


async def test_a_guard_that_allows_less_is_believed_and_told(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(request("runpod", hours=1 / 6))
    bench.pods.extend_reply = b'{"lease_until": 700, "now": 0}'

    extended = await service.extend(info.name, 1)

    left_s = (bench.record(extended).lease_until - bench.clock()).total_seconds()
    assert left_s == pytest.approx(700, abs=10)
    assert any(info.name in text and "11 min" in text for text in bench.told)
    await bench.require_order()


class TestCreation:
    async def test_what_was_lost_is_asked_for_again_at_the_same_size_and_ended_when_it_comes(
        self, bench: HostileBench
    ):
        bench.server.behaviour.list_lag_s = 100  # longer than anybody expects
        bench.server.spoil(hostile("lost after", "POST", "/pods"))

        await bench.service().deploy(WANTED)

        pods = bench.server.account.pods()
        assert [pod.gpu and pod.gpu["count"] for pod in pods] == [1, 1]
        bench.clock.advance(seconds=101)
        await bench.service().look()
        assert [pod.is_up for pod in pods] == [False, True]
        await bench.require_order()

    async def test_what_is_lost_again_and_again_is_given_up(self, bench: HostileBench):
        bench.server.spoil(hostile("html before", "POST", "/pods", times=99))

        with pytest.raises(ProviderError) as caught:
            await bench.service().deploy(WANTED)

        assert caught.value.may_have_arrived
        asked = [one for one in bench.server.exchanges if one.path == "/v2/pods"]
        assert len([one for one in asked if one.method == "POST"]) == 2
        await bench.require_order()

    @pytest.mark.parametrize("status", [302, 303, 408, 503])
    async def test_a_status_that_tells_nothing_of_the_effect_is_looked_after(
        self, bench: HostileBench, status: int
    ):
        bench.server.spoil(Fault(answer=status, method="POST", path="/pods", takes_effect=True))

        info = await bench.service().deploy(WANTED)

        assert info.status == "running"
        assert len(bench.server.account.pods()) == 1
        await bench.require_order()

    @pytest.mark.parametrize("shown", ["its id", "all of it"])
    async def test_a_reply_that_shows_another_pod_is_taken_for_none(
        self, bench: HostileBench, shown: str
    ):
        service = bench.service()
        await service.deploy(WANTED)
        (before,) = bench.server.account.pods()
        other = before.to_wire(bench.clock())

        def another(body: bytes) -> bytes:
            told = json.loads(body)
            return json.dumps({**told, "id": before.id} if shown == "its id" else other).encode()

        bench.server.spoil(Fault(method="POST", path="/pods", falsify=another))
        second = await service.deploy(request("runpod", models=(LmLiteModelConfig("m/two"),)))

        assert len(bench.billing()) == 2
        await service.terminate(second.name)
        assert bench.billing() == [before.name]
        await bench.require_order()

    @pytest.mark.parametrize("met", ["another client ends it", "another client has ended it"])
    async def test_what_is_ended_while_it_is_created_ends_by_the_id_of_the_reply(
        self, bench: HostileBench, met: str
    ):
        bench.server.behaviour.list_lag_s = LIST_LAG_S  # its name is shown too late

        def meanwhile(body: bytes) -> bytes:
            store = bench.context().store
            (node,) = store.nodes()
            node = store.update_node(node, status="terminating")
            if met == "another client has ended it":
                store.update_node(node, status="terminated", ended_at=bench.clock())
            return body

        bench.server.spoil(Fault(method="POST", path="/pods", falsify=meanwhile))
        with suppress(ConduitError):
            await bench.service().deploy(WANTED)

        assert [pod.is_up for pod in bench.server.account.pods()] == [False]
        await bench.require_order()

    async def test_what_cannot_be_written_once_it_was_created_ends_by_the_id_of_the_reply(
        self, bench: HostileBench
    ):
        bench.server.behaviour.list_lag_s = LIST_LAG_S
        bench.url += "?timeout=0.05"
        state = sqlite3.connect(
            bench.folder / "state.sqlite3", isolation_level=None, check_same_thread=False
        )

        def locked(body: bytes) -> bytes:
            state.execute("BEGIN IMMEDIATE")
            return body

        bench.server.spoil(Fault(method="POST", path="/pods", falsify=locked))
        with suppress(ConduitError):
            await bench.service().deploy(WANTED)
        state.close()

        assert [pod.is_up for pod in bench.server.account.pods()] == [False]
        await bench.require_order()

    @pytest.mark.parametrize(
        ("at", "number"),
        [("after update_node", 1), ("after terminate", 1), ("before update_node", 3)],
    )
    async def test_a_client_that_dies_while_it_ends_what_came_late_leaves_no_charge_open(
        self, bench: HostileBench, at: str, number: int
    ):
        bench.server.behaviour.list_lag_s = 100
        bench.server.spoil(hostile("lost after", "POST", "/pods"))
        await bench.service().deploy(WANTED)
        bench.clock.advance(seconds=101)

        await bench.look_and_die(at, number)

        await bench.require_order()
        bench.clock.advance(hours=5)
        assert bench.counted_usd() == pytest.approx(bench.billed_usd(), abs=0.5)

    async def test_a_dearer_offering_is_told_with_both_prices(self, bench: HostileBench):
        bench.server.spoil(Fault(answer=400, method="POST", path="/pods"))

        info = await bench.service().deploy(WANTED)

        assert any("$0.79/h" in text and "$1.58/h" in text for text in bench.told)
        assert info.status == "running"
        await bench.service().terminate(info.name)


class TestPrice:
    async def test_a_pod_far_above_its_quote_is_ended(self, bench: HostileBench):
        bench.server.behaviour.price_factor = 3.8

        with pytest.raises(SpendCapError) as caught:
            await bench.service().deploy(WANTED)

        assert "$3.0" in str(caught.value)
        assert "$0.79" in str(caught.value)
        assert len(bench.server.account.pods()) == 1
        assert not bench.server.account.billing_pods()
        assert bench.counted_usd() == pytest.approx(bench.billed_usd(), abs=0.001)

    async def test_a_pod_above_the_users_limit_is_ended(self, bench: HostileBench):
        bench.server.behaviour.price_factor = 1.05

        with pytest.raises(SpendCapError):
            await bench.service().deploy(
                request("runpod", constraint=DeploymentConstraint(max_usd_per_hour=0.8))
            )

        assert not bench.server.account.billing_pods()

    @pytest.mark.parametrize("told_in", ["the create reply", "a later look"])
    async def test_a_pod_a_little_above_its_quote_lives_on_its_budget(
        self, bench: HostileBench, told_in: str
    ):
        bench.server.behaviour.price_factor = 1.08
        if told_in == "a later look":
            bench.server.spoil(hostile("price NaN", "POST", "/pods"))
        info = await bench.service().deploy(request("runpod", max_usd=1.0))

        (node,) = bench.nodes(info)

        real = bench.server.account.ledger.usd_per_hour()
        assert node.usd_per_hour == pytest.approx(real, rel=0.01)
        assert node.not_after is not None
        hours = (node.not_after - node.created_at).total_seconds() / 3600
        assert hours * real == pytest.approx(1.0, rel=0.01)
        assert any("$0.86/h" in text or "$0.85/h" in text for text in bench.told)
        await bench.require_order()

    async def test_a_price_that_rises_later_counts_from_then_on(self, bench: HostileBench):
        service = bench.service()
        info = await service.deploy(WANTED)

        bench.server.spoil(Fault(method="GET", path="/pods", falsify=edited(cost=0.84)))
        bench.server.spoil(Fault(method="GET", path=ONE_POD, falsify=edited(cost=0.84)))
        await service.look()

        (node,) = bench.nodes(info)
        report = await cost_report(service.context)
        assert node.usd_per_hour == pytest.approx(report.usd_per_hour)
        assert 0.84 < report.usd_per_hour < 0.86
        await service.terminate(info.name)

    async def test_a_price_of_next_to_nothing_is_not_counted_with(self, bench: HostileBench):
        cheap = edited(cost=0.0001)
        bench.server.spoil(Fault(method="POST", path="/pods", falsify=cheap))
        bench.server.spoil(Fault(method="GET", path=ONE_POD, falsify=cheap, times=9))

        await bench.service().deploy(WANTED)

        price = re.compile(r"\$0\.0\d{3}/h")
        assert len([text for text in bench.told if price.search(text)]) == 2
        await bench.require_order()

    async def test_a_refusal_that_has_created_a_pod_leaves_none(self, bench: HostileBench):
        bench.server.spoil(Fault(answer=400, method="POST", path="/pods", takes_effect=True))

        await bench.service().deploy(WANTED)

        await bench.settle()
        assert len(bench.billing()) == 1
        await bench.require_order()

    async def test_a_price_that_nobody_tells_makes_no_pod_free(self, bench: HostileBench):
        bench.server.behaviour.is_price_hidden = True

        await bench.service().deploy(WANTED)

        await bench.require_order()


class TestBoot:
    async def test_a_server_that_exits_ends_the_attempt_and_tells_why(self, bench: HostileBench):
        last_words = "ValueError: No available memory"
        bench.pods.state, bench.pods.log = "failed", (last_words,)

        with pytest.raises(BootError, match=last_words) as caught:
            await bench.service().deploy(WANTED)

        assert (caught.value.reason, caught.value.exit_code) == ("exited", 3)
        assert len(bench.server.account.pods()) == 1
        await bench.require_order()

    async def test_a_pod_that_is_denied_once_it_was_seen_has_ended(self, bench: HostileBench):
        bench.pods.state = "booting"
        bench.server.spoil(hostile("not found", "GET", ONE_POD, after=2, times=99))
        began = bench.clock()

        with pytest.raises(BootError) as caught:
            await bench.service().deploy(WANTED)

        assert caught.value.reason == "gone"
        assert (bench.clock() - began).total_seconds() < 300
        bench.server.faults.clear()
        await bench.require_order()

    async def test_a_pod_that_is_not_known_yet_is_waited_for(self, bench: HostileBench):
        bench.server.spoil(hostile("not found", "GET", ONE_POD, times=5))

        await bench.service().deploy(WANTED)

        assert len(bench.server.account.pods()) == 1
        await bench.require_order()

    async def test_a_pod_that_is_never_known_is_given_up_once_the_list_must_show_it(
        self, bench: HostileBench
    ):
        bench.list_lag_s = 10
        bench.server.spoil(hostile("not found", "GET", ONE_POD, times=99))
        began = bench.clock()

        with pytest.raises(BootError) as caught:
            await bench.service().deploy(WANTED)

        pods = bench.server.account.pods()
        assert caught.value.reason == "gone"
        assert len(pods) == 2, "a second one, of the same kind, is tried"
        waited_s = (bench.clock() - began).total_seconds() / len(pods)
        assert 10 < waited_s < 30
        bench.server.faults.clear()
        await bench.require_order()

    @pytest.mark.parametrize("is_mute", [False, True])
    async def test_what_a_server_writes_is_shown_while_it_boots(
        self, bench: HostileBench, monkeypatch: pytest.MonkeyPatch, is_mute: bool
    ):
        monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "60")
        bench.pods.state, bench.pods.is_mute = "booting", is_mute
        bench.pods.log = ("Loading the weights", "Compiling: 3 of 9")

        def is_shown() -> bool:
            return any(step.endswith("| Compiling: 3 of 9") for step in bench.steps)

        async def pause(_: float) -> None:
            told = len(bench.steps)
            await bench.pause(LOG_EVERY.total_seconds())
            await waiting.until(lambda: len(bench.steps) > told)
            bench.pods.state = "ready" if is_shown() else "booting"

        await bench.service(pause=pause).deploy(WANTED)

        assert is_shown()
        logs = [one for one in bench.server.exchanges if one.path.endswith("/logs")]
        assert bool(logs) == is_mute, "the provider is asked only where the guard tells nothing"
        assert len(bench.server.account.pods()) == 1
        await bench.require_order()

    async def test_a_boot_needs_no_connection_for_each_of_its_looks(self, bench: HostileBench):
        bench.server.behaviour.starting_s = 20
        bench.pods.state = "booting"
        at_each_look: list[int] = []

        async def pause(seconds: float) -> None:
            at_each_look.append(bench.server.connections)
            bench.pods.state = "booting" if len(at_each_look) < 20 else "ready"
            await bench.pause(seconds)

        await bench.service(pause=pause).deploy(WANTED)

        assert len(at_each_look) == 20
        assert at_each_look[-1] - at_each_look[0] < 5
        await bench.require_order()

    async def test_the_same_failure_twice_ends_the_attempt(
        self, bench: HostileBench, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "30")
        bench.pods.state = "booting"

        with pytest.raises(BootError) as caught:
            await bench.service().deploy(WANTED)

        assert caught.value.reason == "deadline"
        assert len(bench.server.account.pods()) == 2
        await bench.require_order()

    @pytest.mark.parametrize("kind", ["busy", "bad gateway", "lost before", "html", "{}", "list"])
    async def test_a_look_that_fails_ends_no_boot(self, bench: HostileBench, kind: str):
        bench.server.spoil(hostile(kind, "GET", ONE_POD, times=6))

        info = await bench.service().deploy(WANTED)

        assert info.status == "running"
        assert len(bench.server.account.pods()) == 1
        await bench.require_order()

    async def test_a_state_that_is_new_to_us_is_waited_out_and_told(self, bench: HostileBench):
        service = bench.service()
        bench.server.spoil(hostile("unknown status", "GET", ONE_POD, times=3))
        info = await service.deploy(WANTED)
        bench.server.spoil(hostile("unknown status", "GET", "/pods"))
        bench.server.spoil(hostile("unknown status", "GET", ONE_POD))
        await service.look()

        assert bench.record(info).status == "running"
        assert len([text for text in bench.told if "migrating" in text]) == 2
        await bench.require_order()


class TestClock:
    @pytest.mark.parametrize("year", [1970, 1999, 9998])
    async def test_a_date_that_no_clock_shows_is_ignored(self, bench: HostileBench, year: int):
        shown = datetime(year, 12, 31, 23, 59, tzinfo=UTC)
        bench.server.behaviour.date_ahead_s = (shown - bench.clock()).total_seconds()

        await bench.service().deploy(request("runpod", hours=1 / 6))

        (pod,) = bench.server.account.pods()
        terms = json.loads(pod.env["CONDUIT_GUARD"])
        left_s = terms["lease_until"] - bench.clock().timestamp()
        assert left_s == pytest.approx(600, abs=20)
        assert not any(map(says_clock, bench.told))
        await bench.require_order()

    @pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
    async def test_a_clock_that_is_wrong_here_is_told_and_changes_no_lease(
        self, bench: HostileBench, ahead_s: float
    ):
        bench.server.behaviour.date_ahead_s = -ahead_s  # the provider's clock is right

        info = await bench.service().deploy(request("runpod", hours=0.02))

        (pod,) = bench.server.account.pods()
        terms = json.loads(pod.env["CONDUIT_GUARD"])
        there = bench.clock().timestamp() - ahead_s
        assert terms["lease_until"] - there == pytest.approx(72, abs=20)
        assert terms["not_after"] > there
        way = "ahead" if ahead_s > 0 else "behind"
        assert any(says_clock(text, "runpod", way) for text in bench.told)
        assert any(re.search(r"\b(2 h 00|1 h 59) min\b", text) for text in bench.told)
        left_s = (bench.record(info).lease_until - bench.clock()).total_seconds()
        assert left_s == pytest.approx(72, abs=20)
        await bench.require_order()

    async def test_what_a_clock_has_written_that_was_ahead_costs_from_its_real_beginning(
        self, bench: HostileBench
    ):
        ahead = bench.service(clock=lambda: bench.clock() + timedelta(hours=2))
        info = await ahead.deploy(request("runpod", hours=0.25))
        bench.clock.advance(minutes=10)

        service = bench.service()
        await service.look()

        assert bench.counted_usd() == pytest.approx(bench.billed_usd(), abs=0.01)
        assert bench.counted_usd() > 0.1
        found = bench.record(info)
        assert (found.lease_until - bench.clock()).total_seconds() == pytest.approx(300, abs=60)
        bench.clock.advance(minutes=6)
        await service.look()
        assert bench.billing() == []

    @pytest.mark.parametrize("jump_s", [-7200.0, 7200.0])
    async def test_a_clock_that_jumps_ends_nothing_before_its_time(
        self, bench: HostileBench, jump_s: float
    ):
        service = bench.service()
        info = await service.deploy(request("runpod", hours=1))
        (name,) = bench.billing()
        jumped = bench.service(clock=lambda: bench.clock() + timedelta(seconds=jump_s))
        for _ in range(2):
            await jumped.look()
            bench.clock.advance(minutes=1)
        await service.look()

        assert bench.billing() == [name]
        assert any(says_clock(text, "runpod", "ahead") for text in bench.told) == (jump_s > 0)
        assert bench.record(info).lease_until == info.lease_until
        bench.clock.advance(hours=1)
        await jumped.look()
        await service.look()
        assert bench.billing() == []
        assert bench.counted_usd() >= bench.billed_usd() - 0.01

    async def test_a_clock_that_jumps_ends_no_boot(self, bench: HostileBench):
        bench.pods.state = "booting"
        is_dead = False

        async def pause(_: float) -> None:
            nonlocal is_dead
            is_dead = True
            raise KilledError

        def checkpoint(_: str) -> None:
            if is_dead:
                raise KilledError

        client = bench.service(pause=pause, checkpoint=checkpoint)
        with suppress(KilledError):
            await client.deploy(request("runpod", hours=2))
        (name,) = bench.billing()
        jumped = bench.service(clock=lambda: bench.clock() + timedelta(hours=1))
        await jumped.look()

        assert bench.billing() == [name]
        bench.pods.state = "ready"
        await jumped.look()
        (node,) = bench.context().store.nodes()
        assert node.status == "running"
        await bench.require_order()

    async def test_a_lease_that_is_over_is_not_begun_anew_by_what_a_pod_says_of_its_creation(
        self, bench: HostileBench
    ):
        service = bench.service()
        await service.deploy(request("runpod", hours=0.25))
        bench.clock.advance(minutes=16)
        late = bench.clock().isoformat()
        bench.server.spoil(Fault(method="GET", path="/pods", falsify=edited(createdAt=late)))

        await service.look()
        await service.look()

        assert bench.billing() == []


@pytest.mark.parametrize(
    "shown", [{"status": "EXITED"}, {"status": "ERROR"}, {"cost": 500.0}, {"status": 7, "cost": 0}]
)
async def test_a_list_that_is_older_than_the_node_or_false_changes_nothing(
    bench: HostileBench, shown: dict[str, Any]
):
    service = bench.service()
    info = await service.deploy(WANTED)
    bench.clock.advance(minutes=5)
    bench.server.spoil(Fault(method="GET", path="/pods", falsify=edited(**shown)))

    await service.look()
    await service.look()

    (node,) = bench.nodes(info)
    assert node.status == "running"
    assert bench.billing() == [node.name]
    await bench.require_order()


async def test_a_pod_that_is_shown_as_stopped_just_after_its_start_is_waited_for(
    bench: HostileBench,
):
    service = bench.service()
    info = await service.deploy(WANTED)
    await service.stop(info.name)
    old = Fault(method="GET", path=ONE_POD, falsify=edited(status="EXITED"), after=3, times=3)
    bench.server.spoil(old)  # after the looks of the renewal and before the start

    started = await service.start(info.name)

    assert (started.status, old.times) == ("running", 0)
    await bench.require_order()


async def test_a_start_goes_on_where_the_provider_adds_variables_of_its_own(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    await service.stop(info.name)

    def more(body: bytes) -> bytes:
        told = json.loads(body)
        return json.dumps({**told, "env": {**told["env"], "PUBLIC_KEY": "ssh-rsa"}}).encode()

    bench.server.spoil(Fault(method="GET", path=ONE_POD, falsify=more, after=1, times=99))

    assert (await service.start(info.name)).status == "running"


async def test_a_bill_that_names_other_pods_too_is_read_for_its_own(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    bench.clock.advance(hours=1)

    def others(body: bytes) -> bytes:
        told = json.loads(body)
        other = {**told["records"][0], "podId": "other", "totalAmount": 100.0}
        return json.dumps({**told, "records": [*told["records"], other]}).encode()

    bench.server.spoil(Fault(method="GET", path="/billing/pods", falsify=others))
    await service.terminate(info.name)

    (billed,) = [one.billed_usd for one in bench.context().store.charges() if one.billed_usd]
    assert billed == pytest.approx(bench.billed_usd(), rel=0.02)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("stop", {"id": "zzzzzz"}),
        ("start", {"id": "zzzzzz"}),
        ("restart", {"name": "conduit-ffffffffffff-abcdefgh-0-1"}),
        ("terminate", {"id": "zzzzzz"}),
    ],
)
async def test_a_look_that_shows_another_pod_leaves_none_unseen(
    bench: HostileBench, word: str, shown: dict[str, Any]
):
    service = bench.service()
    info = await service.deploy(WANTED)
    if word == "start":
        await service.stop(info.name)
    bench.server.spoil(Fault(method="GET", path=ONE_POD, falsify=edited(**shown), times=3))

    await do(service, word)

    await bench.require_order()


async def test_two_clients_that_terminate_at_once_past_lost_calls_leave_nothing(
    bench: HostileBench,
):
    info = await bench.service().deploy(WANTED)
    bench.server.spoil(hostile("html before", "DELETE", ONE_POD, times=2))

    await asyncio.gather(*(do(bench.service(), "terminate") for _ in range(2)))

    assert not bench.server.account.billing_pods()
    assert bench.nodes(info) == []
    await bench.require_order()


async def test_what_was_told_to_stop_and_runs_on_is_counted_and_stopped_again(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    await service.stop(info.name)
    (pod,) = bench.server.account.pods()
    bench.server.account.act(pod.id, "start")
    bench.clock.advance(minutes=30)

    await service.look()

    assert not pod.is_up
    assert bench.counted_usd() >= bench.billed_usd() - 0.001
    await bench.require_order()


async def test_a_delete_that_was_not_carried_out_is_made_again(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    bench.server.spoil(hostile("html before", "DELETE", ONE_POD))

    await service.terminate(info.name)

    assert not bench.server.account.billing_pods()


async def test_what_is_never_deleted_stays_terminating_and_goes_on_to_cost(bench: HostileBench):
    service = bench.service()
    info = await service.deploy(WANTED)
    bench.server.spoil(hostile("html before", "DELETE", ONE_POD, times=99))

    with suppress(ConduitError):
        await service.terminate(info.name)

    (node,) = bench.nodes(info)
    assert node.status == "terminating"
    bench.clock.advance(hours=1)
    assert bench.counted_usd() == pytest.approx(bench.billed_usd(), rel=0.01)
    bench.server.faults.clear()
    await bench.require_order()
