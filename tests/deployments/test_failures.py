"""What fails in the middle of an operation over several things, at each of its provider calls.

The k-th call is refused, does its work and loses the answer, or is interrupted, for every k. After
that no node may run unseen, nothing healthy may have ended, and the state must say what is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.deployments.context import utc_now
from conduit_nb.deployments.money import Caps
from conduit_nb.deployments.service import Deployments
from conduit_nb.desk.desk import Desk
from conduit_nb.errors import ConduitError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.base import NodeStatus
from conduit_nb.session import Session
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.state.store import Store
from tests.deployments.faulty_cloud import (
    FaultyCloud,
    Rented,
    Way,
    answering_server,
    provider_of,
    service_of,
)
from tests.fake_lmlite import FakeRuntime

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("interruptible")]
MODEL = LmLiteModelConfig("m/one")
MOST_CALLS = 60


def interrupt() -> None:
    """Press the stop button."""
    os.kill(os.getpid(), signal.SIGINT)


def wanted(name: str, replicas: int = 1, most: int | None = None) -> DeploymentRequest:
    return DeploymentRequest(
        models=(MODEL,),
        runtime="fake",
        provider="faulty",
        gpu="L40S",
        max_usd=20,
        name=name,
        replicas=Replicas(min=replicas, max=most or replicas),
        # Deployments of the same request are one: the version tells these apart.
        runtime_version=name,
    )


@dataclass
class World:
    """One installation with a cloud, as its user has it; `later` sees it some minutes later."""

    folder: Path
    cloud: FaultyCloud
    session: Session
    healthy: list[str] = field(default_factory=list)

    @property
    def service(self) -> Deployments:
        """What the user has running."""
        return self.session.deployments

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the session's loop, as every word of a user does."""
        return self.session.wait(work)

    def settled(self) -> None:
        """Wait until what was interrupted has cleaned up."""

        async def others() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=20)
                assert not late, late

        self.session.wait(others())

    def deployed(self, *requests: DeploymentRequest) -> None:
        for request in requests:
            self.do(self.service.deploy(request))

    def later(self) -> Deployments:
        return service_of(
            self.cloud,
            store=Store(),
            caps=lambda: Caps(deployment_usd=5, day_usd=1000),
            clock=lambda: utc_now() + timedelta(seconds=30),
        )

    def records(self) -> tuple[list[DeploymentRecord], list[NodeRecord]]:
        store = Store()
        found = store.deployments(), store.nodes()
        store.close()
        return found


@contextmanager
def world(folder: Path, cloud: FaultyCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "1000")
    session = Session(
        make_runtime=lambda name: FakeRuntime(name=name, dialect="openai"),
        make_provider=lambda name: provider_of(cloud, name),
        provider_names=lambda: ["faulty"],
        make_sources=lambda: [cloud, replace_name(cloud)],
    )
    try:
        yield World(folder, cloud, session)
    finally:
        session.close()


def replace_name(cloud: FaultyCloud) -> FaultyCloud:
    return replace(cloud, name="other")


def vanish(here: World, name: str) -> None:
    """Let one node of a deployment be gone, and be known to be."""
    (record,) = [one for one in here.records()[0] if one.name == name]
    node = next(one for one in here.records()[1] if one.deployment == record.id)
    del here.cloud.rented[node.name]
    here.do(here.later().look())
    here.do(here.later().look())


def unnamed(here: World, *names: str) -> None:
    """Let deployments have no row any more that names their nodes."""
    lost = [record.id for record in here.records()[0] if record.name in names]
    path = here.folder / "data/state.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for deployment in lost:
            connection.execute("DELETE FROM conduit_nodes WHERE deployment = ?", [deployment])
            connection.execute("DELETE FROM conduit_deployments WHERE id = ?", [deployment])


@dataclass(frozen=True)
class Operation:
    """Something over several things: what is there before, what is done, what it may end.

    `may_lack`: fewer nodes may be left than are wanted, as the next request starts the others.
    """

    before: Callable[[World], None]
    act: Callable[[World], Any]
    may_end: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    goes_on_past: tuple[str, ...] = ()
    leaves: NodeStatus | None = None
    may_lack: bool = False


def several(here: World) -> None:
    here.deployed(wanted("a"), wanted("b"), wanted("other"))


def replicas(here: World) -> None:
    here.deployed(wanted("a", 2), wanted("other"))


def stopped(here: World) -> None:
    replicas(here)
    here.do(here.service.stop("a"))


def one_gone(here: World) -> None:
    replicas(here)
    vanish(here, "a")


def growing(here: World) -> None:
    here.deployed(wanted("a", 1, 3), wanted("other"))


def grown(here: World) -> None:
    growing(here)
    here.do(here.later().scale(wanted("a", 1, 3), 3))


def nothing_of_it(here: World) -> None:
    here.deployed(wanted("other"))


def lost_rows(here: World) -> None:
    here.deployed(wanted("a"), wanted("b"), wanted("other"))
    unnamed(here, "a", "b")


async def from_panel(here: World) -> None:
    desk = Desk(here.session)
    action = await desk.ended(desk.act("all", "terminate").id)
    if action.error is not None:
        raise ConduitError(action.error["message"])


ALL = ("a", "b", "other")
OPERATIONS: dict[str, Operation] = {
    "stop all": Operation(
        several, lambda w: w.do(w.service.stop("all")), (), ALL, ("stop",), "running"
    ),
    "terminate all": Operation(
        several, lambda w: w.do(w.service.terminate("all")), ALL, ALL, ("terminate",)
    ),
    "panel terminate all": Operation(
        several, lambda w: w.do(from_panel(w)), ALL, ALL, ("terminate",)
    ),
    "terminate": Operation(
        replicas, lambda w: w.do(w.service.terminate("a")), ("a",), ("a",), ("terminate",)
    ),
    "stop": Operation(
        replicas, lambda w: w.do(w.service.stop("a")), (), ("a",), ("stop",), "running"
    ),
    "start": Operation(
        stopped, lambda w: w.do(w.service.start("a")), (), ("a",), ("start",), "stopped"
    ),
    "restart": Operation(replicas, lambda w: w.do(w.service.restart("a"))),
    "extend": Operation(replicas, lambda w: w.do(w.service.extend("a", 0.5))),
    "deploy": Operation(
        nothing_of_it,
        lambda w: w.do(w.service.deploy(wanted("a", 2))),
        ("a",),
    ),
    "refill": Operation(one_gone, lambda w: w.do(w.service.deploy(wanted("a", 2))), may_lack=True),
    "refill by a request": Operation(
        one_gone, lambda w: w.do(w.service.connect(wanted("a", 2))), may_lack=True
    ),
    "scale up": Operation(growing, lambda w: w.do(w.later().scale(wanted("a", 1, 3), 3))),
    "scale down": Operation(
        grown, lambda w: w.do(w.later().scale(wanted("a", 1, 3), 1)), ("a: 2 of 3",)
    ),
    "cleanup": Operation(
        lost_rows, lambda w: w.do(w.service.cleanup()), ("unnamed",), ("unnamed",), ("terminate",)
    ),
    "ps": Operation(replicas, lambda w: w.do(w.service.ps())),
    "nodes of others": Operation(replicas, lambda w: w.do(w.service.orphans())),
    "cost": Operation(replicas, lambda w: w.do(w.service.cost())),
    "logs": Operation(replicas, lambda w: w.do(w.service.logs("a", tail=5))),
    "offerings": Operation(several, lambda w: w.do(w.session.offerings())),
}


@dataclass
class Beginnings:
    """What is there before operations, made once and copied for each of them."""

    folder: Path
    url: str
    made: dict[str, tuple[Path, dict[str, Rented]]] = field(
        default_factory=dict[str, tuple[Path, dict[str, Rented]]]
    )

    @contextmanager
    def copy(
        self, before: Callable[[World], None], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[World]:
        name = before.__name__
        if name not in self.made:
            cloud = FaultyCloud(self.url)
            with world(self.folder / name, cloud, monkeypatch) as first:
                before(first)
            self.made[name] = (self.folder / name, cloud.rented)
        made, rented = self.made[name]
        shutil.copytree(made, folder)
        cloud = FaultyCloud(self.url, rented={key: replace(one) for key, one in rented.items()})
        cloud.interrupt = interrupt
        with world(folder, cloud, monkeypatch) as here:
            yield here


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beginnings]:
    with answering_server() as server:
        yield Beginnings(tmp_path_factory.mktemp("beginnings"), server.url)


@pytest.mark.parametrize("way", ["refused", "lost", "interrupted"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_failure_in_the_middle_leaves_nothing_unseen_nothing_ended_and_a_true_state(
    name: str,
    way: Way,
    tmp_path: Path,
    beginnings: Beginnings,
    monkeypatch: pytest.MonkeyPatch,
):
    operation = OPERATIONS[name]
    if name == "panel terminate all" and way != "refused":
        return  # it is `stop all`, begun in another thread, which nobody interrupts
    for number in range(1, MOST_CALLS):
        with beginnings.copy(operation.before, tmp_path / str(number), monkeypatch) as here:
            if not fails_at(here, operation, number, way):
                return
    pytest.fail("it makes more and more calls")


def fails_at(here: World, operation: Operation, number: int, way: Way) -> bool:
    """Let call `number` of an operation fail and look at what is left; False if there is none."""
    names = {record.id: record.name for record in here.records()[0]}
    before = here.cloud.names()
    here.cloud.ended.clear()
    here.cloud.expect(number, way)
    error: BaseException | None = None
    try:
        operation.act(here)
    except (Exception, KeyboardInterrupt) as err:  # noqa: BLE001  # its kind is what is tested
        error = err
        here.settled()
    if not here.cloud.has_failed:
        assert error is None
        return False
    failed = here.cloud.calls[number - 1]
    here.cloud.expect(None)
    assert error is None or isinstance(error, ConduitError | KeyboardInterrupt), (
        failed,
        repr(error),
    )
    owners = {one: names.get(one.split("-")[2], "unnamed") for one in before}
    ended = [owners[one] for one in here.cloud.ended if one in owners]
    unasked = [one for one in ended if one not in operation.may_end]
    if operation.may_end != ("a: 2 of 3",):
        assert unasked == [], (failed, unasked)
    else:
        assert ended.count("a") <= 2, (failed, ended)
    if way != "interrupted" and failed in operation.goes_on_past:
        left = [one for one in before if one in here.cloud.names(operation.leaves)]
        unharmed = [one for one in left if owners[one] in operation.over]
        assert len(unharmed) <= 1, (failed, unharmed)
        assert error is not None
    later = here.later()
    for _ in range(2):  # a look finds what is gone, the next ends what has nothing left
        here.do(later.look())
    deployments, nodes = here.records()
    assert sorted(node.name for node in nodes) == named(here), failed
    assert {node.status for node in nodes} <= {"running", "stopped"}, failed
    assert {record.status for record in deployments} <= {"running", "stopped"}, failed
    for node in nodes:
        assert node.status == here.cloud.rented[node.name].status, failed
    for record in deployments:
        own = [node for node in nodes if node.deployment == record.id]
        assert own, failed
        may_lack = operation.may_lack and record.name == "a"
        assert len(own) >= record.wanted_replicas or may_lack, failed
    return True


def named(here: World) -> list[str]:
    """Return what the cloud has, but for what lost its row before."""
    every = Store()
    ids = {record.id for record in every.deployments(live_only=False)}
    every.close()
    return [name for name in here.cloud.names() if name.split("-")[2] in ids]
