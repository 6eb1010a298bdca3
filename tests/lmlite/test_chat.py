"""lmlite/chat.py: what a request may hold, and how what it may not is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import ANY_OBJECT
from conduit_nb.lmlite.chat import ChatCompletionRequest, parse_chat
from conduit_nb.lmlite.config import ModelKey
from conduit_nb.lmlite.sampling_params import SamplingParams

USER = {"role": "user", "content": "hi"}


def parse(**fields: Any) -> ChatCompletionRequest:
    return parse_chat(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


def test_a_bare_request_asks_for_the_likeliest_text_to_the_end_of_the_context():
    request = parse()

    assert request.key == ModelKey(model_id="m", revision=None, dtype="auto")
    assert request.messages == [USER]
    assert (request.max_tokens, request.max_model_len, request.json_schema) == (None, None, None)
    assert (request.stream, request.include_usage, request.sampling.is_greedy) == (
        False,
        False,
        True,
    )


def test_every_field_arrives():
    request = parse(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=-3,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
        conduit={
            "revision": "v1",
            "dtype": "bfloat16",
            "quantization": "int8",
            "max_model_len": 99,
            "batch_timeout_ms": 0,
        },
    )

    assert request.key == ModelKey(
        model_id="m", revision="v1", dtype="bfloat16", quantization="int8"
    )
    assert (request.max_tokens, request.max_model_len, request.batch_timeout_ms) == (7, 99, 0)
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (
        0.5,
        0.9,
        -3,
    )
    assert request.sampling.stop == ("a", "b")
    assert (request.stream, request.include_usage) == (True, True)


def test_the_ways_to_sample_arrive_by_the_names_of_openai_and_vllm():
    request = parse(
        n=3,
        top_k=40,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=-1,
        frequency_penalty=0.5,
        logprobs=True,
        top_logprobs=4,
        conduit={"deadline_s": 2.5},
    )

    assert (request.n, request.replies, request.deadline_s) == (3, 3, 2.5)
    assert request.sampling == SamplingParams(
        top_k=40,
        min_p=0.05,
        repetition_penalty=1.1,
        presence_penalty=-1,
        frequency_penalty=0.5,
        top_logprobs=4,
    )


def test_log_probabilities_may_be_requested_without_alternatives():
    assert parse(logprobs=True).sampling.top_logprobs == 0
    assert parse(logprobs=False).sampling.top_logprobs is None


def test_fields_that_are_null_are_fields_left_out():
    request = parse(
        max_tokens=None,
        temperature=None,
        top_p=None,
        seed=None,
        stop=None,
        response_format=None,
        stream=None,
        stream_options=None,
        conduit=None,
        n=None,
        tools=None,
    )

    assert request == parse()


def test_a_whole_number_is_a_temperature():
    assert parse(temperature=1).sampling.temperature == 1.0


def test_one_stop_string_is_a_list_of_one():
    assert parse(stop="end").sampling.stop == ("end",)


def test_the_newer_name_of_max_tokens_is_understood():
    assert parse(max_completion_tokens=5).max_tokens == 5


def test_text_in_parts_is_joined_and_the_developer_is_the_system():
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]

    request = parse(messages=[{"role": "developer", "content": parts}, USER])

    assert request.messages == [{"role": "system", "content": "one two"}, USER]


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, ANY_OBJECT),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}},
            {"type": "string"},
        ),
        ({"type": "json_schema", "schema": {"type": "string"}}, {"type": "string"}),
    ],
)
def test_the_response_format_becomes_a_schema(response_format, expected):
    assert parse(response_format=response_format).json_schema == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "metadata": {"a": 1}, "store": False, "service_tier": "auto"},
        {"n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False},
        {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "top_logprobs": 0},
        {"tools": [], "tool_choice": "none", "logit_bias": {}, "modalities": ["text"]},
    ],
)
def test_fields_that_change_nothing_are_passed_over(fields):
    assert parse(**fields) == parse()


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_bias": {"1": 5}},
        {"prompt_logprobs": 1},
        {"truncate_prompt_tokens": 5},
        {"bad_words": ["x"]},
        {"use_beam_search": True},
        {"echo": True},
        {"chat_template": "{{ 1 }}"},
        {"thinking": {"type": "enabled"}},
        {"max_new_tokens": 5},
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields):
    (name,) = fields

    with pytest.raises(RequestRefusedError, match=rf"^{name}\b") as caught:
        parse(**fields)

    assert caught.value.param == name
    assert name in caught.value.hint


@pytest.mark.parametrize(
    ("effort", "shown"),
    [
        ("low", {"reasoning_effort": "low"}),
        ("high", {"reasoning_effort": "high"}),
        ("none", {"enable_thinking": False}),
        (None, {}),
    ],
)
def test_an_effort_is_shown_to_the_chat_template(effort, shown):
    assert parse(reasoning_effort=effort).prompt.template_kwargs == shown


def test_what_the_templates_arguments_say_of_an_effort_counts_more():
    given = {"reasoning_effort": "high"}

    request = parse(reasoning_effort="low", chat_template_kwargs=given)

    assert request.prompt.template_kwargs == given


def test_an_effort_that_is_none_is_refused_by_name():
    with pytest.raises(RequestRefusedError) as refused:
        parse(reasoning_effort="huge")

    assert refused.value.param == "reasoning_effort"


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(RequestRefusedError, match="'max_token'") as caught:
        parse(max_token=5)

    assert caught.value.param == "max_token"
    assert "max_tokens" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [USER, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        (
            {"messages": [{**USER, "tool_calls": [{"function": {"name": "f"}}]}]},
            "messages[0].tool_calls",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": 2**70}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": "much"}, "frequency_penalty"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"conduit": {"deadline_s": 0}}, "conduit.deadline_s"),
        ({"conduit": {"deadline_s": "soon"}}, "conduit.deadline_s"),
        ({"stop": [1]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"conduit": {"dtype": "int3"}}, "conduit.dtype"),
        ({"conduit": {"quantization": "int3"}}, "conduit.quantization"),
        ({"conduit": {"max_model_len": 0}}, "conduit.max_model_len"),
        ({"conduit": {"quantisation": "x"}}, "conduit.quantisation"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(fields, path):
    with pytest.raises(RequestRefusedError) as caught:
        parse(**fields)

    # below a field of several types stands which of them was tried
    assert re.match(rf"{re.escape(path)}(\.|\[|$)", caught.value.param or "")
    assert path in str(caught.value)


def test_a_part_of_a_message_that_is_no_text_is_named():
    with pytest.raises(RequestRefusedError, match=r"\bfile\b") as caught:
        parse(messages=[{"role": "tool", "content": [{"type": "file"}]}])

    assert caught.value.param == "messages[0].content"


def test_a_field_that_needs_another_names_both():
    with pytest.raises(RequestRefusedError, match=r"top_logprobs=2 .*\blogprobs\b"):
        parse(top_logprobs=2)


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(RequestRefusedError, match=r"max_tokens.*stream"):
        parse(max_tokens=0, stream=5)


def test_what_a_request_holds_is_not_repeated_in_the_error():
    with pytest.raises(RequestRefusedError) as caught:
        parse(messages=[{"role": "user", "content": {"secret": "abc"}}])

    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "m", "temperature": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body):
    with pytest.raises(RequestRefusedError, match=r"\bbody\b.*\bJSON\b") as caught:
        parse_chat(body)

    assert caught.value.param is None


def test_a_missing_model_is_named():
    with pytest.raises(RequestRefusedError) as caught:
        parse_chat(json.dumps({"messages": [USER]}).encode())

    assert caught.value.param == "model"
