"""lmlite/messages.py: what clients send back is read as OpenAI and vLLM read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.lmlite.chat import ChatCompletionRequest, parse_chat

USER: dict[str, Any] = {"role": "user", "content": "hi"}
FUNCTION = {"name": "weather", "arguments": '{"city": "Paris"}'}
CALL = {"id": "call_1", "type": "function", "function": FUNCTION}
READ_CALL = {
    "type": "function",
    "id": "call_1",
    "function": {"name": "weather", "arguments": {"city": "Paris"}},
}


def parse(*messages: dict[str, Any], **fields: Any) -> ChatCompletionRequest:
    body = {"model": "m", "messages": list(messages), **fields}
    return parse_chat(json.dumps(body).encode())


@pytest.mark.parametrize(
    "empty",
    [
        {"refusal": None, "tool_calls": None, "function_call": None, "audio": None},
        {"annotations": None, "reasoning_content": None, "name": None, "tool_call_id": None},
        {"annotations": [], "tool_calls": [], "function_call": {}, "refusal": ""},
        {"whatever": None, "something": []},
        {"provider_specific_fields": {"refusal": None}, "logprobs": {}, "index": 0, "id": "x"},
        {"prefix": False},
    ],
    ids=str,
)
def test_fields_that_are_null_or_empty_ask_for_nothing(empty: dict[str, Any]):
    reply = {"role": "assistant", "content": "hello", **empty}

    call = parse(USER, reply, USER)

    assert call.messages == [USER, {"role": "assistant", "content": "hello"}, USER]
    assert call.ignored == ()


def test_unknown_fields_are_ignored_and_named():
    call = parse({**USER, "cache": "yes", "weight": 1})

    assert call.messages == [USER]
    assert call.ignored == ("messages[].cache", "messages[].weight")


@pytest.mark.parametrize("content", [None, "", []])
def test_a_reply_with_calls_may_have_no_content(content: Any):
    call = parse(USER, {"role": "assistant", "content": content, "tool_calls": [CALL]})

    assert call.messages[1] == {"role": "assistant", "content": "", "tool_calls": [READ_CALL]}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": None, "refusal": None},
    ],
    ids=str,
)
def test_an_assistants_message_may_be_empty(message: dict[str, Any]):
    assert parse(USER, message).messages[1] == {"role": "assistant", "content": ""}


def test_a_refusal_is_the_text_of_the_assistants_message():
    read = parse(USER, {"role": "assistant", "content": None, "refusal": "No."}).messages[1]

    assert read == {"role": "assistant", "content": "No."}


def test_a_result_keeps_the_call_that_it_answers():
    read = parse(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ).messages[2]

    assert read == {
        "role": "tool",
        "content": "sunny",
        "tool_call_id": "call_1",
        "name": "weather",
    }


def test_the_older_words_for_calls_and_results_are_understood():
    read = parse(
        USER,
        {"role": "assistant", "content": None, "function_call": FUNCTION},
        {"role": "function", "name": "weather", "content": "sunny"},
    ).messages

    assert read[1]["tool_calls"][0]["function"] == READ_CALL["function"]
    assert read[2] == {"role": "tool", "content": "sunny", "name": "weather"}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ('{"city": "Paris"}', {"city": "Paris"}),
        ("", {}),
        (None, {}),
        ({"city": "Paris"}, {"city": "Paris"}),
        ("not json", "not json"),
        ("[1]", "[1]"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_arguments_are_read_as_an_object_where_they_are_one(given: Any, read: Any):
    function = {"name": "f", "arguments": given}

    call = parse(USER, {"role": "assistant", "tool_calls": [{"function": function}]})

    assert call.messages[1]["tool_calls"][0]["function"]["arguments"] == read


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
        [{"type": "text", "text": "one ", "cache_control": {"type": "ephemeral"}}, "two"],
        [{"type": "input_text", "text": "one "}, {"type": "output_text", "text": "two"}],
        "one two",
    ],
    ids=str,
)
def test_every_role_may_send_its_text_in_parts(role: str, content: Any):
    read = parse({"role": role, "content": content}).messages[0]

    assert read["content"] == "one two"
    assert read["role"] == {"developer": "system", "function": "tool"}.get(role, role)


def test_reasoning_is_kept_for_templates_that_show_it():
    read = parse(USER, {"role": "assistant", "content": "4", "reasoning_content": "2+2"})

    assert read.messages[1] == {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
