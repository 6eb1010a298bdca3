"""deployments/connections.py: one start for all who wait, and none for nobody."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from conduit_nb.blocks.host import begun
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.connections import Connections, LoadingWatch, Target
from conduit_nb.errors import BootError
from conduit_nb.events import Event, Events, ModelReady, Notice, Step
from conduit_nb.models.config import LmLiteModelConfig
from tests.raw_server import json_answer, raw_server
from tests.waiting import until

RENTED = DeploymentRequest(provider="runpod", models=(LmLiteModelConfig("m/one"),))
SHARED = DeploymentRequest()
URL = "http://127.0.0.1:9"


class Server:
    """Something to be reached, that is up once it is let go; `urls` are where, one after another.

    It remembers what it was asked for, and the endpoints that it gave.
    """

    def __init__(self, *urls: str, is_up: bool = False) -> None:
        self.asked: list[Target] = []
        self.given: list[Endpoint] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self._urls = list(urls) or [URL]
        if is_up:
            self.go.set()

    async def reach(self, target: Target) -> Endpoint:
        self.asked.append(target)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        url = self._urls.pop(0) if len(self._urls) > 1 else self._urls[0]
        self.given.append(Endpoint(url))
        return self.given[-1]


class Failing:
    """A start that fails, and counts how often it was tried."""

    def __init__(self) -> None:
        self.tried = 0

    async def reach(self, target: Target) -> Endpoint:
        self.tried += 1
        raise BootError("It does not boot.", hint="Look.")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    for endpoint in server.given:
        await endpoint.aclose()


def asked(
    connections: Connections, target: Target = RENTED, *, fresh: bool = False
) -> asyncio.Task[Endpoint]:
    return asyncio.create_task(connections.connect(target, fresh=fresh))


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_meanwhile_gets_the_same_answer(server: Server):
    connections = Connections(server.reach, Events())
    tasks = [asked(connections) for _ in range(3)]
    await some_turns()
    server.go.set()

    first, *others = await asyncio.gather(*tasks)
    assert all(one is first for one in others)
    assert await connections.connect(RENTED) is first
    assert server.asked == [RENTED]


async def test_each_target_has_a_server_of_its_own(server: Server):
    connections = Connections(server.reach, Events())
    server.go.set()
    other = DeploymentRequest(provider="docker", models=RENTED.models)
    targets: list[Target] = [RENTED, other, SHARED, "a name"]

    found = [await connections.connect(target) for target in targets]

    assert len({id(one) for one in found}) == len(targets)
    assert server.asked == targets


async def test_all_that_load_their_models_into_the_shared_server_share_it(server: Server):
    connections = Connections(server.reach, Events())
    server.go.set()

    first = await connections.connect(SHARED)

    assert await connections.connect(DeploymentRequest(models=RENTED.models)) is first


async def test_a_start_goes_on_while_one_still_wants_it(server: Server):
    connections = Connections(server.reach, Events())
    first, second = asked(connections), asked(connections)
    await some_turns()
    first.cancel()
    await asyncio.wait([first])
    server.go.set()

    assert (await second).url == URL
    assert server.cancelled == 0


@pytest.mark.parametrize(
    ("target", "is_cancelled", "is_told"),
    [(RENTED, True, True), ("a name", True, False), (SHARED, False, False)],
)
async def test_a_start_that_nobody_wants_ends_where_it_costs(
    server: Server, target: Target, is_cancelled: bool, is_told: bool
):
    events = Events()
    connections = Connections(server.reach, events)
    tasks = [asked(connections, target) for _ in range(2)]
    await some_turns()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await some_turns()

    assert server.cancelled == (1 if is_cancelled else 0)
    assert len(events.notices()) == (1 if is_told else 0)
    assert all(isinstance(notice, Notice) for notice in events.notices())
    server.go.set()
    assert (await connections.connect(target)).url == URL


async def test_what_does_not_answer_any_more_is_reached_again(server: Server):
    connections = Connections(server.reach, Events())
    server.go.set()
    first = await connections.connect(RENTED)

    again = await connections.connect(RENTED, fresh=True)

    assert again is not first
    assert await connections.connect(RENTED) is again
    assert len(server.asked) == 2


@pytest.mark.parametrize("moves", [False, True])
async def test_the_shared_server_is_the_same_one_until_it_is_elsewhere(moves: bool):
    server = Server(URL, f"{URL}/elsewhere" if moves else URL, is_up=True)
    connections = Connections(server.reach, Events())
    first = await connections.connect(SHARED)

    again = await connections.connect(SHARED, fresh=True)

    assert (again is first) != moves
    await connections.aclose()


async def test_what_has_been_stopped_is_reached_again_also_while_somebody_waits_for_it(
    server: Server,
):
    connections = Connections(server.reach, Events())
    waits = asked(connections, SHARED)
    await some_turns()
    server.go.set()
    await asyncio.sleep(0)  # it is up, and who waits for it has not been told yet
    connections.forget(SHARED)

    assert (await waits).url == URL
    connections.forget(SHARED)
    assert await connections.connect(SHARED) is not await waits
    assert len(server.asked) == 2


async def test_a_failure_holds_for_a_moment_for_what_had_begun_before_it():
    failing = Failing()
    connections = Connections(failing.reach, Events())

    with begun(time.monotonic()):
        for _ in range(3):
            with pytest.raises(BootError):
                await connections.connect(RENTED)

    assert failing.tried == 1


async def test_what_begins_after_a_failure_tries_again_at_once():
    failing = Failing()
    connections = Connections(failing.reach, Events())

    for _ in range(3):
        with begun(time.monotonic()), pytest.raises(BootError):
            await connections.connect(RENTED)

    assert failing.tried == 3


def listing(state: str, detail: str = "") -> list[bytes]:
    loaded: dict[str, Any] = {"state": state, "device": "cpu", "detail": detail}
    return json_answer({"object": "list", "data": [{"id": "m", "conduit": loaded}]})


async def told_of(*listings: list[bytes]) -> list[Event]:
    """Return what is told by a watch that sees these, one after another."""
    told: list[Event] = []
    events = Events()
    events.subscribe(told.append)
    async with raw_server(*listings) as server:
        endpoint = Endpoint(server.url, dialect="lmlite")
        watch = LoadingWatch(endpoint, events, every_s=0.01)
        endpoint.in_flight = 1
        watch.look()
        watch.look()
        await until(lambda: len(server.heads) >= len(listings))
        endpoint.in_flight = 0
        await until(lambda: len(asyncio.all_tasks()) <= 2)
        await endpoint.aclose()
    return told


async def test_a_model_that_is_loaded_is_told_and_when_it_is_ready():
    detail = "reading the weights"
    loading, ready, where = await told_of(listing("loading", detail), listing("ready"))

    assert isinstance(loading, Notice)
    assert re.search(rf"\bm\b.*{detail}", loading.text)
    assert ready == ModelReady(model="m")
    assert isinstance(where, Notice)
    assert re.search(r"\bm\b.*\bcpu\b", where.text)


async def test_a_model_that_is_ready_already_is_not_told():
    assert await told_of(listing("ready"), listing("ready")) == []


async def test_how_far_each_step_has_come_is_told_as_it_goes_on():
    told = await told_of(
        listing("loading", "fetching 1 of 9 MB"),
        listing("loading", "fetching 1 of 9 MB"),
        listing("loading", "fetching 5 of 9 MB"),
        listing("loading", "writing"),
        listing("failed"),
    )

    kinds, details = (Notice, Step, Step), ("fetching 1 of 9 MB", "fetching 5 of 9 MB", "writing")
    for event, kind, detail in zip(told, kinds, details, strict=True):
        assert isinstance(event, kind)
        assert re.search(rf"\bm\b.*{detail}", event.text)


async def test_a_server_that_is_gone_ends_the_watch():
    assert await told_of(json_answer({}, status=500)) == []
