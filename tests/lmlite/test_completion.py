"""lmlite/completion.py: what a request for plain text may say, and how it is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import CompletionOutput
from conduit_nb.lmlite.completion import CompletionRequest, CompletionResponse, parse_completion
from conduit_nb.lmlite.logprobs import TokenLogprob


def parse(**fields: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"model": "m", "prompt": "Once", **fields}).encode())


def entry(token: bytes, *others: bytes) -> TokenLogprob:
    top = tuple((other, -2.0) for other in others)
    return TokenLogprob(token=token, logprob=-1.0, top=((token, -1.0), *top) if others else ())


def test_one_prompt_gets_one_reply_of_openais_length():
    request = parse()

    assert (request.prompts, request.replies, request.max_tokens) == (("Once",), 1, 16)
    assert request.sampling.top_logprobs is None


def test_each_of_several_prompts_gets_n_replies():
    request = parse(prompt=["a", "b"], n=3, logprobs=0, max_tokens=5)

    assert (request.prompts, request.replies, request.max_tokens) == (("a", "b"), 6, 5)
    assert request.sampling.top_logprobs == 0


@pytest.mark.parametrize("fields", [{"echo": False, "best_of": 1, "suffix": None, "user": "me"}])
def test_fields_that_change_nothing_are_passed_over(fields):
    assert parse(**fields) == parse()


@pytest.mark.parametrize("fields", [{"echo": True}, {"best_of": 3}, {"suffix": "end"}])
def test_what_cannot_be_honoured_is_refused_by_name(fields):
    (name,) = fields

    with pytest.raises(RequestRefusedError, match=rf"^{name}\b") as caught:
        parse(**fields)

    assert caught.value.param == name
    assert name in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "param", "fact"),
    [
        ({"prompt": ""}, "prompt", "prompt: "),
        ({"prompt": []}, "prompt", "prompt: "),
        ({"prompt": ["a", ""]}, "prompt", "prompt: "),
        ({"prompt": [1, 2]}, "prompt", r"prompt: .*\btokens\b"),
        ({"prompt": None}, "prompt", "prompt: "),
        ({"logprobs": True}, "logprobs", "logprobs: "),
        ({"logprobs": 21}, "logprobs", "logprobs: "),
        ({"messages": []}, "messages", "^messages"),
        ({"prompt": ["a"] * 65, "n": 2}, "n", r"\bprompt\b.*\bn\b.*\b130\b.*\b128\b"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(fields, param, fact):
    with pytest.raises(RequestRefusedError, match=fact) as caught:
        parse(**fields)

    assert caught.value.param == param


def test_log_probabilities_stand_in_columns_with_offsets_into_the_text():
    response = CompletionResponse("cmpl-1", "m", has_logprobs=True)
    entries = (entry(b"a\xc3"), entry(b"\x9f"), entry(b"b", b"c"))

    first = response.event(CompletionOutput(index=0, text="aß", logprobs=entries[:2]))
    second = response.event(CompletionOutput(index=0, text="b", logprobs=entries[2:]))
    other = response.event(CompletionOutput(index=1, text="b", logprobs=entries[2:]))

    logprobs = [event["choices"][0]["logprobs"] for event in (first, second, other)]
    assert [columns["text_offset"] for columns in logprobs if columns] == [[0, 2], [2], [0]]
    assert logprobs[1] == {
        "tokens": ["b"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"b": -1.0, "c": -2.0}],
        "text_offset": [2],
    }


def test_a_token_that_is_no_text_takes_no_room_in_it():
    end = TokenLogprob(token=b"<end>", logprob=-1.0, top=(), is_text=False)
    response = CompletionResponse("cmpl-1", "m", has_logprobs=True)

    event = response.event(
        CompletionOutput(index=0, text="ab", logprobs=(entry(b"a"), end, entry(b"b")))
    )

    columns = event["choices"][0]["logprobs"]
    assert columns is not None
    assert columns["text_offset"] == [0, 1, 1]


def test_log_probabilities_that_were_not_requested_are_null():
    event = CompletionResponse("cmpl-1", "m", has_logprobs=False).event(
        CompletionOutput(index=0, text="a")
    )

    assert event["choices"][0]["logprobs"] is None
