"""The endpoint client, against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import pickle
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from conduit_nb.client import Endpoint
from conduit_nb.errors import (
    ArgumentError,
    ContextLengthError,
    DoesNotFitError,
    EndpointBusyError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.protocol import ChatRequest, LoadRequest
from tests.raw_server import HANG_UP, cut, events, json_answer, raw_server, stream_answer

KEY = "k-0123456789abcdef"
REQUEST = ChatRequest(
    model="m",
    messages=[{"role": "user", "content": "the secret plan"}],
    conduit={"dtype": "float32"},
)
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hällo"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def chunk(text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


@contextlib.asynccontextmanager
async def opened(url: str, **named: Any) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(url, key=KEY, **named)
    try:
        yield endpoint
    finally:
        await endpoint.aclose()


@contextlib.asynccontextmanager
async def served(*answers: list[bytes], stays: bool = False) -> AsyncIterator[Any]:
    async with raw_server(*answers, stays=stays) as server, opened(server.url) as endpoint:
        yield server, endpoint


async def test_chat_sends_the_request_with_the_key_and_returns_the_reply():
    async with served(json_answer(REPLY)) as (server, endpoint):
        reply = await endpoint.chat(REQUEST)

    assert reply == REPLY
    assert server.heads[0].startswith("POST /v1/chat/completions ")
    assert f"Bearer {KEY}" in server.heads[0]
    assert server.bodies[0]["messages"] == REQUEST["messages"]
    assert server.bodies[0]["stream"] is False


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_an_address_may_end_in_v1_or_not(ending: str):
    async with raw_server(json_answer(REPLY)) as server, opened(server.url + ending) as endpoint:
        await endpoint.chat(REQUEST)

    assert server.heads[0].startswith("POST /v1/chat/completions ")


async def test_an_address_may_have_a_path_before_v1():
    async with (
        raw_server(json_answer(REPLY)) as server,
        opened(f"{server.url}/api/v1") as endpoint,
    ):
        await endpoint.chat(REQUEST)

    assert server.heads[0].startswith("POST /api/v1/chat/completions ")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://a/b", "http://", "http://a:x", "http://a?k=1"]
)
def test_what_is_no_address_is_refused_at_once(url: str):
    with pytest.raises(ArgumentError) as caught:
        Endpoint(url)

    assert caught.value.param == "endpoint"
    assert "endpoint=" in caught.value.hint


def test_an_address_with_a_password_is_refused_without_showing_it():
    with pytest.raises(ArgumentError) as caught:
        Endpoint("http://me:hunter2@host/v1")

    assert caught.value.param == "endpoint"
    assert "hunter2" not in str(caught.value)
    assert "api_key_env" in caught.value.hint


def test_the_key_is_not_shown():
    assert KEY not in repr(Endpoint("http://127.0.0.1:1", key=KEY))


async def test_our_additions_go_to_our_own_servers_only():
    async with raw_server(json_answer(REPLY)) as server:
        async with opened(server.url, dialect="openai") as foreign:
            await foreign.chat(REQUEST)
        async with opened(server.url, dialect="lmlite") as ours:
            await ours.chat(REQUEST)

    assert "conduit" not in server.bodies[0]
    assert server.bodies[1]["conduit"] == {"dtype": "float32"}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
async def test_a_stream_is_read_right_wherever_it_is_cut(size: int):
    # U+2028 and U+0085 are line ends for str.splitlines, and none in an event stream.
    texts = ["hä", "llo \u2028\x85 ", "wörld 🎉", None]
    content = events(*[chunk(text) for text in texts], chunk("!", "stop"))
    async with served(stream_answer(*cut(content, size))) as (server, endpoint):
        chunks = [one async for one in endpoint.stream(REQUEST)]

    said = [one["choices"][0]["delta"].get("content", "") for one in chunks]
    assert "".join(said) == "hällo \u2028\x85 wörld 🎉!"
    assert server.bodies[0]["stream"] is True
    assert server.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_stream_ends_with_its_usage():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    content = events(chunk("a", "length"), {"choices": [], "usage": usage})
    async with served(stream_answer(content)) as (_server, endpoint):
        chunks = [one async for one in endpoint.stream(REQUEST)]

    assert chunks[0]["choices"][0]["finish_reason"] == "length"
    assert chunks[1].get("usage") == usage


async def test_a_stream_that_breaks_off_is_an_error_and_not_an_end():
    content = f"data: {chunk('half').__repr__()}".encode()
    good = events(chunk("half")).removesuffix(b"data: [DONE]\n\n")
    for pieces in (
        stream_answer(good, ends=False),
        stream_answer(good),
        stream_answer(good, content, ends=False),
    ):
        async with served(pieces) as (_server, endpoint):
            stream = endpoint.stream(REQUEST)
            await anext(stream)
            with pytest.raises(EndpointUnreachableError):
                await anext(stream)


async def test_an_error_in_the_middle_of_a_stream_is_raised_as_what_it_is():
    broken = {"error": {"message": "E17", "type": "x", "code": "server_failed"}}
    async with served(stream_answer(events(chunk("a"), broken))) as (_server, endpoint):
        with pytest.raises(ServerFailedError, match="E17"):
            _ = [one async for one in endpoint.stream(REQUEST)]


async def test_an_error_instead_of_a_stream_is_raised_as_what_it_is():
    body = {"error": {"message": "5001 tokens", "type": "x", "code": "context_length"}}
    async with served(json_answer(body, status=400)) as (_server, endpoint):
        with pytest.raises(ContextLengthError, match="5001"):
            _ = [one async for one in endpoint.stream(REQUEST)]


async def test_an_answer_that_is_no_reply_is_an_error_of_the_server():
    async with served(json_answer(b"<html>")) as (_server, endpoint):
        with pytest.raises(ServerFailedError) as answered:
            await endpoint.chat(REQUEST)
        with pytest.raises(ServerFailedError) as streamed:
            await anext(endpoint.stream(REQUEST))

    for caught in (answered, streamed):
        assert caught.value.status is None
        assert "endpoint=" in caught.value.hint


async def test_an_answer_that_sends_elsewhere_is_not_followed():
    head = "Location: http://127.0.0.1:9/\r\n"
    async with served(json_answer({}, status=307, headers=head)) as (server, endpoint):
        with pytest.raises(RequestRefusedError) as caught:
            await endpoint.chat(REQUEST)

    assert caught.value.status == 307
    assert "endpoint=" in caught.value.hint
    assert len(server.heads) == 1


async def test_a_model_is_loaded_and_unloaded_by_its_id():
    told = {"id": "owner/name", "conduit": {"state": "ready"}}
    deleted = {"id": "owner/name", "object": "model", "deleted": True}
    async with served(json_answer(told), json_answer(deleted)) as (server, endpoint):
        loaded = await endpoint.load_model(LoadRequest(model="owner/name", replicas=2))
        await endpoint.unload_model("owner/name")

    load, unload = server.heads
    assert (loaded["id"], loaded.get("conduit")) == ("owner/name", {"state": "ready"})
    assert load.startswith("POST /v1/models/load ")
    assert server.bodies[0] == {"model": "owner/name", "replicas": 2}
    assert unload.startswith("DELETE /v1/models/owner%2Fname ")


async def test_a_model_that_does_not_fit_is_an_error_with_the_numbers():
    numbers = {"needed_gib": 15.5, "available_gib": 8, "largest_model_len": 512}
    error = {"message": "E17", "code": "does_not_fit", "hint": "less", "conduit": numbers}
    async with served(json_answer({"error": error}, status=507)) as (_, endpoint):
        with pytest.raises(DoesNotFitError, match="E17") as caught:
            await endpoint.load_model(LoadRequest(model="owner/name"))

    assert (caught.value.needed_gib, caught.value.available_gib) == (15.5, 8.0)
    assert (caught.value.largest_model_len, caught.value.largest_concurrency) == (512, None)
    assert caught.value.hint == "less"


async def test_a_misfit_without_its_numbers_is_a_failure_of_the_server():
    error = {"message": "E17", "code": "does_not_fit"}
    async with served(json_answer({"error": error}, status=507)) as (_, endpoint):
        with pytest.raises(ServerFailedError, match="E17"):
            await endpoint.load_model(LoadRequest(model="owner/name"))


async def test_health_and_models_are_asked_with_the_key():
    health = {"status": "ok", "version": "1", "device": "cpu", "idle_s": 2, "models": {}}
    answers = json_answer(health), json_answer({"data": [{"id": "a"}]})
    async with served(*answers) as (server, endpoint):
        assert await endpoint.health() == health
        assert [model["id"] for model in await endpoint.models()] == ["a"]

    assert [head.split()[1] for head in server.heads] == ["/health", "/v1/models"]
    assert all(KEY in head for head in server.heads)


@pytest.mark.parametrize(
    ("header", "seconds"), [("", 1.0), ("Retry-After: 7\r\n", 7.0), ("Retry-After: x\r\n", 1.0)]
)
async def test_a_busy_server_says_when_to_come_back(header: str, seconds: float):
    async with served(json_answer({}, status=429, headers=header)) as (_server, endpoint):
        with pytest.raises(EndpointBusyError) as caught:
            await endpoint.chat(REQUEST)

    assert caught.value.retry_after_s == seconds


async def test_an_error_tells_neither_the_request_nor_the_key():
    body = {"error": {"message": f"bad prompt 'the secret plan' by {KEY}", "type": "t"}}
    async with served(json_answer(body, status=400)) as (_server, endpoint):
        with pytest.raises(RequestRefusedError) as caught:
            await endpoint.chat(REQUEST)

    told = str(caught.value) + caught.value.hint + repr(pickle.dumps(caught.value))
    assert "bad prompt" in told
    assert "secret plan" not in told
    assert KEY not in told


async def test_a_port_where_nobody_listens_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with opened(url) as endpoint:
            with pytest.raises(EndpointUnreachableError, match=url) as caught:
                await endpoint.chat(REQUEST)

    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    assert caught.value.retryable


@pytest.mark.parametrize("pieces", [[HANG_UP], [b"HTTP/1.1 200 OK\r\nContent-Le", HANG_UP]])
async def test_a_connection_that_breaks_is_unreachable(pieces: list[bytes]):
    async with served(pieces) as (_server, endpoint):
        with pytest.raises(EndpointUnreachableError) as caught:
            await endpoint.chat(REQUEST)

    assert isinstance(caught.value.__cause__, httpx2.RemoteProtocolError | httpx2.ReadError)


async def test_a_server_that_does_not_answer_is_given_up_in_time():
    async with served(stays=True) as (_server, endpoint):
        with pytest.raises(EndpointTimeoutError, match=r"0\.1 s"):
            await endpoint.chat(REQUEST, timeout_s=0.1)
        with pytest.raises(EndpointTimeoutError, match=r"0\.1 s"):
            _ = [one async for one in endpoint.stream(REQUEST, timeout_s=0.1)]


async def test_a_cancelled_request_hangs_up_so_that_the_server_stops():
    async with served(stays=True) as (server, endpoint):
        task = asyncio.create_task(endpoint.chat(REQUEST))
        await server.asked.wait()
        assert endpoint.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), timeout=5)

    assert endpoint.in_flight == 0


async def test_a_stream_that_is_left_early_hangs_up():
    content = events(chunk("a"), chunk("b"))
    async with served([*stream_answer(content)[:2], *[b"1\r\n:\r\n"] * 2000]) as (server, endpoint):
        stream = endpoint.stream(REQUEST)
        first = await anext(stream)
        assert inspect.isasyncgen(stream)
        await stream.aclose()
        await asyncio.wait_for(server.left.wait(), timeout=10)

    assert first["choices"][0]["delta"].get("content") == "a"
    assert endpoint.in_flight == 0


async def test_half_a_surrogate_pair_is_refused_before_it_is_sent():
    request = ChatRequest(model="m", messages=[{"role": "user", "content": "x\ud83dy"}])
    async with served(json_answer(REPLY)) as (server, endpoint):
        with pytest.raises(RequestRefusedError, match="surrogate"):
            await endpoint.chat(request)

    assert not server.heads


async def test_a_proxy_is_never_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with served(json_answer(REPLY)) as (_server, endpoint):
        assert await endpoint.chat(REQUEST) == REPLY


async def test_many_requests_are_on_their_way_at_once():
    async with served(stays=True) as (server, endpoint):
        tasks = [asyncio.create_task(endpoint.chat(REQUEST)) for _ in range(150)]
        async with asyncio.timeout(20):
            while len(server.heads) < 150:
                server.asked.clear()
                await server.asked.wait()
        assert endpoint.in_flight == 150
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_an_endpoint_works_in_one_event_loop_after_another():
    async def ask(endpoint: Endpoint) -> str:
        async with raw_server(json_answer(REPLY)) as server:
            endpoint.url = server.url
            try:
                return (await endpoint.chat(REQUEST))["choices"][0]["message"]["content"]
            finally:
                await endpoint.aclose()

    endpoint = Endpoint("http://127.0.0.1:1", key=KEY)

    assert [asyncio.run(ask(endpoint)) for _ in range(2)] == ["hällo", "hällo"]


def test_every_error_of_the_http_client_is_one_that_we_map():
    """If upstream adds a kind of error that stands outside these, `_mapped` must learn it."""
    mapped = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL)
    errors = [
        thing
        for name in dir(httpx2)
        if isinstance(thing := getattr(httpx2, name), type) and issubclass(thing, Exception)
    ]

    unknown = {error.__name__ for error in errors if not issubclass(error, mapped)}
    assert unknown <= {"CookieConflict"}


async def test_an_endpoint_that_nobody_has_any_more_closes_its_connections():
    async with raw_server(json_answer(REPLY)) as server:
        endpoint = Endpoint(server.url)
        await endpoint.chat(REQUEST)
        assert not server.left.is_set()

        del endpoint
        gc.collect()

        await asyncio.wait_for(server.left.wait(), 10)
