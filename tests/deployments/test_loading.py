"""What is told while a server loads a model."""

from __future__ import annotations

import asyncio
from typing import Any

from conduit_nb.client import Endpoint
from conduit_nb.deployments.loading import LoadingWatch
from conduit_nb.events import Event, Events, ModelReady
from tests.raw_server import json_answer, raw_server
from tests.waiting import until


def listing(state: str, detail: str = "") -> list[bytes]:
    loaded: dict[str, Any] = {"state": state, "device": "cpu", "detail": detail}
    return json_answer({"object": "list", "data": [{"id": "m", "conduit": loaded}]})


def _told(event: Event) -> str:
    return f"{event.model}!" if isinstance(event, ModelReady) else getattr(event, "text", "")


async def told_of(*listings: list[bytes]) -> list[str]:
    """Return what is told by a watch that sees these, one after another."""
    texts: list[str] = []
    events = Events()
    events.subscribe(lambda event: texts.append(_told(event)))
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
    return texts


async def test_a_model_that_is_loaded_is_told_and_when_it_is_ready():
    texts = await told_of(listing("loading", "reading the weights"), listing("ready"))

    assert texts == ["Loading m: reading the weights.", "m!", "m is ready on cpu."]


async def test_a_model_that_is_ready_already_is_not_told():
    assert await told_of(listing("ready"), listing("ready")) == []


async def test_how_far_each_step_has_come_is_told_as_it_goes_on():
    texts = await told_of(
        listing("loading", "fetching 1 of 9 MB"),
        listing("loading", "fetching 1 of 9 MB"),
        listing("loading", "fetching 5 of 9 MB"),
        listing("loading", "writing"),
        listing("failed"),
    )

    assert texts == [
        "Loading m: fetching 1 of 9 MB.",
        "Loading m: fetching 5 of 9 MB",
        "Loading m: writing",
    ]


async def test_a_server_that_is_gone_ends_the_watch():
    assert await told_of(json_answer({}, status=500)) == []
