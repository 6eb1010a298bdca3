"""lmlite/tool_calls.py: calls are written by the rules, read in any pieces, and ended in time."""

from __future__ import annotations

import json
import random
from collections import abc
from typing import Any

import jsonschema
import pytest

pytest.importorskip("llguidance")
pytest.importorskip("torch")

from llguidance.hf import from_tokenizer

from conduit_nb.errors import ReplyBudgetError, RequestRefusedError
from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Guide, Masks
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Sequence
from conduit_nb.lmlite.tool_calls import (
    BARE,
    TAGGED,
    ArgumentsPart,
    CallBegin,
    CallFormat,
    CallGrammar,
    CallPart,
    CallReader,
    TextPart,
)
from conduit_nb.testing.tiny_models import VOCAB_SIZE, make_tiny_tokenizer

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
}
STEPS: dict[str, Any] = {
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
}
FUNCTIONS = (("weather", WEATHER), ("steps", STEPS))
TOKENIZER = make_tiny_tokenizer()
VOCABULARY = from_tokenizer(TOKENIZER, n_vocab=VOCAB_SIZE)
GRAMMARS = Grammars(VOCABULARY)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city":"}\\"{","unit":"c"}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "steps", "arguments": {"count":12}}\n</tool_call>'
BARE_CALL = '{"name": "weather", "parameters": {"city":"x","unit":"f"}}'
BARE_OTHER = '{"name": "steps", "parameters": {"count":12}}'


def grammar(**more: Any) -> CallGrammar:
    options: dict[str, Any] = {
        "format": TAGGED,
        "functions": FUNCTIONS,
        "is_required": False,
        "max_calls": 16,
    }
    return CallGrammar(**{**options, **more})


def required(form: CallFormat = TAGGED, **more: Any) -> CallGrammar:
    return grammar(format=form, is_required=True, prefix=form.begin, **more)


def takes(grammar: CallGrammar, text: str) -> tuple[bool, bool]:
    """Return whether a reply may begin with a text, and whether it may end there."""
    guide = GRAMMARS.guide(grammar)
    tokens = VOCABULARY.tokenize_str(text)
    taken = guide.matcher.try_consume_tokens(tokens)
    return taken == len(tokens), guide.matcher.is_accepting()


def read(reader: CallReader, pieces: abc.Sequence[str]) -> list[CallPart]:
    """Return what was read, neighbouring pieces joined."""
    parts = [*reader.opening()]
    for piece in pieces:
        parts += reader.feed(piece)
    parts += reader.end()
    joined: list[CallPart] = []
    for part in parts:
        match joined[-1] if joined else None, part:
            case TextPart(text=before), TextPart(text=text):
                joined[-1] = TextPart(text=before + text)
            case ArgumentsPart(index=index, text=before), ArgumentsPart(text=text):
                joined[-1] = ArgumentsPart(index=index, text=before + text)
            case _:
                joined.append(part)
    return joined


def split(text: str, seed: int) -> list[str]:
    draws = random.Random(seed)
    cuts = sorted(draws.choices(range(len(text) + 1), k=draws.randint(0, 12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


# What may be written


@pytest.mark.parametrize(
    ("grammar", "text", "expected"),
    [
        (grammar(), "", (True, True)),
        (grammar(), "Hello, a < b <tool_ {", (True, True)),
        (grammar(), "<tool_call>", (True, False)),
        (grammar(), CALL, (True, True)),
        (grammar(), f"Let me see.\n{CALL}", (True, True)),
        (grammar(), f"{CALL}\n{OTHER}", (True, True)),
        (grammar(), f"{CALL} and", (False, True)),
        (grammar(), '<tool_call>\n{"name": "bake', (False, False)),
        (grammar(max_calls=1), f"{CALL}\n", (False, True)),
        (grammar(functions=FUNCTIONS[:1]), OTHER, (False, False)),
        (required(), "", (True, False)),
        (required(), "Hello", (False, False)),
        (required(), CALL.removeprefix(TAGGED.begin), (True, True)),
        (required(), f"{CALL}\n{OTHER}".removeprefix(TAGGED.begin), (True, True)),
        (grammar(record=STEPS), '{"count":3}', (True, True)),
        (grammar(record=STEPS), OTHER, (True, True)),
        (grammar(record=STEPS), "Hello", (False, False)),
        (grammar(format=BARE), "Hello", (True, True)),
        (grammar(format=BARE), '{"names": 1}', (True, True)),
        (grammar(format=BARE), BARE_CALL, (True, True)),
        (grammar(format=BARE), '{"name": "bake', (False, False)),
        (grammar(format=BARE), f"{BARE_CALL}; {BARE_OTHER}", (True, True)),
        (required(BARE), BARE_CALL.removeprefix(BARE.begin), (True, True)),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_a_reply_is_text_or_calls_of_what_is_offered(
    grammar: CallGrammar, text: str, expected: tuple[bool, bool]
):
    assert takes(grammar, text) == expected


def test_a_schema_that_cannot_be_served_names_its_function():
    bad = (("bake", {"type": "object", "properties": {"a": {"not": {}}}}),)

    with pytest.raises(RequestRefusedError, match=r"\bbake: .*'not'") as caught:
        GRAMMARS.guide(grammar(functions=bad))

    assert caught.value.param == "tools"


# Reading


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello <b> \n", [TextPart(text="Hello <b> \n")]),
        ("", []),
        ("a <tool_cal", [TextPart(text="a <tool_cal")]),
        (
            f"Let me see.\n\n{CALL}",
            [
                TextPart(text="Let me see."),
                CallBegin(index=0, name="weather"),
                ArgumentsPart(index=0, text='{"city":"}\\"{","unit":"c"}'),
            ],
        ),
        (
            f"{CALL}\n{OTHER}",
            [
                CallBegin(index=0, name="weather"),
                ArgumentsPart(index=0, text='{"city":"}\\"{","unit":"c"}'),
                CallBegin(index=1, name="steps"),
                ArgumentsPart(index=1, text='{"count":12}'),
            ],
        ),
        ('<tool_call>\n{"name": "wea', []),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else None,
)
def test_a_reply_is_read_alike_in_whatever_pieces_it_comes(
    text: str, expected: list[CallPart], seed: int
):
    assert read(CallReader(TAGGED), split(text, seed)) == expected


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("text", "count"),
    [("Hi there {", 0), ('{"nam', 0), (BARE_CALL, 1), (f"{BARE_CALL}; {BARE_OTHER}", 2)],
)
def test_a_bare_call_is_one_only_at_the_beginning(text: str, count: int, seed: int):
    parts = read(CallReader(BARE), split(text, seed))

    assert sum(isinstance(part, CallBegin) for part in parts) == count
    if not count:
        assert parts == [TextPart(text=text)]


def test_what_stands_in_the_prompt_is_part_of_the_first_call():
    reader = CallReader(TAGGED, prefix=TAGGED.head("steps"))

    assert read(reader, ['{"count"', ":1}"]) == [
        CallBegin(index=0, name="steps"),
        ArgumentsPart(index=0, text='{"count":1}'),
    ]


def test_a_record_may_spell_what_begins_a_call():
    reader = CallReader(TAGGED, is_anywhere=False)
    text = '{"a":"<tool_call>"}'

    assert read(reader, [text]) == [TextPart(text=text)]


# Ending in time


def reply(grammar: CallGrammar, max_tokens: int, **sampling: Any) -> Reply:
    guide: Guide = GRAMMARS.guide(grammar)
    guide.check_budget(max_tokens)
    return Reply(
        sequence=Sequence(number=0, tokens=[1]),
        max_tokens=max_tokens,
        sampling=SamplingParams(**sampling),
        guide=guide,
        detokenizer=Detokenizer(TOKENIZER.decode),
        end_tokens=frozenset({TOKENIZER.eos_token_id}),
        repetition_guard=RepetitionGuard(TOKENIZER.backend_tokenizer.token_to_id),
    )


def write(one: Reply, begin: str, seed: int) -> tuple[str, list[GenerationDelta]]:
    """Write `begin`, then anything that is allowed; return the text and its deltas."""
    draws, masks = random.Random(seed), Masks(VOCAB_SIZE)
    start = one.begin()
    deltas = [start] if start else []
    while not deltas or deltas[-1].finish_reason is None:
        text = TOKENIZER.decode(one.written)
        assert one.guide
        (row,) = masks.forbidden([one.guide])
        allowed = [token for token in range(VOCAB_SIZE) if not row[token]]
        rest = begin[len(text) :] if begin.startswith(text) else ""
        forced = VOCABULARY.tokenize_str(rest) if rest else []
        token = forced[0] if forced else draws.choice(allowed)
        deltas.append(one.add(SampledToken(token=token)))
    return "".join(delta.text for delta in deltas), deltas


@pytest.mark.parametrize("max_tokens", [60, 75, 90, 120])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("grammar", "begin"),
    [
        (required(), ""),
        (required(max_calls=1), 'weather", "arguments": {"city":"Zw'),
        (grammar(), '<tool_call>\n{"name": "weather", "arguments": {"city":"a'),
        (grammar(), 'Well. <tool_call>\n{"name": "steps", "arguments": {"count":1'),
        (grammar(format=BARE), '{"name": "weather", "parameters": {"city":"a'),
        (grammar(record=WEATHER), '{"city":"a'),
        (grammar(record=STEPS), '<tool_call>\n{"name": "steps", "argum'),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_calls_fit_their_schemas_whatever_the_budget(
    grammar: CallGrammar, begin: str, seed: int, max_tokens: int
):
    text, deltas = write(reply(grammar, max_tokens), begin, seed)

    reader = CallReader(grammar.format, is_anywhere=grammar.is_anywhere, prefix=grammar.prefix)
    parts = read(reader, [text])
    schemas = dict(grammar.functions)
    name = ""
    for part in parts:
        match part:
            case CallBegin():
                name = part.name
            case ArgumentsPart():
                jsonschema.validate(json.loads(part.text), schemas[name])
            case TextPart() if grammar.record is not None:
                jsonschema.validate(json.loads(part.text), grammar.record)
            case _:
                pass
    assert sum(delta.tokens for delta in deltas) <= max_tokens
    assert name or grammar.record or not grammar.is_required
    assert deltas[-1].finish_reason in ("stop", "length")


def test_a_call_that_could_not_be_ended_is_not_begun():
    text, deltas = write(reply(grammar(), 24), "Hi <tool_call>", seed=1)

    assert text == "Hi <tool_call"
    assert reader_calls(text) == 0
    assert deltas[-1].finish_reason == "length"


def test_a_budget_below_the_shortest_call_is_refused():
    with pytest.raises(ReplyBudgetError):
        reply(required(), 5)


def reader_calls(text: str) -> int:
    reader = CallReader(TAGGED)
    list(reader.feed(text))
    return reader.calls


def test_a_stop_string_ends_text_and_no_call():
    begin = 'Hi\n<tool_call>\n{"name": "steps", "arguments": {"count":1'
    text, _ = write(reply(grammar(), 200, stop=("arguments",)), begin, seed=2)
    stopped, deltas = write(reply(grammar(), 200, stop=("arguments",)), "my arguments are", seed=2)

    assert reader_calls(text) >= 1
    assert stopped == "my "
    assert deltas[-1].finish_reason == "stop"
