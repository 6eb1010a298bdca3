"""fleet.py: what users do with deployments, through a session, with real processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    SpendCapError,
)
from conduit_nb.fleet import plan_of
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import ChatRequest
from conduit_nb.providers.base import Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from tests import waiting
from tests.deployments.faulty_cloud import (
    CAPABILITIES,
    USD_PER_HOUR,
    FaultyCloud,
    answering_server,
)
from tests.deployments.test_failures import wanted, world
from tests.fake_lmlite import FakeRuntime

pytestmark = pytest.mark.system  # real processes

MODEL = LmLiteModelConfig("m/one")
REQUEST = DeploymentRequest(models=(MODEL,), runtime="fake", name="mine")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    provider = LocalProvider(grace_s=1)
    session = Session(
        make_runtime=lambda name: FakeRuntime(name=name),
        make_provider=lambda _: provider,
        provider_names=lambda: ["local"],
        hung_after_s=1.0,
    )
    yield session
    session.stop("all")
    session.close()


def deploy(session: Session, request: DeploymentRequest = REQUEST) -> DeploymentInfo:
    return session.wait(session.fleet.deploy(request))


def ask(session: Session, request: DeploymentRequest = REQUEST) -> str:
    async def once() -> str:
        endpoint = await session.endpoint(request)
        question: ChatRequest = {
            "model": "m/one",
            "messages": [{"role": "user", "content": "hi"}],
        }
        return (await endpoint.chat(question))["choices"][0]["message"]["content"]

    return session.wait(once())


def test_what_is_deployed_is_told_with_what_it_costs(session: Session):
    info = deploy(session)

    assert (info.name, info.status, info.nodes) == ("mine", "running", "1/1")
    assert (info.usd_per_hour, info.spent_usd) == (0, 0)
    assert info.lease_until is not None
    assert [found.name for found in session.ps()] == ["mine"]
    assert info.models == {"m/one": "ready"}


def test_a_block_asks_what_is_deployed_and_deploys_what_is_not(session: Session):
    first = ask(session)
    deployed = session.ps()

    assert ask(session) == first
    assert len(deployed) == 1
    assert deploy(session).id == deployed[0].id


def test_many_who_ask_at_once_share_one_deployment(session: Session):
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(ask(session))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(said)) == 1
    assert len(session.ps()) == 1


def test_words_that_end_it(session: Session):
    deploy(session)
    with pytest.raises(DeploymentError, match=r"\blocal\b.*\bmine\b") as refused:
        session.stop("mine")
    assert "%conduit terminate mine" in refused.value.hint
    (ended,) = session.wait(session.fleet.terminate("mine"))

    assert ended.status == "terminated"
    assert session.ps() == []
    with pytest.raises(ArgumentError, match="'mine'"):
        session.wait(session.fleet.terminate("mine"))


@dataclass
class LazyCloud(FaultyCloud):
    """Answers an end with success, and ends nothing before `may_end`; creates at `may_create`."""

    may_end: bool = False
    may_create: threading.Event = field(default_factory=threading.Event)

    async def launch(
        self, spec: LaunchSpec, secrets: Mapping[str, str], offering: ComputeOffering | None = None
    ) -> Node:
        self.calls.append("is asked")
        await asyncio.to_thread(self.may_create.wait, 20)
        return await super().launch(spec, secrets, offering)

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        if self.may_end:
            await super().terminate(name, node_id)


@pytest.mark.parametrize("word", ["a", "all"])
def test_what_cannot_be_ended_yet_is_told_with_what_it_costs(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with answering_server() as server:
        cloud = LazyCloud(server.url)
        cloud.may_create.set()
        with world(tmp_path, cloud, monkeypatch) as here:
            here.deployed(wanted("a"))
            (before,) = here.do(here.session.fleet.terminate(word))
            cloud.may_end = True
            (after,) = here.do(here.session.fleet.terminate(word))

    assert (before.status, before.usd_per_hour) == ("terminating", USD_PER_HOUR)
    assert (after.status, after.usd_per_hour) == ("terminated", 0)
    assert cloud.names() == []


def test_what_may_still_be_created_is_told_with_what_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with answering_server() as server:
        lagging = replace(CAPABILITIES, list_lag_s=60)
        cloud = LazyCloud(server.url, capabilities=lagging, may_end=True)
        with world(tmp_path, cloud, monkeypatch) as here:
            deploying = here.session.submit(here.session.fleet.deploy(wanted("a")))
            waiting.until_true(lambda: "is asked" in cloud.calls)
            (info,) = here.do(here.session.fleet.terminate("a"))
            cloud.may_create.set()
            with pytest.raises(ConduitError):
                deploying.result(20)
            assert here.session.ps() == []

    assert (info.status, info.usd_per_hour) == ("terminating", USD_PER_HOUR)
    assert (len(cloud.ended), cloud.names()) == (1, [])


def test_stop_all_ends_everything(session: Session):
    deploy(session)
    ask(session, DeploymentRequest())

    assert len(session.ps()) == 2
    stopped = session.stop("all")

    assert len(stopped) == 2
    assert session.ps() == []


def test_a_lease_is_extended(session: Session):
    before = deploy(session).lease_until
    after = session.wait(session.fleet.extend("mine", 7200)).lease_until

    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 3000


def test_logs_of_a_deployment_are_read_by_its_name(session: Session):
    deploy(session)

    assert any("fake LmLite begins" in line for line in session.logs("mine"))
    with pytest.raises(ArgumentError, match="'other'"):
        session.logs("other")


def test_a_deployment_that_lost_its_server_is_replaced_for_whoever_asks(session: Session):
    first = ask(session)
    (info,) = session.ps()
    nodes = session.wait(LocalProvider(grace_s=1).list_nodes())
    session.wait(LocalProvider(grace_s=1).terminate(nodes[0].name))

    async def fresh() -> str:
        endpoint = await session.endpoint(REQUEST, fresh=True)
        question: ChatRequest = {
            "model": "m/one",
            "messages": [{"role": "user", "content": "hi"}],
        }
        return (await endpoint.chat(question))["choices"][0]["message"]["content"]

    assert session.wait(fresh()) != first
    assert info.id is not None


def test_what_was_ended_on_purpose_is_not_rented_anew_by_rows_on_their_way(session: Session):
    ask(session)
    name = session.ps()[0].name
    session.wait(session.fleet.terminate(name))

    with pytest.raises(DeploymentEndedError, match=name):
        session.wait(session.endpoint(REQUEST, fresh=True))
    assert session.ps() == []
    assert deploy(session).status == "running"  # asked for again, it is there again


def test_an_estimate_above_what_is_left_names_the_knob(session: Session):
    session.wait(session.fleet.require_affordable(4.0, REQUEST))
    with pytest.raises(SpendCapError) as caught:
        session.wait(session.fleet.require_affordable(6.0, REQUEST))

    assert "--max-usd" in caught.value.hint
    session.wait(session.fleet.require_affordable(6.0, replace(REQUEST, max_usd=7.0)))
    with pytest.raises(SpendCapError):
        session.wait(session.fleet.require_affordable(11.0, replace(REQUEST, max_usd=70.0)))


def test_a_plan_is_made_for_runtimes_whose_memory_is_known(tmp_path: Path):
    assert plan_of((MODEL,), DeploymentRequest(models=(MODEL,), runtime="custom")) is None
    assert plan_of((), DeploymentRequest()) is None


def test_replicas_are_told(session: Session):
    request = DeploymentRequest(
        models=(MODEL,), runtime="fake", replicas=Replicas(min=2, max=2), name="two"
    )

    assert deploy(session, request).nodes == "2/2"
