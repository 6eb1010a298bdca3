from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

pytest.importorskip("llguidance")
pytest.importorskip("torch")

from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Masks
from conduit_nb.lmlite.logprobs import Chosen
from conduit_nb.lmlite.loops import LoopGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.lmlite.scheduler import Row
from conduit_nb.schemas import schema_of
from conduit_nb.schemas.reader import JsonReader
from conduit_nb.testing.tiny_models import VOCAB_SIZE, make_tiny_tokenizer
from tests.schemas.strategies import DATACLASSES, Typed

TOKENIZER = make_tiny_tokenizer()
VOCABULARY = from_tokenizer(TOKENIZER, n_vocab=VOCAB_SIZE)
GRAMMARS = Grammars(VOCABULARY)
MASKS = Masks(VOCAB_SIZE)
LONGEST = 200


def written(json_schema: Any, seed: int, max_tokens: int) -> tuple[str, int, str]:
    """Return text, tokens and end of a reply drawn from what the grammar allows."""
    chance = random.Random(seed)
    ends = frozenset({TOKENIZER.eos_token_id})
    guide = GRAMMARS.guide(json_schema)
    reply = Reply(
        row=Row(number=0, tokens=[5]),
        max_tokens=max_tokens,
        sampling=SamplingParams(),
        guide=guide,
        detokenizer=Detokenizer(lambda tokens: TOKENIZER.decode(tokens, skip_special_tokens=True)),
        end_tokens=ends,
        loop_guard=LoopGuard(TOKENIZER.backend_tokenizer.token_to_id),
    )
    deltas = [delta for delta in [reply.begin()] if delta]
    while not deltas or deltas[-1].finish_reason is None:
        (forbidden,) = MASKS.forbidden([guide])
        allowed = [token for token in range(VOCAB_SIZE) if not forbidden[token]]
        deltas.append(reply.add(Chosen(token=chance.choice(allowed))))
    reason = deltas[-1].finish_reason
    assert reason is not None
    return (
        "".join(delta.text for delta in deltas),
        sum(delta.tokens for delta in deltas),
        reason,
    )


@settings(max_examples=30)
@given(DATACLASSES, st.integers(0, 2**32))
def test_a_reply_is_a_record_whatever_its_budget(kind: Typed, seed: int):
    schema = schema_of(kind.hint)
    json_schema = schema.json_schema
    note(schema.mdl)
    needed = GRAMMARS.guide(json_schema).least_tokens
    assume(needed <= LONGEST)
    text, tokens, reason = written(json_schema, seed, LONGEST)
    reader = JsonReader()
    reader.feed(text)
    validator = Draft202012Validator(json_schema)
    # Readers count a key that stands there twice once, grammars do not.
    assume(not reader.repeats or validator.is_valid(json.loads(text)))

    for budget in {needed, needed + 1, *range(needed, tokens, 7), tokens - 1, LONGEST}:
        if not needed <= budget < tokens:
            continue
        cut, cut_tokens, cut_reason = written(json_schema, seed, budget)
        note(f"{budget} {cut}")
        assert reader.repeats or list(validator.iter_errors(json.loads(cut))) == []
        json.loads(cut)
        assert cut_tokens <= budget
        assert cut_reason == "length"
    if reason == "stop":
        # The tokens of a way to close it may be more than those of this reply's own odd end.
        assert written(json_schema, seed, tokens + needed) == (text, tokens, reason)


def test_a_reply_in_which_a_key_stands_twice_is_closed_too():
    @dataclass
    class Counts:
        table: dict[str, int]

    schema = schema_of(Counts)
    guide = GRAMMARS.guide(schema.json_schema)
    assert guide.closer is not None
    tokens = VOCABULARY.tokenize_str('{"table":{"a":1,"a":2,"b":')

    assert guide.closer.admits(tokens, LONGEST)
    end = guide.closer.closing()

    whole = VOCABULARY.decode_bytes([*tokens, *end]).decode()
    assert json.loads(whole) == {"table": {"a": 2, "b": 0}}
    assert schema.close(whole) == Counts({"a": 1, "b": 0})
