from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("llguidance")
pytest.importorskip("torch")

from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Masks
from conduit_nb.lmlite.loops import LoopGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.lmlite.scheduler import Row
from conduit_nb.testing.tiny_models import make_tiny_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"flag": {"type": "boolean"}, "count": {"const": 12}},
    "required": ["flag", "count"],
    "additionalProperties": False,
}
TOKENIZER = make_tiny_tokenizer()
GRAMMARS = Grammars(from_tokenizer(TOKENIZER))
PROMPT = [5, 6, 7]


def reply(*, max_tokens: int = 100, schema: Any = None, stop: tuple[str, ...] = ()) -> Reply:
    return Reply(
        row=Row(number=0, tokens=list(PROMPT)),
        max_tokens=max_tokens,
        sampling=SamplingParams(stop=stop),
        guide=GRAMMARS.guide(schema) if schema else None,
        detokenizer=Detokenizer(TOKENIZER.decode),
        end_tokens=frozenset({TOKENIZER.eos_token_id}),
        loop_guard=LoopGuard(TOKENIZER.backend_tokenizer.token_to_id),
    )


def written(of: Reply) -> str:
    return TOKENIZER.decode(of.row.tokens[len(PROMPT) :])


def test_a_token_goes_to_the_row_and_becomes_text():
    one = reply()
    (token,) = TOKENIZER.encode("true")

    delta = one.add(token)

    assert (delta.text, delta.tokens, delta.finish_reason) == ("true", 1, None)
    assert one.row.tokens == [*PROMPT, token]


def test_an_end_token_ends_the_reply_and_is_no_text():
    one = reply()

    delta = one.add(TOKENIZER.eos_token_id)

    assert (delta.text, delta.tokens, delta.finish_reason) == ("", 1, "stop")
    assert one.row.tokens == PROMPT


def test_forced_tokens_come_with_the_start_and_with_the_token_before_them():
    one = reply(schema=SCHEMA)

    begun = one.begin()
    assert begun is not None
    assert begun.text == '{"flag":'
    ended = one.add(TOKENIZER.encode("true")[0])

    assert (ended.text, ended.finish_reason) == ('true,"count":12}', "stop")
    assert written(one) == '{"flag":true,"count":12}'
    assert begun.tokens + ended.tokens == len(one.row.tokens) - len(PROMPT)


def test_forced_tokens_are_cut_at_the_limit_like_any_other():
    one = reply(schema=SCHEMA, max_tokens=2)

    delta = one.begin()

    assert delta is not None
    assert (delta.tokens, delta.finish_reason) == (2, "length")
    assert '{"flag":'.startswith(delta.text)


def test_a_record_that_is_whole_at_the_very_limit_is_whole():
    whole = reply(schema=SCHEMA)
    whole.begin()
    whole.add(TOKENIZER.encode("true")[0])
    needed = len(whole.row.tokens) - len(PROMPT)

    enough, short = (
        reply(schema=SCHEMA, max_tokens=needed),
        reply(schema=SCHEMA, max_tokens=needed - 1),
    )
    for one in (enough, short):
        one.begin()
    (token,) = TOKENIZER.encode("true")

    assert enough.add(token).finish_reason == "stop"
    assert short.add(token).finish_reason == "length"


def test_what_was_held_back_for_a_stop_string_is_told_at_the_end():
    one = reply(stop=("true love",), max_tokens=2)
    (token,) = TOKENIZER.encode("true")

    assert one.add(token).text == ""
    last = one.add(token)

    assert (last.text, last.finish_reason) == ("truetrue", "length")


def test_a_reply_without_a_grammar_begins_with_nothing():
    assert reply().begin() is None


def test_a_guided_reply_that_only_repeats_itself_is_led_out():
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    one = reply(max_tokens=1000, schema={**number, "additionalProperties": False})
    one.begin()
    (one_digit,), (zero,) = TOKENIZER.encode("1"), TOKENIZER.encode("0")
    masks = Masks(len(TOKENIZER))
    one.add(one_digit)
    asked = 0
    while one.guide is not None and one.way_out(masks.forbidden([one.guide])[0]) is None:
        assert (asked := asked + 1) < 500
        one.add(zero)

    token = one.way_out(masks.forbidden([one.guide])[0])

    assert token is not None
    assert one.add(token).finish_reason == "stop"
    assert written(one) == '{"n":1' + "0" * asked + "}"
