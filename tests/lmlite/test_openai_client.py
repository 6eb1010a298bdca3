"""lmlite/server.py as the official `openai` client sees it: errors as its own types, retries."""

from __future__ import annotations

import datetime
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import jsonschema
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


class Visit(pydantic.BaseModel):
    """A record of types that JSON has no word for."""

    days: set[Literal["mon", "tue", "wed"]]
    at: datetime.datetime
    day: datetime.date | None = None
    clock: datetime.time


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
    assert str(refused.value).endswith(refused.value.body["hint"])
    if code == "context_length_exceeded":  # litellm knows it by these words
        words = r"this model's maximum context length is|prompt is too long"
        assert re.search(words, refused.value.message.lower())
    if code != "deadline" or not stream:  # in a stream that has begun it is an event
        assert isinstance(refused.value, kind)
        assert refused.value.response.headers["x-request-id"] == refused.value.request_id


def test_the_keyword_that_cannot_be_served_is_named(client, tiny):
    with pytest.raises(openai.BadRequestError, match="'not'") as refused:
        client.chat.completions.create(model=tiny, messages=HI, response_format=UNSERVED)

    assert "JSON Schema" in refused.value.message


def test_a_full_server_is_a_rate_limit_that_says_when_to_come_back(client, tiny):
    endless = {"model": tiny, "messages": HI, "n": 2, "response_format": ENDLESS}
    with client.chat.completions.create(**endless, stream=True) as running:
        next(iter(running))
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model=tiny, messages=HI, max_tokens=1)

    assert int(refused.value.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("kind", [Verdict, Visit])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_record_is_parsed_into_the_users_own_class(client, tiny, kind, seed):
    reply = client.chat.completions.parse(
        model=tiny,
        messages=HI,
        response_format=kind,
        max_tokens=90,
        temperature=1.5,
        seed=seed,
        reasoning_effort="low",
    )

    assert isinstance(reply.choices[0].message.parsed, kind)


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


# Functions


WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
}
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "now", "strict": True}},
]
NOTE = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 5}},
    "required": ["lines"],
}
FORCED: Any = {"type": "function", "function": {"name": "weather"}}


def check_calls(calls: Any) -> None:
    """Assert that calls are of the functions and have arguments that fit."""
    assert calls
    assert len({call.id for call in calls}) == len(calls)
    for call in calls:
        assert call.type == "function"
        arguments = json.loads(call.function.arguments)
        if call.function.name == "now":
            assert arguments == {}
        else:
            jsonschema.validate(arguments, WEATHER)


def answer_of(
    client: openai.OpenAI, request: dict[str, Any], *, stream: bool
) -> tuple[str, list[Any], str]:
    """Return the text, the calls and the reason of a reply, put together where it is streamed."""
    if not stream:
        (choice,) = client.chat.completions.create(**request).choices
        return choice.message.content or "", choice.message.tool_calls, choice.finish_reason
    text, calls, reason = "", [], ""
    for chunk in client.chat.completions.create(**request, stream=True):
        (choice,) = chunk.choices
        text += choice.delta.content or ""
        reason = choice.finish_reason or reason
        for piece in choice.delta.tool_calls or []:
            if piece.index == len(calls):
                calls.append(piece)
            else:
                calls[piece.index].function.arguments += piece.function.arguments
    return text, calls, reason


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", [FORCED, "required"], ids=str)
@pytest.mark.parametrize("parallel", [True, False])
def test_a_reply_that_must_call_a_function_calls_one(client, tiny, choice, parallel, stream):
    request = {
        "model": tiny,
        "messages": HI,
        "tools": TOOLS,
        "tool_choice": choice,
        "parallel_tool_calls": parallel,
        "max_tokens": 300,
    }
    content, calls, reason = answer_of(client, request, stream=stream)

    assert not content
    check_calls(calls)
    assert reason in ("tool_calls", "length")
    if choice is FORCED:
        assert [call.function.name for call in calls] == ["weather"]
    if not parallel:
        assert len(calls) == 1


def test_a_streamed_call_has_its_name_first_and_then_its_arguments_in_pieces(client, tiny):
    chunks = client.chat.completions.create(
        model=tiny,
        messages=HI,
        tools=TOOLS,
        tool_choice=FORCED,
        stream=True,
        max_tokens=200,
        stream_options={"include_usage": True},
    )

    *deltas, last, usage = list(chunks)
    pieces = [call for one in deltas for call in one.choices[0].delta.tool_calls or []]
    first, *rest = pieces
    assert (first.index, first.type, first.function.name) == (0, "function", "weather")
    assert first.id
    assert first.function.arguments == ""
    assert len(rest) > 1
    assert all(piece.index == 0 and piece.id is None for piece in rest)
    jsonschema.validate(json.loads("".join(one.function.arguments for one in rest)), WEATHER)
    assert last.choices[0].finish_reason == "tool_calls"
    assert usage.usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_tokens", [18, 20, 30])
def test_a_call_that_the_limit_cuts_has_arguments_that_fit(client, tiny, max_tokens, stream):
    request: Any = {
        "model": tiny,
        "messages": HI,
        "tools": [{"type": "function", "function": {"name": "note", "parameters": NOTE}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": max_tokens,
    }
    _, (call,), reason = answer_of(client, request, stream=stream)

    jsonschema.validate(json.loads(call.function.arguments), NOTE)
    assert reason in ("length", "tool_calls")


@pytest.mark.parametrize("choice", ["none", "auto", None])
def test_a_reply_that_may_call_is_text_or_calls(client, tiny, choice):
    more = {} if choice is None else {"tool_choice": choice}
    reply = client.chat.completions.create(
        model=tiny, messages=HI, tools=TOOLS, max_tokens=40, **more
    )

    message = reply.choices[0].message
    if message.tool_calls:
        assert choice != "none"
        check_calls(message.tool_calls)
    else:
        assert message.content
        assert reply.choices[0].finish_reason in ("stop", "length")


def test_tools_with_a_response_format_give_a_record_or_a_call(client, tiny):
    record = {"type": "json_schema", "json_schema": {"name": "it", "schema": WEATHER}}
    reply = client.chat.completions.create(
        model=tiny, messages=HI, tools=TOOLS, response_format=record, max_tokens=300
    )

    message = reply.choices[0].message
    if message.tool_calls:
        check_calls(message.tool_calls)
    else:
        jsonschema.validate(json.loads(message.content), WEATHER)


@pytest.mark.parametrize("stream", [False, True])
def test_functions_in_the_older_words_are_answered_in_them(client, tiny, stream):
    request = {
        "model": tiny,
        "messages": HI,
        "functions": [TOOLS[0]["function"]],
        "function_call": {"name": "weather"},
        "max_tokens": 200,
    }
    if stream:
        chunks = [one.choices[0] for one in client.chat.completions.create(**request, stream=True)]
        parts = [one.delta.function_call for one in chunks if one.delta.function_call]
        name, arguments = parts[0].name, "".join(one.arguments for one in parts)
        reason = chunks[-1].finish_reason
    else:
        (choice,) = client.chat.completions.create(**request).choices
        name, arguments = choice.message.function_call.name, choice.message.function_call.arguments
        reason = choice.finish_reason

    assert (name, reason) == ("weather", "function_call")
    jsonschema.validate(json.loads(arguments), WEATHER)


def test_the_message_of_a_reply_can_be_sent_back_as_it_is(client, tiny):
    first = client.chat.completions.create(
        model=tiny, messages=HI, tools=TOOLS, tool_choice=FORCED, max_tokens=200
    )
    reply = first.choices[0].message
    result = {"role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "sunny"}
    second = client.chat.completions.create(
        model=tiny, messages=[*HI, reply, result], tools=TOOLS, max_tokens=4
    )
    dumped = [reply.model_dump(), second.choices[0].message.model_dump()]

    third = client.chat.completions.create(
        model=tiny, messages=[*HI, dumped[0], result, dumped[1], *HI], max_tokens=4
    )

    assert third.choices[0].message.role == "assistant"


def test_several_replies_each_have_their_own_calls(client, tiny):
    reply = client.chat.completions.create(
        model=tiny,
        messages=HI,
        tools=TOOLS,
        tool_choice=FORCED,
        n=2,
        temperature=1.0,
        max_tokens=200,
    )

    assert len(reply.choices) == 2
    for choice in reply.choices:
        check_calls(choice.message.tool_calls)


# vLLM's words


@pytest.mark.parametrize(
    ("extra", "pattern"),
    [
        ({"guided_choice": ["yes", "no"]}, "yes|no"),
        ({"guided_regex": "[ab]{3}c"}, "[ab]{3}c"),
        ({"guided_grammar": 'root ::= "x" ("y" | "z")'}, "x[yz]"),
        ({"guided_json": {"type": "boolean"}}, "true|false"),
        ({"structured_outputs": {"choice": ["one", "two"]}}, "one|two"),
        ({"structured_outputs": {"regex": "[0-9]{2}"}}, "[0-9]{2}"),
        ({"structured_outputs": {"json": {"type": "null"}}}, "null"),
    ],
    ids=str,
)
def test_a_reply_can_be_described_in_the_words_of_vllm(client, tiny, extra, pattern):
    (choice,) = client.chat.completions.create(
        model=tiny, messages=HI, max_tokens=20, extra_body=extra
    ).choices

    assert re.fullmatch(pattern, choice.message.content)
    assert choice.finish_reason == "stop"


def test_thinking_is_turned_off_in_the_words_of_vllm(client, tiny, tmp_path):
    thinking = shutil.copytree(tiny, tmp_path / "thinking")
    written = (thinking / "chat_template.jinja").read_text()
    off = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    (thinking / "chat_template.jinja").write_text(written + off)

    def prompt_tokens(**extra: object) -> int:
        reply = client.chat.completions.create(
            model=str(thinking), messages=HI, max_tokens=1, extra_body=extra
        )
        return reply.usage.prompt_tokens

    usual = prompt_tokens()

    assert prompt_tokens(chat_template_kwargs={"enable_thinking": True}) == usual
    assert prompt_tokens(chat_template_kwargs={"enable_thinking": False}) > usual


@pytest.mark.parametrize("field", ["guided_regex", "guided_grammar"])
def test_a_description_that_is_none_is_refused(client, tiny, field):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=tiny, messages=HI, extra_body={field: "(((" if field == "guided_regex" else "a ="}
        )

    assert refused.value.code == "request_refused"
    assert field.removeprefix("guided_") in refused.value.message
    assert len(refused.value.message) < 500


def test_fields_that_nobody_knows_are_named_in_the_answer(client, tiny, server):
    with client.chat.completions.with_streaming_response.create(
        model=tiny, messages=HI, max_tokens=1, extra_body={"session_id": "a", "trace": {"x": 1}}
    ) as response:
        assert response.headers["x-conduit-ignored"] == "session_id, trace"

    assert server.line_with("ignored=2")


@pytest.mark.parametrize("name", ["\0", "a\r\nx-other: 1", "naïve ☃", '", '])
def test_a_field_of_any_name_makes_a_header_that_can_be_sent(client, tiny, name):
    with client.chat.completions.with_streaming_response.create(
        model=tiny, messages=HI, max_tokens=1, extra_body={name: 1}
    ) as response:
        assert unquote(response.headers["x-conduit-ignored"]) == name
        assert "x-other" not in response.headers


def test_a_schema_beyond_the_limits_is_refused_before_the_prompt_is_read(client, tiny):
    wide = {"type": "object", "properties": {f"f{n}": {"type": "string"} for n in range(700)}}
    with pytest.raises(openai.BadRequestError, match=r"\b700\b.*\b500\b") as refused:
        client.chat.completions.create(
            model=tiny,
            messages=[{"role": "user", "content": "word " * 20_000}],  # too long, were it read
            response_format={"type": "json_schema", "json_schema": {"name": "w", "schema": wide}},
        )

    assert refused.value.code == "request_refused"
    assert "retry-after" not in refused.value.response.headers
    assert len(refused.value.message) < 400
