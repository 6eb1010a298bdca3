"""The proxy streams what a container says, and cuts what says nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx2

from conduit_nb.client import Endpoint
from conduit_nb.protocol import ChatRequest, Message
from conduit_nb.testing.runpod_server import Container, RunpodServer
from tests.openai_server import openai_server
from tests.raw_server import RawServer, raw_server, stream_answer
from tests.runpod_specification import specified_runpod_server
from tests.testing.runpod_server.conftest import POD, client_of


class Elsewhere:
    """A container that somebody else serves, at a port of this machine."""

    def __init__(self, url: str) -> None:
        self.ports: Mapping[int, int] = {8000: int(url.rpartition(":")[2])}

    def __call__(self, container: Container) -> Elsewhere:
        return self

    def exit_code(self) -> int | None:
        return None

    def stop(self) -> None:
        pass


async def ask(cloud: RunpodServer, port: int = 8000) -> httpx2.Response:
    with client_of(cloud) as api:
        pod = api.post("/pods", json=POD).json()
        api.get("/pods")
    url = cloud.proxy_url.format(id=pod["id"], port=port)
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=20) as client:
        return await client.get(url)


async def proxied(server: RawServer, *, cuts_after_s: float = 20, port: int = 8000):
    with specified_runpod_server(
        start_container=Elsewhere(server.url), proxy_cuts_after_s=cuts_after_s
    ) as cloud:
        return await ask(cloud, port)


async def test_a_stream_arrives_whole():
    async with raw_server(stream_answer(b"data: 1\n\n", b"data: 2\n\n")) as server:
        answer = await proxied(server)

    assert answer.text == "data: 1\n\ndata: 2\n\n"
    assert answer.headers["content-type"] == "text/event-stream"


async def test_a_container_that_is_silent_too_long_is_cut():
    began = time.monotonic()
    async with raw_server(stays=True) as server:
        answer = await proxied(server, cuts_after_s=0.2)

    assert answer.status_code == 524
    assert time.monotonic() - began < 10


async def test_a_port_that_is_not_published_is_not_found():
    async with raw_server(stays=True) as server:
        answer = await proxied(server, port=9000)

    assert answer.status_code == 404


async def test_a_model_server_in_a_pod_answers_as_anywhere():
    with (
        openai_server(answer=lambda _: "one two three") as model_server,
        specified_runpod_server(
            start_container=Elsewhere(model_server.url.removesuffix("/v1"))
        ) as cloud,
    ):
        with client_of(cloud) as api:
            pod = api.post("/pods", json=POD).json()
            api.get("/pods")
        endpoint = Endpoint(cloud.proxy_url.format(id=pod["id"], port=8000))
        request = ChatRequest(model="m", messages=[Message(role="user", content="Count!")])

        whole = await endpoint.chat(request, timeout_s=20)
        pieces = [chunk async for chunk in endpoint.stream(request, timeout_s=20)]
        await endpoint.aclose()

    assert whole["choices"][0]["message"]["content"] == "one two three"
    said = [choice["delta"].get("content", "") for one in pieces for choice in one["choices"]]
    assert "".join(said) == "one two three"
