"""lmlite/serving.py: several replies at once, completions and deadlines, over a socket."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

pytest.importorskip("torch")

from conduit_nb.errors import ServerFailedError
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.serving import merged
from tests.lmlite.server_process import KEY, ServerProcess, server_process
from tests.lmlite.test_server import ENDLESS, error_of, events, until_free

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Return a server that writes two replies at once."""
    with server_process("--threads", "1", "--max-concurrency", "2") as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tiny_model) -> Path:
    return tiny_model()


@pytest.fixture(scope="module")
def long_winded(tiny_model) -> Path:
    """Return a tiny model whose replies can take long."""
    return tiny_model(context_tokens=8192)


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


# Several replies


def test_n_replies_differ_and_the_first_is_the_one_that_comes_alone(client, tiny):
    options: Any = {"model": str(tiny), "messages": HI, "max_tokens": 12, "temperature": 1.2}

    several = client.chat.completions.create(**options, n=3, seed=7)
    again = client.chat.completions.create(**options, n=3, seed=7)
    alone = client.chat.completions.create(**options, seed=7)

    texts = [choice.message.content for choice in several.choices]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts == [choice.message.content for choice in again.choices]
    assert texts[0] == alone.choices[0].message.content
    assert several.usage.prompt_tokens == alone.usage.prompt_tokens
    assert several.usage.completion_tokens > alone.usage.completion_tokens


def test_a_stream_of_several_replies_says_the_same(client, tiny):
    options: Any = {"model": str(tiny), "messages": HI, "max_tokens": 12, "temperature": 1.2}
    whole = client.chat.completions.create(**options, n=2, seed=7)

    texts, roles, reasons = ["", ""], ["", ""], ["", ""]
    usage = None
    for chunk in client.chat.completions.create(
        **options, n=2, seed=7, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            roles[choice.index] += choice.delta.role or ""
            reasons[choice.index] += choice.finish_reason or ""

    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert roles == ["assistant", "assistant"]
    assert usage == whole.usage


def test_more_replies_than_the_server_takes_are_refused_with_both_numbers(tiny):
    with server_process("--max-concurrency", "1", "--max-waiting", "1") as small:
        response = small.chat(tiny, n=3)

    assert response.status_code == 400
    assert error_of(response)["param"] == "n"
    assert re.search(r"\b3\b.*\b2\b", error_of(response)["message"])


async def deltas(*texts: str, error: Exception | None = None) -> AsyncGenerator[GenerationDelta]:
    for text in texts:
        yield GenerationDelta(text=text, tokens=1)
    if error:
        raise error


async def forever(ended: list[bool]) -> AsyncGenerator[GenerationDelta]:
    try:
        await asyncio.Event().wait()
        yield GenerationDelta(text="", tokens=1)
    finally:
        ended.append(True)


async def test_merged_replies_keep_their_order_and_their_index():
    merged_texts = [
        (index, delta.text) async for index, delta in merged([deltas("a", "b"), deltas("c")])
    ]

    assert sorted(merged_texts) == [(0, "a"), (0, "b"), (1, "c")]
    assert merged_texts.index((0, "a")) < merged_texts.index((0, "b"))


async def test_what_one_reply_raises_ends_the_others():
    ended: list[bool] = []

    replies = merged([forever(ended), deltas("a", error=ServerFailedError("broke"))])

    assert (await anext(replies))[1].text == "a"
    with pytest.raises(ServerFailedError, match="broke"):
        await anext(replies)

    assert ended == [True]


# Log probabilities


def test_log_probabilities_come_in_openais_shape_whole_and_streamed(client, tiny):
    options: Any = {
        "model": str(tiny),
        "messages": HI,
        "max_tokens": 8,
        "logprobs": True,
        "top_logprobs": 2,
    }

    whole = client.chat.completions.create(**options).choices[0].logprobs
    chunks = [
        choice.logprobs.content
        for chunk in client.chat.completions.create(**options, stream=True)
        for choice in chunk.choices
        if choice.logprobs
    ]

    assert [entry for chunk in chunks for entry in chunk] == whole.content
    for entry in whole.content:
        assert len(entry.top_logprobs) == 2
        assert entry.logprob == entry.top_logprobs[0].logprob  # the likeliest was taken
        assert bytes(entry.bytes).decode(errors="replace") == entry.token


def test_the_choices_of_a_guided_reply_have_probabilities_that_add_up(client, tiny):
    reply = client.chat.completions.create(
        model=str(tiny),
        messages=HI,
        logprobs=True,
        top_logprobs=20,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "it", "schema": {"enum": ["ja", "nein"]}},
        },
    )

    content = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == reply.choices[0].message.content
    for entry in content:
        assert sum(math.exp(one.logprob) for one in entry.top_logprobs) == pytest.approx(1)


# Completions


def test_a_completion_follows_its_text_without_a_template(client, server, tiny):
    whole = client.completions.create(model=str(tiny), prompt="Once upon", max_tokens=9)
    streamed = client.completions.create(
        model=str(tiny), prompt="Once upon", max_tokens=9, stream=True
    )

    chunks = list(streamed)
    assert whole.object == "text_completion"
    assert whole.id.startswith("cmpl-")
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 9
    chat = server.chat(tiny, "Once upon", max_tokens=1).json()
    assert whole.usage.prompt_tokens < chat["usage"]["prompt_tokens"]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_several_prompts_are_answered_in_their_order(client, tiny):
    prompts = ["Once upon", "true false", "b"]
    alone = [
        client.completions.create(model=str(tiny), prompt=prompt, max_tokens=6)
        for prompt in prompts
    ]

    together = client.completions.create(model=str(tiny), prompt=prompts, max_tokens=6, n=2)

    texts = [choice.text for choice in together.choices]
    assert [choice.index for choice in together.choices] == list(range(6))
    assert texts == [one.choices[0].text for one in alone for _ in range(2)]
    assert together.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone)


def test_a_completion_reports_its_log_probabilities_in_columns(client, tiny):
    reply = client.completions.create(model=str(tiny), prompt="Once", max_tokens=5, logprobs=1)

    columns = reply.choices[0].logprobs
    assert len(columns.tokens) == len(columns.token_logprobs) == len(columns.text_offset) == 5
    assert columns.text_offset[0] == 0
    assert all(value <= 0 for value in columns.token_logprobs)


def test_a_completion_can_be_guided_stopped_and_refused(client, tiny):
    fits = client.completions.create(
        model=str(tiny),
        prompt="x",
        max_tokens=50,
        extra_body={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "it", "schema": {"type": "boolean"}},
            }
        },
    )

    assert json.loads(fits.choices[0].text) in (True, False)
    assert fits.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model=str(tiny), prompt="x", echo=True)
    assert refused.value.param == "echo"
    with pytest.raises(openai.BadRequestError, match="512") as refused:
        client.completions.create(model=str(tiny), prompt="word " * 1000)
    assert refused.value.code == "context_length_exceeded"


# Deadlines


def test_a_deadline_ends_a_reply_with_a_504_and_frees_its_place_in_the_batch(server, long_winded):
    server.chat(long_winded, max_tokens=1)
    begun = time.monotonic()

    response = server.chat(long_winded, response_format=ENDLESS, conduit={"deadline_s": 0.3})

    assert response.status_code == 504
    assert error_of(response)["code"] == "deadline"
    assert "deadline_s=0.3" in error_of(response)["message"]
    assert time.monotonic() - begun >= 0.3
    until_free(server, long_winded, within_s=3)


def test_a_deadline_ends_a_stream_with_an_event(server, long_winded):
    server.chat(long_winded, max_tokens=1)

    response = server.chat(
        long_winded, stream=True, response_format=ENDLESS, conduit={"deadline_s": 1.0}
    )

    *chunks, last = events(response)
    assert response.status_code == 200
    assert chunks
    assert last["error"]["code"] == "deadline"
    until_free(server, long_winded, within_s=3)


def test_waiting_counts_and_others_go_on(server, long_winded):
    """The batch has two places: what waits behind them never gets one."""
    endless = {
        "model": str(long_winded),
        "messages": HI,
        "n": 2,
        "stream": True,
        "response_format": ENDLESS,
    }
    server.chat(long_winded, max_tokens=1)
    with server.client.stream("POST", "/v1/chat/completions", json=endless) as running:
        lines = running.iter_lines()
        next(lines)

        late = server.chat(long_winded, max_tokens=1, conduit={"deadline_s": 0.2})

        assert (late.status_code, error_of(late)["code"]) == (504, "deadline")
        assert server.loaded(long_winded)["running"] == 2
        assert next(line for line in lines if line).startswith("data: ")
    until_free(server, long_winded, within_s=3)


def test_a_reply_in_time_is_not_disturbed(server, tiny):
    reply = server.chat(tiny, max_tokens=3, conduit={"deadline_s": 60})

    assert reply.status_code == 200
