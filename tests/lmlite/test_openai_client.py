"""lmlite/server.py as the official `openai` client sees it: errors as its own types, retries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

pytest.importorskip("torch")

from tests.lmlite.server_process import KEY, ServerProcess, server_process
from tests.lmlite.test_server import ENDLESS

HI: Any = [{"role": "user", "content": "hi"}]
UNSERVED: Any = {
    "type": "json_schema",
    "json_schema": {"name": "it", "schema": {"not": {"type": "string"}}},
}


class Verdict(pydantic.BaseModel):
    """A record as users of the client write it."""

    is_spam: bool
    stars: int


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Return a server that takes two requests at once and no third."""
    with server_process("--threads", "1", "--max-concurrency", "2", "--max-waiting", "0") as one:
        yield one


@pytest.fixture(scope="module")
def tiny(tiny_model) -> str:
    return str(tiny_model(context_tokens=4096))


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "code", "fields"),
    [
        (openai.NotFoundError, "model_not_found", {"model": "nobody/nothing"}),
        (openai.UnprocessableEntityError, "model_files", {"model": str(Path(__file__).parent)}),
        (openai.BadRequestError, "request_refused", {"temperature": -1}),
        (openai.BadRequestError, "request_refused", {"logit_bias": {"1": 5}}),
        (openai.BadRequestError, "request_refused", {"response_format": UNSERVED}),
        (
            openai.BadRequestError,
            "context_length_exceeded",
            {"messages": [{"role": "user", "content": "word " * 20_000}]},
        ),
        (
            openai.APIStatusError,
            "context_length_exceeded",
            {"messages": [{"role": "user", "content": "x" * 5_000_000}]},
        ),
        (
            openai.InternalServerError,
            "deadline",
            {"response_format": ENDLESS, "extra_body": {"conduit": {"deadline_s": 0.1}}},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_an_error_of_the_clients_own_kind(
    client, tiny, kind, code, fields, stream
):
    client.chat.completions.create(model=tiny, messages=HI, max_tokens=1)
    request = {"model": tiny, "messages": HI, "stream": stream, **fields}

    with pytest.raises(openai.APIError) as refused:
        list(client.chat.completions.create(**request))

    assert refused.value.code == code
    if code != "deadline" or not stream:  # in a stream that has begun it is an event
        assert isinstance(refused.value, kind)
        assert refused.value.response.headers["x-request-id"] == refused.value.request_id


def test_the_keyword_that_cannot_be_served_is_named(client, tiny):
    with pytest.raises(openai.BadRequestError, match="not") as refused:
        client.chat.completions.create(model=tiny, messages=HI, response_format=UNSERVED)

    assert "JSON Schema" in refused.value.message


def test_a_full_server_is_a_rate_limit_that_says_when_to_come_back(client, tiny):
    endless = {"model": tiny, "messages": HI, "n": 2, "response_format": ENDLESS}
    with client.chat.completions.create(**endless, stream=True) as running:
        next(iter(running))
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model=tiny, messages=HI, max_tokens=1)

    assert int(refused.value.response.headers["retry-after"]) > 0


def test_a_record_is_parsed_into_the_users_own_class(client, tiny):
    reply = client.chat.completions.parse(
        model=tiny, messages=HI, response_format=Verdict, max_tokens=60
    )

    assert isinstance(reply.choices[0].message.parsed, Verdict)


def test_an_object_without_a_schema_is_an_object(client, tiny):
    reply = client.chat.completions.create(
        model=tiny, messages=HI, response_format={"type": "json_object"}, max_tokens=12
    )

    assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_models_are_listed_and_found_by_their_id(client, tiny, server):
    client.chat.completions.create(model=tiny, messages=HI, max_tokens=1)

    assert tiny in [model.id for model in client.models.list()]


async def test_the_asynchronous_client_streams_with_its_usage(server, tiny):
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY) as client:
        stream = await client.chat.completions.create(
            model=tiny,
            messages=HI,
            max_tokens=6,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-request-id": "mine-7"},
        )
        chunks = [chunk async for chunk in stream]

    assert stream.response.headers["x-request-id"] == "mine-7"
    assert {chunk.id for chunk in chunks} == {"chatcmpl-mine-7"}
    assert chunks[-1].usage.completion_tokens <= 6
    assert chunks[-2].choices[0].finish_reason
