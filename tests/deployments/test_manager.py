"""deployments/manager.py: real processes here and on a local Runpod server, one state."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from conduit_nb.compute.request import Replicas
from conduit_nb.deployments.lease import ask_guard
from conduit_nb.deployments.manager import DeploymentManager
from conduit_nb.deployments.money import Caps
from conduit_nb.deployments.overview import cost_report
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
    manager = bench.manager()
    for record in await manager.deployments():
        await manager.terminate(record.id)
    assert bench.running() == []


def rented_bench(stack: ExitStack, folder: Path, behaviour: Behaviour | None = None) -> Bench:
    return Bench(folder, cloud=rented(stack, behaviour))


async def ask(manager: DeploymentManager, text: str = "hi", **change: object) -> str:
    endpoint = await manager.ensure(request(**change))  # type: ignore[arg-type]  # a test's own
    reply = await endpoint.chat({"model": "m/one", "messages": [{"role": "user", "content": text}]})
    await endpoint.aclose()
    return reply["choices"][0]["message"]["content"]


async def test_a_deployment_answers_is_shared_and_ends(local: Bench):
    first = await ask(local.manager())
    second = await ask(local.manager())

    assert first == second
    assert len(local.running()) == 1
    (record,) = await local.manager().deployments()
    assert record.status == "running"
    await local.manager().terminate(record.name)
    assert local.running() == []
    assert await local.manager().deployments() == []


async def test_the_same_on_rented_compute_with_nothing_changed_but_the_provider(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    manager = bench.manager()

    answer = await ask(manager, "hello", provider="runpod")

    assert answer.endswith("hello")
    report = await cost_report(manager.tools)
    (cost,) = report.deployments
    assert cost.usd_per_hour > 0.7
    assert read_summary() is not None
    assert read_summary().usd_per_hour == pytest.approx(cost.usd_per_hour)  # type: ignore[union-attr]  # just asserted
    await manager.terminate(cost.record.name)
    assert bench.running() == []
    assert (await cost_report(manager.tools)).usd_per_hour == 0


async def test_clients_at_once_make_one_deployment(local: Bench):
    answers = await asyncio.gather(*(ask(local.manager()) for _ in range(4)))

    assert len(set(answers)) == 1
    assert len(local.running()) == 1


async def test_every_replica_has_a_node_and_all_of_them_answer(local: Bench):
    endpoint = await local.manager().ensure(request(replicas=Replicas(min=2, max=2)))
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
    endpoint = await bench.manager().ensure(request(models=two))
    await endpoint.chat({"model": "m/two", "messages": [{"role": "user", "content": "x"}]})
    await endpoint.aclose()

    assert len(bench.running()) == 2
    await end_all(bench)


async def test_a_vanished_node_is_started_anew_by_the_next_who_asks(local: Bench):
    first = await ask(local.manager())
    name = local.running()[0]
    await local.local.terminate(name)
    local.clock.advance(seconds=2)

    second = await ask(local.manager())

    assert first != second
    assert len(local.running()) == 1


async def test_a_server_that_does_not_boot_is_ended_and_its_last_words_are_told(tmp_path: Path):
    bench = Bench(tmp_path, flags=("--dies", "3"))
    with pytest.raises(BootError, match=LAST_WORDS) as caught:
        await bench.manager().deploy(request())

    assert (caught.value.reason, caught.value.exit_code) == ("exited", 3)
    assert caught.value.log[-1] == LAST_WORDS
    assert bench.running() == []
    assert await bench.manager().deployments() == []


async def test_what_is_sold_out_makes_room_for_the_next_best(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path, Behaviour(sold_out={"AMD Instinct MI300X OAM"}))
    manager = bench.manager()

    record = await manager.deploy(request("runpod", gpu=None, gpu_count=1))

    tried = await manager.tools.read(manager.tools.store.nodes, record.id, live_only=False)
    assert {node.status for node in tried[:-1]} == {"failed"}
    assert tried[-1].status == "running"
    assert len(bench.running()) == 1
    await end_all(bench)


async def test_a_pod_that_never_boots_ends_at_its_deadline_and_the_next_is_tried(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "10")
    bench = rented_bench(stack, tmp_path, Behaviour(never_boots=".*-1"))
    manager = bench.manager()

    record = await manager.deploy(request("runpod"))

    first, second = await manager.tools.read(manager.tools.store.nodes, record.id, live_only=False)
    assert (first.status, second.status) == ("terminated", "running")
    assert bench.running() == [second.name]
    charges = await manager.tools.read(manager.tools.store.charges, record.id)
    assert charges[0].node == first.name
    assert charges[0].end is not None
    await end_all(bench)


async def test_nothing_that_would_do_is_an_error_and_leaves_nothing(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    with pytest.raises(NoOfferingError, match="runpod"):
        await bench.manager().deploy(request("runpod", gpu="H100 SXM", gpu_count=8))

    assert await bench.manager().deployments() == []


async def test_no_capacity_anywhere_is_told(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path, Behaviour(sold_out={"NVIDIA L40S"}))
    with pytest.raises(NoCapacityError):
        await bench.manager().deploy(request("runpod"))

    assert bench.running() == []
    assert await bench.manager().deployments() == []


class TestMoney:
    async def test_a_cap_that_is_too_small_creates_nothing_and_names_its_knob(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        with pytest.raises(SpendCapError) as caught:
            await bench.manager().deploy(request("runpod", max_usd=0.01))

        assert "--max-usd" in caught.value.hint
        assert bench.running() == []
        assert not [one for one in bench.cloud.exchanges if one.method == "POST"]  # type: ignore[union-attr]  # it is there

    async def test_the_days_cap_holds_for_all_and_no_option_replaces_it(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        bench.caps = Caps(deployment_usd=5, day_usd=5)
        record = await bench.manager().deploy(request("runpod"))
        with pytest.raises(SpendCapError) as caught:
            await bench.manager().deploy(request("runpod", gpu="A100", max_usd=50))

        assert caught.value.left_usd == 0
        assert set(caught.value.held_by) == {record.name}
        assert "CONDUIT_MAX_USD_PER_DAY" in caught.value.hint
        assert len(bench.running()) == 1
        await end_all(bench)

    async def test_a_node_may_live_as_long_as_its_money_lasts(
        self, stack: ExitStack, tmp_path: Path
    ):
        bench = rented_bench(stack, tmp_path)
        record = await bench.manager().deploy(request("runpod", max_usd=1.0))
        tools = bench.tools()
        (node,) = await tools.read(tools.store.nodes, record.id)

        assert node.not_after is not None
        hours = (node.not_after - node.created_at).total_seconds() / 3600
        assert hours * node.usd_per_hour == pytest.approx(1.0)
        with pytest.raises(ArgumentError, match=r"\b10\.0 h\b") as caught:
            await bench.manager().extend(record.name, 10 * 3600)
        assert caught.value.param == "hours"
        assert "--max-usd" in caught.value.hint
        await end_all(bench)


async def test_a_lease_is_extended_on_the_node_itself(local: Bench):
    record = await local.manager().deploy(request(lease_s=60))
    extended = await local.manager().extend(record.name, 3600)
    before = extended.lease_until

    assert (before - record.lease_until).total_seconds() > 3000
    local.clock.advance(minutes=5)
    await local.manager().reconcile()
    assert len(local.running()) == 1


async def test_a_lease_that_is_extended_during_the_boot_reaches_the_guard(local: Bench):
    extended: list[DeploymentRecord] = []

    async def extend_once(_: float) -> None:
        if not extended:
            (record,) = await local.manager().deployments()
            extended.append(await local.manager().extend(record.name, 3600))
        await asyncio.sleep(0.02)

    tools = replace(local.tools(), pause=extend_once)
    record = await DeploymentManager(tools).deploy(request(lease_s=60))
    (node,) = await tools.read(tools.store.nodes, record.id)
    assert node.url is not None
    told = await ask_guard(node.url, tools.installation.endpoint_key(record.id))

    assert extended
    assert told is not None
    assert abs((told.lease_until - extended[0].lease_until).total_seconds()) < 1


async def test_a_lease_that_is_over_ends_the_deployment_in_every_client(local: Bench):
    await local.manager().deploy(request(lease_s=60))
    local.clock.advance(minutes=2)
    await local.manager().reconcile()
    await local.manager().reconcile()

    assert local.running() == []
    assert await local.manager().deployments() == []


async def test_stop_and_start_keep_a_pod_and_its_rates_are_in_the_ledger(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    manager = bench.manager()
    record = await manager.deploy(request("runpod"))
    stopped = await manager.stop(record.name)
    cheap = (await cost_report(manager.tools)).usd_per_hour
    again = await manager.deploy(request("runpod"))
    charges = await manager.tools.read(manager.tools.store.charges, record.id)

    assert (stopped.status, again.id, again.status) == ("stopped", record.id, "running")
    assert 0 < cheap < 0.05
    assert [charge.state for charge in charges] == ["running", "stopped", "running"]
    assert len(bench.running()) == 1
    await end_all(bench)


async def test_what_is_started_after_its_first_deadlines_lives_by_new_ones(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    manager = bench.manager()
    record = await manager.deploy(request("runpod", lease_s=6))
    (first,) = await manager.tools.read(manager.tools.store.nodes, record.id)
    await manager.stop(record.name)
    await waiting.until(lambda: bench.clock() > record.lease_until + timedelta(seconds=1))

    again = await manager.start(record.name)
    (node,) = await manager.tools.read(manager.tools.store.nodes, record.id)
    told = await ask_guard(node.url or "", INSTALLATION.endpoint_key(record.id))

    assert again.status == "running"
    assert node.not_after is not None
    assert first.not_after is not None
    assert node.not_after > first.not_after, "while it stood still it has spent next to nothing"
    assert told is not None
    assert told.lease_until == pytest.approx(again.lease_until, abs=timedelta(seconds=1))
    assert told.not_after == pytest.approx(node.not_after, abs=timedelta(seconds=1))
    await end_all(bench)


async def test_what_has_spent_its_budget_is_not_started_again(stack: ExitStack, tmp_path: Path):
    bench = rented_bench(stack, tmp_path)
    manager = bench.manager()
    record = await manager.deploy(request("runpod", max_usd=1))
    (node,) = await manager.tools.read(manager.tools.store.nodes, record.id)
    bench.clock.advance(hours=0.99 / node.usd_per_hour)
    await manager.stop(record.name)

    with pytest.raises(SpendCapError, match=rf"{node.name}.*\$0\.0\d\b") as refused:
        await manager.start(record.name)

    assert 0 < refused.value.left_usd < 0.05
    assert refused.value.held_by == {}
    assert "--max-usd" in refused.value.hint
    assert (await manager.find(record.name)).status == "stopped"
    await end_all(bench)


async def test_what_cannot_be_stopped_says_what_can_be_done(local: Bench):
    record = await local.manager().deploy(request())
    with pytest.raises(DeploymentError, match=record.name) as caught:
        await local.manager().stop(record.name)

    assert caught.value.code == "deployment"
    assert f"%conduit terminate {record.name}" in caught.value.hint
    assert (await local.manager().find(record.name)).status == "running"


async def test_an_interrupted_deploy_ends_what_it_had_started(tmp_path: Path):
    bench = Bench(tmp_path, flags=("--never-listens",))
    deploying = asyncio.create_task(bench.manager().deploy(request()))
    await waiting.until(lambda: bench.steps)
    assert re.match(r"one-\w{4}\b.*\blocal\b.*\b\d\.\d s\b", bench.steps[0])
    deploying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deploying

    assert bench.running() == []
    assert await bench.manager().deployments() == []


async def test_a_create_call_that_broke_off_is_found_again_and_not_repeated(
    stack: ExitStack, tmp_path: Path
):
    bench = rented_bench(stack, tmp_path)
    assert bench.cloud is not None
    bench.cloud.spoil(Fault(answer="drop", method="POST", path="/pods", takes_effect=True))

    await bench.manager().deploy(request("runpod"))

    assert len(bench.running()) == 1
    await end_all(bench)


async def test_an_unknown_name_lists_what_there_is(local: Bench):
    record = await local.manager().deploy(request(name="mine"))
    with pytest.raises(ArgumentError, match="'yours'") as caught:
        await local.manager().terminate("yours")

    assert caught.value.param == "name"
    assert record.name in caught.value.hint
