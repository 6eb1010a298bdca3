"""deployments/routing.py: requests go to whoever is least busy, and past whoever is away."""

from __future__ import annotations

import asyncio
import threading

import httpx2
import pytest

from conduit_nb.client import Endpoint
from conduit_nb.deployments.routing import RoutedEndpoint, Server
from conduit_nb.errors import EndpointUnreachableError, RequestRefusedError
from conduit_nb.protocol import ChatRequest
from tests.deployments.faulty_cloud import answering_server
from tests.openai_server import Fault, OpenAiServer, openai_server

HELLO: ChatRequest = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def server_of(served: OpenAiServer, *models: str) -> Server:
    return Server(endpoint=Endpoint(served.url), models=models)


def away(*models: str) -> Server:
    return Server(endpoint=Endpoint("http://127.0.0.1:9"), models=models)


async def texts(endpoint: RoutedEndpoint, request: ChatRequest = HELLO) -> str:
    said = ""
    async for chunk in endpoint.stream(request):
        for choice in chunk["choices"]:
            said += choice["delta"].get("content") or ""
    return said


async def test_equally_busy_nodes_take_turns():
    with openai_server() as one, openai_server() as two:
        endpoint = RoutedEndpoint([server_of(one), server_of(two)], name="d")
        for _ in range(6):
            await endpoint.chat(HELLO)
        await endpoint.aclose()

    assert (len(one.requests), len(two.requests)) == (3, 3)


async def test_the_least_busy_is_asked():
    with openai_server(holds=threading.Event()) as busy, openai_server() as free:
        endpoint = RoutedEndpoint([server_of(busy), server_of(free)], name="d")
        held = asyncio.create_task(endpoint.chat(HELLO))
        while not busy.running:  # noqa: ASYNC110  # another thread serves
            await asyncio.sleep(0.01)
        for _ in range(4):
            await endpoint.chat(HELLO)
        assert busy.holds is not None
        busy.holds.set()
        await held
        await endpoint.aclose()

    assert (len(busy.requests), len(free.requests)) == (1, 4)


async def test_each_model_has_its_nodes():
    with openai_server() as one, openai_server() as two:
        endpoint = RoutedEndpoint([server_of(one, "m"), server_of(two, "n")], name="d")
        for _ in range(3):
            await endpoint.chat({**HELLO, "model": "n"})
        with pytest.raises(EndpointUnreachableError, match=r"\bd\b.*'x'"):
            await endpoint.chat({**HELLO, "model": "x"})
        await endpoint.aclose()

    assert (len(one.requests), len(two.requests)) == (0, 3)


async def test_a_node_that_is_away_is_passed_by_for_a_while():
    now = [0.0]
    with openai_server() as there:
        endpoint = RoutedEndpoint([away(), server_of(there)], name="d", clock=lambda: now[0])
        assert await texts(endpoint) == "Hello!"
        assert await texts(endpoint) == "Hello!"
        await endpoint.aclose()

    assert len(there.requests) == 2


async def test_models_are_those_of_the_nodes_that_answer():
    with answering_server() as there:
        servers = [away(), Server(endpoint=Endpoint(there.url)), away()]
        endpoint = RoutedEndpoint(servers, name="d")
        models = await endpoint.models()
        await endpoint.aclose()

    assert [info["id"] for info in models] == ["m/one"]


async def test_where_no_node_answers_its_models_are_an_error():
    endpoint = RoutedEndpoint([away(), away()], name="d")
    with pytest.raises(EndpointUnreachableError):
        await endpoint.models()
    await endpoint.aclose()


async def test_where_all_are_away_that_is_the_error():
    endpoint = RoutedEndpoint([away(), away()], name="d")
    with pytest.raises(EndpointUnreachableError, match=r"http://127\.0\.0\.1:9\b") as caught:
        await endpoint.chat(HELLO)
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    await endpoint.aclose()


async def test_what_has_begun_to_answer_is_not_asked_elsewhere():
    with (
        openai_server(answer=lambda _: "one two three", hangs_up_after=1) as breaks,
        openai_server() as other,
    ):
        endpoint = RoutedEndpoint([server_of(breaks), server_of(other)], name="d")
        with pytest.raises(EndpointUnreachableError):
            await texts(endpoint)
        await endpoint.aclose()

    assert not other.requests


async def test_a_refusal_is_no_absence():
    with openai_server(faults=[Fault(status=400)]) as refuses, openai_server() as other:
        endpoint = RoutedEndpoint([server_of(refuses), server_of(other)], name="d")
        with pytest.raises(RequestRefusedError):
            await endpoint.chat(HELLO)
        await endpoint.aclose()

    assert not other.requests
