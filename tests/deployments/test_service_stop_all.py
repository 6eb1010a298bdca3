"""deployments/service.py, `stop("all")`: what can be stopped is, and what costs on is said."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.overview import cost_report
from conduit_nb.deployments.service import LOCAL_SERVER, Deployments
from conduit_nb.errors import (
    ArgumentError,
    DeploymentEndedError,
    PartlyFailedError,
    ProviderRefusedError,
)
from conduit_nb.providers.base import Node, Provider
from conduit_nb.providers.local import LocalProvider
from conduit_nb.units import dollars
from tests.deployments.deployed import Bench, rented, request
from tests.deployments.faulty_cloud import (
    USD_PER_HOUR,
    FaultyCloud,
    answering_server,
    provider_of,
    service_of,
)
from tests.deployments.test_failures import wanted

pytestmark = pytest.mark.system  # real processes, and rented nodes
RATE = re.compile(r"\$\d+\.\d+/h")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "1000")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with ExitStack() as stack:
        bench = Bench(tmp_path, cloud=rented(stack))
        yield bench
        await bench.service().terminate("all")
        assert bench.running() == []


@pytest.fixture
def cloud() -> Iterator[FaultyCloud]:
    with answering_server() as server:
        yield FaultyCloud(server.url)


def told(service: Deployments) -> list[str]:
    return [notice.text for notice in service.context.events.notices()]


async def test_a_mix_keeps_the_disks_of_what_is_rented_and_names_what_runs_here(bench: Bench):
    service = bench.service()
    pod = await service.deploy(request("runpod", name="pod"))
    here = await service.deploy(request("local", name="here"))
    await service.connect(DeploymentRequest())
    running = (await cost_report(service.context)).usd_per_hour
    bench.told.clear()

    infos = await service.stop("all")

    assert {info.name: info.status for info in infos} == {
        "pod": "stopped",
        "here": "running",
        service.shared.name: "stopped",
    }
    assert bench.cloud is not None
    assert [one.status for one in bench.cloud.account.pods()] == ["EXITED"]
    assert (bench.record(pod).status, bench.record(here).status) == ("stopped", "running")
    assert len(bench.running()) == 2, "the pod's disk, and the process"
    charges = bench.charges(pod)
    assert [one.state for one in charges] == ["running", "stopped"]
    (node,) = bench.nodes(pod)
    rate = (await cost_report(service.context)).usd_per_hour
    assert 0 < rate == charges[-1].usd_per_hour == node.stopped_usd_per_hour < running
    (left,) = [text for text in bench.told if re.search(r"\bhere\b", text)]
    assert not re.search(r"\bpod\b", left)
    (billed,) = [text for text in bench.told if RATE.search(text)]
    assert f"{dollars(rate)}/h" in billed
    assert "terminate all" in billed
    await service.aclose()


async def test_what_is_stopped_is_there_again_by_a_start_and_stopped_again_by_all(bench: Bench):
    service = bench.service()
    pod = await service.deploy(request("runpod", name="pod"))
    await service.stop("all")

    assert await service.stop("all") == [], "nothing is left that could be stopped"
    assert (await service.start("pod")).status == "running"
    assert [info.status for info in await service.stop("all")] == ["stopped"]
    assert bench.record(pod).status == "stopped"


@pytest.mark.needs("docker")
async def test_containers_stop_and_nothing_is_said_of_money(engine: str, tmp_path: Path):
    bench = Bench(tmp_path, engine=engine)
    service = bench.service()
    await service.deploy(request("docker", name="contained"))
    bench.told.clear()

    (info,) = await service.stop("all")

    assert (info.name, info.status) == ("contained", "stopped")
    assert len(bench.running()) == 1, "the container, which does not run"
    assert not any(RATE.search(text) for text in bench.told), "it costs nothing"
    await service.terminate("all")
    assert bench.running() == []


async def test_nothing_to_stop_says_nothing_of_money(tmp_path: Path):
    service = service_of(FaultyCloud("http://127.0.0.1:9"))

    assert await service.stop("all") == []
    assert told(service) == []
    assert not (tmp_path / "data" / "state.sqlite3").exists(), "no state is made for that"


class Refusing(FaultyCloud):
    """Refuses to stop the second that it is told to."""

    stops = 0

    async def stop(self, name: str, node_id: str | None = None) -> None:
        self.stops += 1
        if self.stops == 2:
            raise ProviderRefusedError(f"{name} goes on.", hint="Ask for something else.")
        await super().stop(name, node_id)


async def test_one_that_fails_in_the_middle_keeps_no_other_from_stopping(cloud: FaultyCloud):
    cloud = Refusing(cloud.url)
    service = service_of(cloud)
    infos = {name: await service.deploy(wanted(name)) for name in ("a", "b", "c")}

    with pytest.raises(PartlyFailedError) as raised:
        await service.stop("all")

    ((failed, error),) = raised.value.failures.items()
    assert isinstance(error, ProviderRefusedError)
    assert set(raised.value.done) == infos.keys() - {failed}
    assert raised.value.usd_per_hour == USD_PER_HOUR
    store = service.context.store
    states = {one.name: one.status for one in store.deployments()}
    assert {name for name, status in states.items() if status == "stopped"} == set(
        raised.value.done
    )
    assert len(cloud.names("stopped")) == 2
    assert cloud.ended == []
    (billed,) = [text for text in told(service) if RATE.search(text)]
    assert f"{dollars(USD_PER_HOUR)}/h" in billed
    assert "terminate all" in billed


async def test_a_provider_that_is_not_installed_any_more_keeps_no_other_from_stopping(
    cloud: FaultyCloud,
):
    service = service_of(cloud)
    gone, _ = await service.deploy(wanted("a")), await service.deploy(wanted("b"))
    store = service.context.store
    (node,) = store.nodes(gone.id)
    store.update_node(node, provider="uninstalled")

    def provider(name: str) -> Provider:
        if name == "uninstalled":
            raise ArgumentError("No such provider.", param="provider", hint="Install it.")
        return provider_of(cloud, name)

    later = service_of(cloud, provider=provider)
    with pytest.raises(PartlyFailedError) as raised:
        await later.stop("all")

    assert raised.value.failures.keys() == {"a"}
    assert raised.value.done == ("b",)
    assert raised.value.usd_per_hour == USD_PER_HOUR


async def test_what_another_client_is_ending_ends_and_what_it_is_starting_is_an_error(
    cloud: FaultyCloud,
):
    service = service_of(cloud)
    ending, starting = await service.deploy(wanted("a")), await service.deploy(wanted("b"))
    store = service.context.store
    (node,) = store.nodes(ending.id)
    for info, status in ((ending, "terminating"), (starting, "launching")):
        record = store.deployment(info.id or "")
        assert record is not None
        store.update_deployment(record, status=status, owner="elsewhere|1|1.0")

    with pytest.raises(DeploymentEndedError, match=r"\bb\b"):
        await service.stop("all")

    assert cloud.ended == [node.name]
    assert cloud.names("stopped") == []
    (billed,) = [text for text in told(service) if RATE.search(text)]
    assert f"{dollars(USD_PER_HOUR)}/h" in billed


async def test_a_shared_server_that_stays_is_named_and_the_rest_stops(cloud: FaultyCloud):
    class Mute(LocalProvider):
        async def list_nodes(self) -> list[Node]:
            raise ProviderRefusedError("It is not told.", hint="Ask again.")

    await service_of(cloud).deploy(wanted("a"))
    mute = Mute()
    later = service_of(
        cloud, provider=lambda name: mute if name == "local" else provider_of(cloud, name)
    )

    with pytest.raises(PartlyFailedError) as raised:
        await later.stop("all")

    assert raised.value.failures.keys() == {LOCAL_SERVER}
    assert raised.value.done == ("a",)
    assert cloud.names("stopped") == cloud.names()
