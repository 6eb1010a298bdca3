from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from conduit_nb.blocks.asking import BUSY_ATTEMPTS, Question
from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import (
    ArgumentError,
    EndpointAuthError,
    EndpointBusyError,
    EndpointError,
    EndpointUnreachableError,
    ReplyError,
    RequestRefusedError,
    ServerFailedError,
    TruncatedError,
)
from conduit_nb.events import TokensUsed
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Message
from tests.loop_host import LoopHost
from tests.openai_server import Fault, OpenAiServer, openai_server

HELLO: list[Message] = [{"role": "user", "content": "Hello?"}]
BUSY = Fault(status=429, body=b'{"error": {"message": "slow down"}}', headers={"Retry-After": "0"})
DEAD = Endpoint("http://127.0.0.1:9", dialect="lmlite")


@dataclass
class Note:
    text: str


def block_at(server: OpenAiServer, **options: Any) -> LMLiteBlock:
    return LMLiteBlock([LmLiteModelConfig("m")], endpoint=server.url, **options)


def test_a_request_holds_what_was_asked_and_nothing_else(host: LoopHost):
    with openai_server() as server:
        block_at(server)(messages=HELLO, max_tokens=5, temperature=0.5, seed=3)
        block_at(server)(messages=HELLO)

    assert server.requests[0] == {
        "model": "m",
        "messages": HELLO,
        "max_tokens": 5,
        "temperature": 0.5,
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert server.requests[1] == {
        "model": "m",
        "messages": HELLO,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_server_of_ours_is_told_how_the_model_is_wanted(host: LoopHost):
    seen: dict[str, Any] = {}
    config = LmLiteModelConfig(
        "m",
        max_model_len=500,
        model_batch_execute_timeout_ms=20,
        dtype="float32",
        revision="abc",
    )
    with openai_server() as server:
        host.endpoints = [Endpoint(server.url, dialect="lmlite")]
        with pytest.raises(RequestRefusedError, match="conduit"):  # this one is not of ours
            LMLiteBlock([config])(messages=HELLO)
        seen = server.requests[0]["conduit"]

    assert seen == {
        "revision": "abc",
        "dtype": "float32",
        "quantization": None,
        "max_model_len": 500,
        "batch_timeout_ms": 20,
    }
    assert host.asked[0] == ("local", False)


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_address_may_end_in_v1_or_not(host: LoopHost, ending: str):
    with openai_server() as server:
        for url in (server.url + ending, server.url.removesuffix("/v1") + ending):
            block = LMLiteBlock([LmLiteModelConfig("m")], endpoint=url)
            assert block(messages=HELLO) == "Hello!"


def test_the_key_is_read_when_it_is_needed_and_never_shown(
    host: LoopHost, monkeypatch: pytest.MonkeyPatch
):
    with openai_server(key="sesame-1") as server:
        block = block_at(server, api_key_env="MY_KEY")
        with pytest.raises(ArgumentError, match="MY_KEY") as missing:
            block(messages=HELLO)
        assert missing.value.param == "api_key_env"
        monkeypatch.setenv("MY_KEY", "sesame-0")
        with pytest.raises(EndpointAuthError) as wrong:
            block(messages=HELLO)
        monkeypatch.setenv("MY_KEY", "sesame-1")
        assert block(messages=HELLO) == "Hello!"

    assert "MY_KEY" in missing.value.hint
    assert "sesame" not in f"{wrong.value!r} {wrong.value.hint} {block!r} {block.task!r}"


def test_a_busy_server_is_asked_again_and_not_for_ever(host: LoopHost):
    with openai_server(faults=[BUSY, BUSY]) as server:
        assert block_at(server)(messages=HELLO) == "Hello!"
        assert len(server.requests) == 3

    with openai_server(faults=[BUSY] * 20) as server:
        with pytest.raises(EndpointBusyError):
            block_at(server)(messages=HELLO)
        assert len(server.requests) == BUSY_ATTEMPTS


def test_the_time_that_a_busy_server_names_is_kept(host: LoopHost):
    later = Fault(status=429, body=b"{}", headers={"Retry-After": "1"})
    with openai_server(faults=[later]) as server:
        started = time.monotonic()
        block_at(server)(messages=HELLO)

    assert time.monotonic() - started >= 1


def test_a_server_that_wants_an_hour_is_not_waited_for(host: LoopHost):
    later = Fault(status=429, body=b"{}", headers={"Retry-After": "3600"})
    with openai_server(faults=[later]) as server:
        started = time.monotonic()
        with pytest.raises(EndpointBusyError):
            block_at(server)(messages=HELLO)

    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=500), ServerFailedError),
        (Fault(hangs_up=True), EndpointUnreachableError),
        (Fault(status=200, body=b"<html>hello"), ServerFailedError),
    ],
    ids=["500", "hangs up", "no json"],
)
def test_a_fault_is_forgiven_once(host: LoopHost, fault: Fault, kind: type[EndpointError]):
    with openai_server(faults=[fault]) as server:
        assert block_at(server)(messages=HELLO) == "Hello!"

    with openai_server(faults=[fault] * 10) as server:
        with pytest.raises(kind):
            block_at(server)(messages=HELLO)
        assert len(server.requests) == 2


def test_a_request_that_was_refused_is_not_sent_again(host: LoopHost):
    refused = Fault(status=400, body=b'{"error": {"message": "E17"}}')
    with openai_server(faults=[refused]) as server:
        with pytest.raises(RequestRefusedError, match="E17"):
            block_at(server)(messages=HELLO)
        assert len(server.requests) == 1


def test_a_server_that_is_gone_is_looked_up_anew_once(host: LoopHost):
    with openai_server() as server:
        host.endpoints = [DEAD, Endpoint(server.url)]
        assert LMLiteBlock([LmLiteModelConfig("m")])(messages=HELLO) == "Hello!"

    assert host.asked == [("local", False), ("local", True)]


def test_a_server_that_stays_gone_is_an_error(host: LoopHost):
    host.endpoints = [DEAD]

    with pytest.raises(EndpointUnreachableError):
        LMLiteBlock([LmLiteModelConfig("m")])(messages=HELLO)

    assert host.asked == [("local", False), ("local", True)]


def test_an_answer_cut_by_the_limit_is_an_error_with_its_text(host: LoopHost):
    with (
        openai_server(finish_reason="length") as server,
        pytest.raises(TruncatedError) as caught,
    ):
        block_at(server)(messages=HELLO, max_tokens=2)

    assert caught.value.text == "Hello!"
    assert "max_tokens" in caught.value.hint


def test_an_empty_answer_is_an_error(host: LoopHost):
    with openai_server(answer=lambda _: "") as server, pytest.raises(ReplyError, match="nothing"):
        block_at(server)(messages=HELLO)


def test_no_more_requests_run_at_once_than_the_model_may_have(host: LoopHost):
    config = LmLiteModelConfig("m", max_model_concurrency=2)
    pairs = threading.Barrier(2, timeout=20)

    def answer_together(_: object) -> str:
        pairs.wait()
        return '{"text":"a"}'

    with openai_server(answer=answer_together) as server:
        block = LMLiteBlock([config], endpoint=server.url)
        answers = block.batch([Note(text=str(number)) for number in range(12)], output=Note)

    assert answers == [Note(text="a")] * 12
    assert server.most_running == 2


def test_tokens_are_told_for_plain_and_streamed_answers(host: LoopHost):
    with openai_server() as server:
        block_at(server)(messages=HELLO)
        list(block_at(server).stream(messages=HELLO))

    told = [event for event in host.seen if isinstance(event, TokensUsed)]
    assert [(event.model, event.prompt_tokens, event.completion_tokens) for event in told] == [
        ("m", 7, 6),
        ("m", 7, 6),
    ]
    assert host.kinds().count("BlockFinished") == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", True),
        ("max_tokens", 1.5),
        ("temperature", -1),
        ("temperature", float("nan")),
        ("seed", -1),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(option: str, value: Any):
    with pytest.raises(ArgumentError) as caught:
        Question(messages=(), **{option: value})
    assert caught.value.param == option


async def test_a_server_is_started_on_the_sessions_loop_wherever_the_block_is_awaited():
    loops: list[asyncio.AbstractEventLoop] = []

    class Noting(LoopHost):
        async def endpoint(
            self, target: DeploymentRequest | str, *, fresh: bool = False
        ) -> Endpoint:
            loops.append(asyncio.get_running_loop())
            return await super().endpoint(target, fresh=fresh)

    host = Noting()
    with openai_server(answer=lambda _: '{"text":"a"}') as server, use_host(host):
        host.endpoints = [Endpoint(server.url)]
        task = LMLiteBlock([LmLiteModelConfig("m")]).task(Note, Note)
        assert await task.run(Note(text="b")) == Note(text="a")
        await host.endpoints[0].aclose()
    host.close()

    assert loops == [host.loop]
    assert asyncio.get_running_loop() is not host.loop
