from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("llguidance")
pytest.importorskip("torch")

from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Masks
from conduit_nb.lmlite.logprobs import LogprobBuffer, SampledToken
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Sequence
from conduit_nb.testing.tiny_models import make_tiny_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"flag": {"type": "boolean"}, "count": {"const": 12}},
    "required": ["flag", "count"],
    "additionalProperties": False,
}
TOKENIZER = make_tiny_tokenizer()
VOCABULARY = from_tokenizer(TOKENIZER)
GRAMMARS = Grammars(VOCABULARY)
PROMPT = [5, 6, 7]


def reply(
    *,
    max_tokens: int = 100,
    schema: Any = None,
    stop: tuple[str, ...] = (),
    top_logprobs: int | None = None,
    **sampling: Any,
) -> Reply:
    return Reply(
        sequence=Sequence(number=0, tokens=list(PROMPT)),
        max_tokens=max_tokens,
        sampling=SamplingParams(stop=stop, **sampling),
        guide=GRAMMARS.guide(schema) if schema else None,
        detokenizer=Detokenizer(TOKENIZER.decode),
        end_tokens=frozenset({TOKENIZER.eos_token_id}),
        logprobs=None if top_logprobs is None else LogprobBuffer(VOCABULARY, top_logprobs),
        repetition_guard=RepetitionGuard(TOKENIZER.backend_tokenizer.token_to_id),
    )


def chosen(text: str, logprob: float = -1.0) -> SampledToken:
    (token,) = TOKENIZER.encode(text)
    return SampledToken(token=token, logprob=logprob, top=((token, logprob),))


def written(of: Reply) -> str:
    return TOKENIZER.decode(of.sequence.tokens[len(PROMPT) :])


def test_a_token_goes_to_the_sequence_and_becomes_text():
    one = reply()
    (token,) = TOKENIZER.encode("true")

    delta = one.add(SampledToken(token=token))

    assert (delta.text, delta.tokens, delta.finish_reason) == ("true", 1, None)
    assert one.sequence.tokens == [*PROMPT, token]


def test_an_end_token_ends_the_reply_and_is_no_text():
    one = reply()

    delta = one.add(SampledToken(token=TOKENIZER.eos_token_id))

    assert (delta.text, delta.tokens, delta.finish_reason) == ("", 1, "stop")
    assert one.sequence.tokens == PROMPT


def test_forced_tokens_come_with_the_start_and_with_the_token_before_them():
    one = reply(schema=SCHEMA)

    begun = one.begin()
    assert begun is not None
    assert begun.text == '{"flag":'
    ended = one.add(chosen("true"))

    assert (ended.text, ended.finish_reason) == ('true,"count":12}', "stop")
    assert written(one) == '{"flag":true,"count":12}'
    assert begun.tokens + ended.tokens == len(one.sequence.tokens) - len(PROMPT)
    assert (begun.forced, ended.forced) == (begun.tokens, ended.tokens - 1)


def test_each_token_of_a_guided_reply_has_its_log_probability_and_what_must_come_has_0():
    one = reply(schema=SCHEMA, top_logprobs=1)

    begun = one.begin()
    assert begun is not None
    ended = one.add(chosen("true", -0.5))

    entries = [*begun.logprobs, *ended.logprobs]
    assert b"".join(entry.token for entry in entries) == b'{"flag":true,"count":12}'
    assert len(entries) == begun.tokens + ended.tokens
    assert {entry.token: entry.logprob for entry in entries if entry.logprob} == {b"true": -0.5}
    assert all(entry.top == ((entry.token, entry.logprob),) for entry in entries)


def test_log_probabilities_wait_for_their_text_and_a_stop_string_has_none():
    one = reply(stop=("true love",), top_logprobs=0)

    held = one.add(chosen("true"))
    delta = one.add(chosen("true"))
    one.add(chosen(" "))
    last = [one.add(chosen(letter)) for letter in "love"][-1]

    assert (held.text, held.logprobs) == ("", ())
    assert (delta.text, [entry.token for entry in delta.logprobs]) == ("true", [b"true"])
    assert (last.text, last.logprobs, last.finish_reason) == ("", (), "stop")


def test_the_token_that_ends_a_reply_is_no_text_and_has_no_log_probability():
    one = reply(stop=("true love",), top_logprobs=0)
    one.add(chosen("true"))

    last = one.add(SampledToken(token=TOKENIZER.eos_token_id))

    assert (last.text, [entry.token for entry in last.logprobs]) == ("true", [b"true"])


def test_forced_tokens_are_cut_at_the_limit_like_any_other():
    one = reply(schema=SCHEMA, max_tokens=2)

    delta = one.begin()

    assert delta is not None
    assert (delta.tokens, delta.finish_reason) == (2, "length")
    assert '{"flag":'.startswith(delta.text)


def test_a_record_that_is_whole_at_the_very_limit_is_whole():
    whole = reply(schema=SCHEMA)
    whole.begin()
    whole.add(chosen("true"))
    needed = len(whole.sequence.tokens) - len(PROMPT)

    one = reply(schema=SCHEMA, max_tokens=needed)
    one.begin()

    assert one.add(chosen("true")).finish_reason == "stop"


def test_what_closes_a_record_takes_the_place_of_the_token_that_would_not_leave_room():
    free = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}, "c": {"type": "string"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    closing = TOKENIZER.encode('","b":true}')
    one = reply(schema=free, max_tokens=len(closing) + 20, top_logprobs=1)
    begun = one.begin()
    assert begun is not None
    one.add(chosen('":"'[:3]) if not begun.text.endswith(':"') else chosen("a"))
    deltas = [begun]
    while deltas[-1].finish_reason is None:
        deltas.append(one.add(chosen("q")))

    assert deltas[-1].finish_reason == "length"
    assert sum(delta.tokens for delta in deltas) <= len(closing) + 20
    assert json.loads(written(one))["b"] is True
    assert set(json.loads(written(one))) == {"a", "b"}
    assert deltas[-1].forced == deltas[-1].tokens


def test_what_was_held_back_for_a_stop_string_is_emitted_at_the_end():
    one = reply(stop=("true love",), max_tokens=2)
    (token,) = TOKENIZER.encode("true")

    assert one.add(SampledToken(token=token)).text == ""
    last = one.add(SampledToken(token=token))

    assert (last.text, last.finish_reason) == ("truetrue", "length")


def test_a_reply_without_a_grammar_begins_with_nothing():
    assert reply().begin() is None


def test_a_guided_reply_that_only_repeats_itself_is_led_out():
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    one = reply(max_tokens=1000, schema={**number, "additionalProperties": False})
    one.begin()
    (one_digit,), (zero,) = TOKENIZER.encode("1"), TOKENIZER.encode("0")
    masks = Masks(len(TOKENIZER))
    one.add(SampledToken(token=one_digit))
    steps = 0
    while one.guide is not None and one.escape_token(masks.forbidden([one.guide])[0]) is None:
        assert (steps := steps + 1) < 500
        one.add(SampledToken(token=zero))

    token = one.escape_token(masks.forbidden([one.guide])[0])

    assert token is not None
    assert one.add(SampledToken(token=token)).finish_reason == "stop"
    assert written(one) == '{"n":1' + "0" * steps + "}"


def test_a_stop_string_is_part_of_the_reply_where_that_is_requested():
    one = reply(stop=("brown",), includes_stop=True)

    deltas = [one.add(SampledToken(token=token)) for token in TOKENIZER.encode("quick brown")]

    assert "".join(delta.text for delta in deltas) == "quick brown"
    assert deltas[-1].finish_reason == "stop"


def test_a_stop_string_does_not_count_before_min_tokens():
    one = reply(stop=("t",), min_tokens=4)
    tokens = [TOKENIZER.encode("t")[0]] * 6

    deltas = []
    for token in tokens:
        deltas.append(one.add(SampledToken(token=token)))
        if deltas[-1].finish_reason:
            break

    assert "".join(delta.text for delta in deltas) == "ttt"
    assert len(deltas) == 4
