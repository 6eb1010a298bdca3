"""deployments/service.py: real processes here and on a local Runpod server, one state."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.compute.request import Replicas
from conduit_nb.deployments.lease import ask_guard
from conduit_nb.deployments.money import Caps
from conduit_nb.deployments.overview import cost_report
from conduit_nb.deployments.service import Deployments
from conduit_nb.errors import (
    ArgumentError,
    BootError,
    DeploymentError,
    NoCapacityError,
    NoOfferingError,
    SpendCapError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.state.records import DeploymentRecord
from conduit_nb.state.summary import read_summary
from conduit_nb.testing.runpod_server import Behaviour, Fault
from tests import waiting
from tests.deployments.deployed import INSTALLATION, Bench, rented, request
from tests.echo_server import LAST_WORDS

pytestmark = pytest.mark.system  # real processes, and a rented node for each test


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await end_all(bench)


async def end_all(bench: Bench) -> None:
    await bench.service().terminate("all")
    assert bench.running() == []


def rented_bench(stack: ExitStack, folder: Path, behaviour: Behaviour | None = None) -> Bench:
    return Bench(folder, cloud=rented(stack, behaviour))


async def ask(service: Deployments, text: str = "hi", **change: Any) -> str:
    endpoint = await service.connect(request(**change))
    reply = await endpoint.chat({"model": "m/one", "messages": [{"role": "user", "content": text}]})
    await service.aclose()
    return reply["choices"][0]["message"]["content"]


async def test_a_deployment_answers_is_shared_and_ends(local: Bench):
    first = await ask(local.service())
    second = await ask(local.service())

    assert first == second
    assert len(local.running()) == 1
    (record,) = local.records()
    assert record.status == "running"
    (ended,) = await local.service().terminate(record.name)
    assert (ended.id, ended.status) == (record.id, "terminated")
    assert local.running() == []
    assert local.records() == []


async def test_the_same_on_rented_compute_with_nothing_changed_but_the_provider(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    service = bench.service()

    answer = await ask(service, "hello", provider="runpod")

    assert answer.endswith("hello")
    report = await cost_report(service.context)
    (cost,) = report.deployments
    assert cost.usd_per_hour > 0.7
    assert read_summary() is not None
    assert read_summary().usd_per_hour == pytest.approx(cost.usd_per_hour)  # type: ignore[union-attr]  # just asserted
    await service.terminate(cost.record.name)
    assert bench.running() == []
    assert (await cost_report(service.context)).usd_per_hour == 0


async def test_clients_at_once_make_one_deployment(local: Bench):
    answers = await asyncio.gather(*(ask(local.service()) for _ in range(4)))

    assert len(set(answers)) == 1
    assert len(local.running()) == 1


async def test_every_replica_has_a_node_and_all_of_them_answer(local: Bench):
    endpoint = await local.service().connect(request(replicas=Replicas(min=2, max=2)))
    answers = {
        (await endpoint.chat({"model": "m/one", "messages": [{"role": "user", "content": "x"}]}))[
            "choices"
        ][0]["message"]["content"]
        for _ in range(4)
    }
    await endpoint.aclose()

    assert len(local.running()) == 2
    assert len(answers) == 2


async def test_a_runtime_of_one_model_a_server_has_several_servers(tmp_path: Path):
    bench = Bench(tmp_path, models_per_server=1)
    two = (LmLiteModelConfig("m/one"), LmLiteModelConfig("m/two"))
    endpoint = await bench.service().connect(request(models=two))
    await endpoint.chat({"model": "m/two", "messages": [{"role": "user", "content": "x"}]})
    await endpoint.aclose()

    assert len(bench.running()) == 2
    await end_all(bench)


async def test_a_vanished_node_is_started_anew_by_the_next_who_asks(local: Bench):
    first = await ask(local.service())
    name = local.running()[0]
    await local.local.terminate(name)
    local.clock.advance(seconds=2)

    second = await ask(local.service())

    assert first != second
    assert len(local.running()) == 1


async def test_a_server_that_does_not_boot_is_ended_and_its_last_words_are_told(tmp_path: Path):
    bench = Bench(tmp_path, flags=("--dies", "3"))
    with pytest.raises(BootError, match=LAST_WORDS) as caught:
        await bench.service().deploy(request())

    assert (caught.value.reason, caught.value.exit_code) == ("exited", 3)
    assert LAST_WORDS in caught.value.log, "its guard may have the last word"
    assert bench.running() == []
    assert bench.records() == []


async def test_what_is_sold_out_makes_room_for_the_next_best(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path, Behaviour(sold_out={"AMD Instinct MI300X OAM"}))
    service = bench.service()

    info = await service.deploy(request("runpod", gpu=None, gpu_count=1))

    tried = bench.nodes(info, live_only=False)
    assert {node.status for node in tried[:-1]} == {"failed"}
    assert tried[-1].status == "running"
    assert len(bench.running()) == 1
    await end_all(bench)


async def test_a_pod_that_never_boots_ends_at_its_deadline_and_the_next_is_tried(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "10")
    bench = rented_bench(stack, tmp_path, Behaviour(never_boots=".*-1"))
    service = bench.service()

    info = await service.deploy(request("runpod"))

    first, second = bench.nodes(info, live_only=False)
    assert (first.status, second.status) == ("terminated", "running")
    assert bench.running() == [second.name]
    charges = bench.charges(info)
    assert charges[0].node == first.name
    assert charges[0].end is not None
    await end_all(bench)


async def test_nothing_that_would_do_is_an_error_and_leaves_nothing(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    with pytest.raises(NoOfferingError, match="runpod"):
        await bench.service().deploy(request("runpod", gpu="H100 SXM", gpu_count=8))

    assert bench.records() == []


async def test_no_capacity_anywhere_is_told(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path, Behaviour(sold_out={"NVIDIA L40S"}))
    with pytest.raises(NoCapacityError):
        await bench.service().deploy(request("runpod"))

    assert bench.running() == []
    assert bench.records() == []


class TestMoney:
    async def test_what_would_be_refused_is_known_before_anything_was_ever_deployed(
        self, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        bench = rented_bench(stack, tmp_path)
        monkeypatch.setenv("CONDUIT_DB_URI", bench.url)
        service = bench.service(store=None)  # it is opened when it is first needed
        quote = await service.quote(request("runpod", max_usd=0.01))

        with pytest.raises(SpendCapError):
            await service.require_deployable(quote)

        await service.require_deployable(await service.quote(request("runpod")))
        assert bench.records() == []

    async def test_a_cap_that_is_too_small_creates_nothing_and_names_its_knob(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        with pytest.raises(SpendCapError) as caught:
            await bench.service().deploy(request("runpod", max_usd=0.01))

        assert "--max-usd" in caught.value.hint
        assert bench.running() == []
        assert not [one for one in bench.cloud.exchanges if one.method == "POST"]  # type: ignore[union-attr]  # it is there

    async def test_the_days_cap_holds_for_all_and_no_option_replaces_it(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        bench.caps = Caps(deployment_usd=5, day_usd=5)
        info = await bench.service().deploy(request("runpod"))
        with pytest.raises(SpendCapError) as caught:
            await bench.service().deploy(request("runpod", gpu="A100", max_usd=50))

        assert caught.value.left_usd == 0
        assert set(caught.value.held_by) == {info.name}
        assert "CONDUIT_MAX_USD_PER_DAY" in caught.value.hint
        assert len(bench.running()) == 1
        await end_all(bench)

    async def test_a_node_may_live_as_long_as_its_money_lasts(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        info = await bench.service().deploy(request("runpod", max_usd=1.0))
        (node,) = bench.nodes(info)

        assert node.not_after is not None
        hours = (node.not_after - node.created_at).total_seconds() / 3600
        assert hours * node.usd_per_hour == pytest.approx(1.0)
        with pytest.raises(ArgumentError, match=r"\b10\.0\b") as caught:
            await bench.service().extend(info.name, 10)
        assert caught.value.param == "hours"
        assert "--max-usd" in caught.value.hint
        assert bench.record(info).lease_until == info.lease_until
        await end_all(bench)


async def test_a_lease_is_extended_on_the_node_itself(local: Bench):
    before = local.record(await local.service().deploy(request(hours=1 / 60))).lease_until
    (info,) = [await local.service().extend(record.name, 1) for record in local.records()]

    assert local.record(info).lease_until == info.lease_until
    assert (local.record(info).lease_until - before).total_seconds() > 3000
    local.clock.advance(minutes=5)
    await local.service().look()
    assert len(local.running()) == 1


async def test_a_lease_that_is_extended_during_the_boot_reaches_the_guard(local: Bench):
    extended: list[DeploymentRecord] = []

    async def extend_once(_: float) -> None:
        if not extended:
            (record,) = local.records()
            extended.append(local.record(await local.service().extend(record.name, 1)))
        await asyncio.sleep(0.02)

    info = await local.service(pause=extend_once).deploy(request(hours=1 / 60))
    (node,) = local.nodes(info)
    assert node.url is not None
    told = await ask_guard(node.url, INSTALLATION.endpoint_key(node.deployment))

    assert extended
    assert told is not None
    assert abs((told.lease_until - extended[0].lease_until).total_seconds()) < 1


async def test_a_lease_that_is_over_ends_the_deployment_in_every_client(local: Bench):
    await local.service().deploy(request(hours=1 / 60))
    local.clock.advance(minutes=2)
    await local.service().look()
    await local.service().look()

    assert local.running() == []
    assert local.records() == []


async def test_stop_and_start_keep_a_pod_and_its_rates_are_in_the_ledger(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    service = bench.service()
    info = await service.deploy(request("runpod"))
    (stopped,) = await service.stop(info.name)
    cheap = (await cost_report(service.context)).usd_per_hour
    again = await service.deploy(request("runpod"))
    charges = bench.charges(info)

    assert (stopped.status, again.id, again.status) == ("stopped", info.id, "running")
    assert 0 < cheap < 0.05
    assert [charge.state for charge in charges] == ["running", "stopped", "running"]
    assert len(bench.running()) == 1
    await end_all(bench)


async def test_what_is_started_after_its_first_deadlines_lives_by_new_ones(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    service = bench.service()
    info = await service.deploy(request("runpod", hours=6 / 3600))
    (first,) = bench.nodes(info)
    await service.stop(info.name)
    over = bench.record(info).lease_until + timedelta(seconds=1)
    await waiting.until(lambda: bench.clock() > over)

    again = await service.start(info.name)
    (node,) = bench.nodes(info)
    told = await ask_guard(node.url or "", INSTALLATION.endpoint_key(node.deployment))
    lease_until = bench.record(again).lease_until

    assert again.status == "running"
    assert node.not_after is not None
    assert first.not_after is not None
    assert node.not_after > first.not_after, "while it stood still it has spent next to nothing"
    assert told is not None
    assert told.lease_until == pytest.approx(lease_until, abs=timedelta(seconds=1))
    assert told.not_after == pytest.approx(node.not_after, abs=timedelta(seconds=1))
    await end_all(bench)


async def test_what_has_spent_its_budget_is_not_started_again(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path)
    service = bench.service()
    info = await service.deploy(request("runpod", max_usd=1))
    (node,) = bench.nodes(info)
    bench.clock.advance(hours=0.99 / node.usd_per_hour)
    await service.stop(info.name)

    with pytest.raises(SpendCapError, match=rf"{node.name}.*\$0\.0\d\b") as refused:
        await service.start(info.name)

    assert 0 < refused.value.left_usd < 0.05
    assert refused.value.held_by == {}
    assert "--max-usd" in refused.value.hint
    assert bench.record(info).status == "stopped"
    await end_all(bench)


async def test_what_cannot_be_stopped_says_what_can_be_done(local: Bench):
    info = await local.service().deploy(request())
    with pytest.raises(DeploymentError, match=info.name) as caught:
        await local.service().stop(info.name)

    assert caught.value.code == "deployment"
    assert f"%conduit terminate {info.name}" in caught.value.hint
    assert local.record(info).status == "running"


async def test_an_interrupted_deploy_ends_what_it_had_started(tmp_path: Path):
    bench = Bench(tmp_path, flags=("--never-listens",))
    deploying = asyncio.create_task(bench.service().deploy(request()))
    await waiting.until(lambda: bench.steps)
    assert re.match(r"one-\w{4}\b.*\blocal\b.*\b\d\.\d s\b", bench.steps[0])
    deploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deploying

    assert bench.running() == []
    assert bench.records() == []


async def test_a_create_call_that_broke_off_is_found_again_and_not_repeated(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    assert bench.cloud is not None
    bench.cloud.spoil(Fault(answer="drop", method="POST", path="/pods", takes_effect=True))

    await bench.service().deploy(request("runpod"))

    assert len(bench.running()) == 1
    await end_all(bench)


async def test_an_unknown_name_lists_what_there_is(local: Bench):
    info = await local.service().deploy(request(name="mine"))
    with pytest.raises(ArgumentError, match="'yours'") as caught:
        await local.service().terminate("yours")

    assert caught.value.param == "name"
    assert info.name in caught.value.hint
