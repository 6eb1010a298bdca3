"""lmlite/api_request.py: the fields that every endpoint knows mean the same at each."""

from __future__ import annotations

import json
import re
from typing import Any

import pydantic_core
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import ApiRequest, ApiResponse, CompletionOutput
from conduit_nb.lmlite.chat import ChatCompletionResponse, parse_chat
from conduit_nb.lmlite.completion import CompletionResponse, parse_completion
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.lmlite.request import TextGrammar
from conduit_nb.protocol import Usage

ENDPOINTS = {
    parse_chat: {"messages": [{"role": "user", "content": "hi"}]},
    parse_completion: {"prompt": "hi"},
}
USAGE = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
ENTRY = TokenLogprob(token=b"\xc3", logprob=-0.5, top=((b"\xc3", -0.5), (b"a", -1.5)))
OUTPUTS = (
    CompletionOutput(index=0, text="ß", logprobs=(ENTRY,), finish_reason="stop"),
    CompletionOutput(index=1, text="", finish_reason="length"),
)


@pytest.fixture(params=ENDPOINTS, ids=lambda parse: parse.__name__)
def parse(request) -> Any:
    """Return a function that makes a request of fields, for one endpoint after the other."""

    def made(**fields: Any) -> ApiRequest:
        body = {"model": "m", **ENDPOINTS[request.param], **fields}
        return request.param(json.dumps(body).encode())

    return made


def test_common_fields_arrive_at_every_endpoint(parse):
    request = parse(
        n=2,
        top_k=-1,
        seed=4,
        stop="x",
        stream=True,
        stream_options={"include_usage": True},
        conduit={"deadline_s": 1, "max_model_len": 9, "revision": "v1"},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    )

    assert (request.n, request.replies, request.key.revision) == (2, 2, "v1")
    assert (request.sampling.top_k, request.sampling.seed, request.sampling.stop) == (0, 4, ("x",))
    assert (request.stream, request.include_usage, request.json_schema) == (True, True, {})
    assert (request.deadline_s, request.max_model_len, request.batch_timeout_ms) == (1.0, 9, None)


@pytest.mark.parametrize("field", ["logit_bias", "max_token"])
def test_what_is_not_honoured_is_refused_by_name_at_every_endpoint(parse, field):
    with pytest.raises(RequestRefusedError, match=rf"\b{field}\b") as caught:
        parse(**{field: {"1": 2}})

    assert caught.value.param == field


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("max_token", "max_tokens"),
        ("temprature", "temperature"),
        ("maxTokens", "max_tokens"),
        ("top-p", "top_p"),
        ("stop_tokens_ids", "stop_token_ids"),
    ],
)
def test_a_mistyped_field_is_refused_with_the_one_that_was_meant(parse, name, meant):
    with pytest.raises(RequestRefusedError, match=re.escape(repr(name))) as caught:
        parse(**{name: 1})

    assert re.search(rf"\b{meant}\b", caught.value.hint)
    assert caught.value.param == name


def test_an_unknown_field_is_ignored_and_named(parse):
    request = parse(session_id="a", provider={"order": ["x"]}, nothing=None)

    assert request.ignored == ("session_id", "provider")


@pytest.mark.parametrize(
    "fields",
    [
        {"best_of": 1, "use_beam_search": False, "length_penalty": 1.0, "prompt_logprobs": None},
        {"priority": 3, "request_id": "a", "spaces_between_special_tokens": False},
        {"guided_decoding_backend": "xgrammar", "bad_words": [], "logits_processors": None},
    ],
)
def test_fields_of_vllm_that_change_nothing_are_taken(parse, fields):
    assert parse(**fields) == parse()


def test_the_ways_of_vllm_to_end_a_reply_arrive(parse):
    sampling = parse(
        stop_token_ids=[3, 4],
        min_tokens=5,
        ignore_eos=True,
        include_stop_str_in_output=True,
        skip_special_tokens=False,
    ).sampling

    assert (sampling.stop_token_ids, sampling.min_tokens) == ((3, 4), 5)
    assert (sampling.ignore_eos, sampling.includes_stop) == (True, True)
    assert not sampling.skip_special_tokens


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"guided_json": SCHEMA},
        {"guided_json": json.dumps(SCHEMA)},
        {"structured_outputs": {"json": SCHEMA, "regex": None}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    ],
    ids=str,
)
def test_a_schema_may_be_sent_in_the_fields_of_other_servers(parse, fields):
    assert parse(**fields).json_schema == SCHEMA


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"guided_choice": ["a", "b"]}, TextGrammar(kind="choice", options=("a", "b"))),
        ({"guided_regex": "a+"}, TextGrammar(kind="regex", text="a+")),
        ({"guided_grammar": 'root ::= "a"'}, TextGrammar(kind="grammar", text='root ::= "a"')),
        ({"structured_outputs": {"choice": ["a"]}}, TextGrammar(kind="choice", options=("a",))),
        ({"structured_outputs": {"regex": "a"}}, TextGrammar(kind="regex", text="a")),
        (
            {"structured_outputs": {"grammar": 'start: "a"'}},
            TextGrammar(kind="grammar", text='start: "a"'),
        ),
    ],
    ids=str,
)
def test_a_text_may_be_described_in_the_words_of_vllm(parse, fields, grammar):
    assert parse(**fields).text_grammar == grammar
    assert parse(**fields).json_schema is None


@pytest.mark.parametrize(
    ("fields", "param", "facts"),
    [
        ({"guided_json": "{"}, "guided_json", "JSON: .*EOF"),
        ({"guided_json": "[1]"}, "guided_json", "JSON Schema"),
        ({"guided_choice": []}, "guided_choice", "guided_choice"),
        (
            {"guided_choice": ["a"], "guided_regex": "b"},
            "guided_choice",
            r"guided_regex\b.*\bguided_choice\b",
        ),
        (
            {"guided_json": {}, "response_format": {"type": "json_object"}},
            "guided_json",
            r"response_format\b.*\bguided_json\b",
        ),
        (
            {"structured_outputs": {"structural_tag": "x"}},
            "structured_outputs.structural_tag",
            r"structured_outputs\.structural_tag",
        ),
        (
            {"guided_choice": ["a"], "ignore_eos": True},
            "ignore_eos",
            r"ignore_eos\b.*\bguided_choice\b",
        ),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "stop_token_ids"),
        ({"min_tokens": -1}, "min_tokens", "min_tokens"),
        (
            {"guided_whitespace_pattern": " "},
            "guided_whitespace_pattern",
            "^guided_whitespace_pattern",
        ),
    ],
    ids=str,
)
def test_what_vllm_takes_and_we_do_not_is_refused_by_name(parse, fields, param, facts):
    with pytest.raises(RequestRefusedError, match=facts) as caught:
        parse(**fields)

    assert caught.value.param == param


def test_a_revision_may_follow_the_model(parse):
    key = parse(model="owner/name@v2").key

    assert (key.model_id, key.revision) == ("owner/name", "v2")
    with pytest.raises(RequestRefusedError, match="'owner/name@'") as caught:
        parse(model="owner/name@")
    assert caught.value.param == "model"


@pytest.mark.parametrize("has_logprobs", [True, False])
@pytest.mark.parametrize(
    ("kind", "whole", "event"),
    [
        (ChatCompletionResponse, ChatCompletion, ChatCompletionChunk),
        (CompletionResponse, Completion, Completion),
    ],
)
def test_openais_client_reads_what_we_write(
    kind: type[ApiResponse], whole: Any, event: Any, has_logprobs: bool
):
    response = kind("id-1", "m", has_logprobs=has_logprobs)
    opening = response.opening(0)
    pairs = [
        (whole, response.whole(OUTPUTS, USAGE)),
        *[(event, response.event(output)) for output in OUTPUTS if output.logprobs],
        (event, response.usage_event(USAGE)),
        *([(event, opening)] if opening else []),
    ]

    for theirs, ours in pairs:
        read = theirs.model_validate_json(pydantic_core.to_json(ours))
        assert not read.model_extra
        assert read.to_dict(exclude_unset=True) == ours
