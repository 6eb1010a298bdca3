"""What is told while a server loads a model."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from conduit_nb.client import Endpoint
from conduit_nb.deployments.loading import LoadingWatch
from conduit_nb.events import Event, Events, ModelReady, Notice, Step
from tests.raw_server import json_answer, raw_server
from tests.waiting import until


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
