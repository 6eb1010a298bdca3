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

from conduit_nb.errors import RequestRefusedError, ServerFailedError
from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Guide, Masks
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Sequence
from conduit_nb.schemas import schema_of
from conduit_nb.schemas.reader import JsonReader
from conduit_nb.testing.tiny_models import VOCAB_SIZE, make_tiny_tokenizer
from tests.schemas.strategies import DATACLASSES, Typed

TOKENIZER = make_tiny_tokenizer()
VOCABULARY = from_tokenizer(TOKENIZER, n_vocab=VOCAB_SIZE)
GRAMMARS = Grammars(VOCABULARY)
MASKS = Masks(VOCAB_SIZE)
MAX_TOKENS = 200

FLAG: dict[str, Any] = {
    "type": "object",
    "properties": {"flag": {"type": "boolean"}, "count": {"const": 12}},
    "required": ["flag", "count"],
    "additionalProperties": False,
}


ZOD_EMAIL = (
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]"
    r"@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tiny_tokenizer()


@pytest.fixture(scope="module")
def grammars(tokenizer: Any) -> Grammars:
    return Grammars(from_tokenizer(tokenizer, n_vocab=VOCAB_SIZE))


def allowed(guide: Guide) -> set[int]:
    (row,) = Masks(VOCAB_SIZE).forbidden([guide])
    assert len(row) == VOCAB_SIZE
    return {token for token in range(VOCAB_SIZE) if not row[token]}


def test_forced_tokens_are_taken_up_to_where_there_is_a_choice(grammars: Grammars, tokenizer: Any):
    guide = grammars.guide(FLAG)

    assert tokenizer.decode(guide.forced()) == '{"flag":'
    assert guide.forced() == []
    assert not guide.is_complete
    (token,) = tokenizer.encode("true")
    guide.accept(token)
    assert tokenizer.decode(guide.forced()) == ',"count":12}'
    assert guide.is_complete
    assert guide.forced() == []


def test_the_mask_allows_what_the_schema_does_and_nothing_else(grammars: Grammars, tokenizer: Any):
    guide = grammars.guide(FLAG)
    guide.forced()

    texts = {tokenizer.decode([token]) for token in allowed(guide)}

    assert texts == {"t", "f", *(text for text in texts if text in ("tr", "tru", "true", "fal"))}
    assert "true" in texts


def test_masks_of_several_replies_stand_in_their_rows(grammars: Grammars):
    first, second = grammars.guide(FLAG), grammars.guide({"type": "boolean"})
    both = Masks(VOCAB_SIZE).forbidden([first, second])

    assert {token for token in range(VOCAB_SIZE) if not both[0][token]} == allowed(first)
    assert {token for token in range(VOCAB_SIZE) if not both[1][token]} == allowed(second)
    assert allowed(first) != allowed(second)


def test_guides_of_one_schema_do_not_share_their_place(grammars: Grammars):
    first, second = grammars.guide(FLAG), grammars.guide(json.loads(json.dumps(FLAG)))
    first.forced()

    assert second.forced() == grammars.guide(FLAG).forced()


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "'not'"),
        ({"if": {"type": "string"}, "then": {"minLength": 1}}, "'if'"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
        ({"type": "shape"}, "shape"),
        ({"$ref": "#/nowhere"}, "/nowhere"),
    ],
)
def test_a_schema_that_cannot_be_served_is_refused_by_its_keyword(
    grammars: Grammars, schema: dict[str, Any], keyword: str
):
    with pytest.raises(RequestRefusedError, match=keyword):
        grammars.guide(schema)


def test_a_guide_that_took_a_wrong_token_says_so_ever_after(grammars: Grammars, tokenizer: Any):
    guide = grammars.guide(FLAG)
    (wrong,) = tokenizer.encode("q")

    with pytest.raises(ServerFailedError) as caught:
        guide.accept(wrong)
    assert caught.value.reason == "grammar"
    Masks(VOCAB_SIZE).forbidden([grammars.guide(FLAG), guide])
    with pytest.raises(ServerFailedError):
        guide.check()


@pytest.mark.parametrize(
    ("schema", "fitting", "others"),
    [
        (
            {"type": "string", "format": "date-time"},
            ["2024-02-29T10:00:59Z", "0001-01-01T00:00:00.5+01:00"],
            ["2024-02-29T10:00:60Z", "0000-01-01T00:00:00Z", "2023-02-29T10:00:00Z"],
        ),
        ({"type": "string", "format": "date"}, ["2024-02-29"], ["0000-01-01", "2023-02-29"]),
        ({"type": "string", "format": "time"}, ["10:00:59Z"], ["10:00:60Z"]),
        (
            {"type": "string", "format": "email", "pattern": ZOD_EMAIL},
            ["ann.b+c@example.com", "o'neil@a-b.co"],
            [".ann@example.com", "a..b@example.com", "ann@example"],
        ),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [0, 2**62], [2**63]),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.7e308}, [0.5, 9.0e5], [0, -1]),
        (
            {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True},
            [[], ["c", "a", "b"]],
            [["a", "a"], ["d"]],
        ),
        (
            {"type": "object", "propertyNames": {"minLength": 1, "maxLength": 3}},
            [{}, {"a": 1, "a\nb": 2}],
            [{"": 1}, {"abcd": 1}],
        ),
        ({"properties": {"a": {"type": "null"}}, "required": ["a"]}, [{"a": None}], [1, True]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_foreign_schema_allows_what_its_clients_read(
    grammars: Grammars, tokenizer: Any, schema: dict[str, Any], fitting: Any, others: Any
):
    def fits(value: object) -> bool:
        text = json.dumps(value, separators=(",", ":"))
        return grammars.guide(schema).can_end_with(tokenizer.encode(text))

    assert [value for value in fitting if not fits(value)] == []
    assert [value for value in others if fits(value)] == []


def test_a_set_of_any_texts_is_refused_with_a_way_out(grammars: Grammars):
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}

    with pytest.raises(RequestRefusedError, match=r"'uniqueItems'.*\benum\b") as refused:
        grammars.guide(schema)

    assert "uniqueItems" in refused.value.hint


def properties(count: int) -> dict[str, Any]:
    return {f"field_{index}": {"type": "string"} for index in range(count)}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": properties(700)},
        {"type": "array", "items": {"type": "object", "properties": properties(700)}},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        nested(62),
        nested(95),
        {"type": "string", "pattern": "^(([a-z]{1,200}){1,200}){1,200}$"},
        {"enum": [f"value {index}" for index in range(150_000)]},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_schema_beyond_the_engines_limits_is_refused_in_one_sentence(
    grammars: Grammars, schema: dict[str, Any]
):
    with pytest.raises(RequestRefusedError) as refused:
        grammars.guide(schema)

    message = str(refused.value)
    assert len(message) < 400
    assert "<" not in message
    assert "\n" not in message
    assert refused.value.hint
    assert not refused.value.retryable


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": properties(500)},
        {"type": "object", "properties": properties(300), "required": list(properties(300))},
        nested(58),
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
        {"enum": [f"value {index}" for index in range(10_000)]},
        {"type": "string", "pattern": "^[a-z]{1,50000}$"},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_large_schema_within_the_limits_can_be_followed_everywhere(
    grammars: Grammars, schema: dict[str, Any]
):
    for seed in range(3):
        guide, draws = grammars.guide(schema), random.Random(seed)
        for _ in range(30):
            if guide.is_complete:
                break
            guide.accept(draws.choice(sorted(allowed(guide))))
            guide.check()


def written(json_schema: Any, seed: int, max_tokens: int) -> tuple[str, int, str]:
    """Return text, tokens and end of a reply drawn from what the grammar allows."""
    chance = random.Random(seed)
    ends = frozenset({TOKENIZER.eos_token_id})
    guide = GRAMMARS.guide(json_schema)
    reply = Reply(
        sequence=Sequence(number=0, tokens=[5]),
        max_tokens=max_tokens,
        sampling=SamplingParams(),
        guide=guide,
        detokenizer=Detokenizer(lambda tokens: TOKENIZER.decode(tokens, skip_special_tokens=True)),
        end_tokens=ends,
        repetition_guard=RepetitionGuard(TOKENIZER.backend_tokenizer.token_to_id),
    )
    deltas = [delta for delta in [reply.begin()] if delta]
    while not deltas or deltas[-1].finish_reason is None:
        (forbidden,) = MASKS.forbidden([guide])
        allowed = [token for token in range(VOCAB_SIZE) if not forbidden[token]]
        deltas.append(reply.add(SampledToken(token=chance.choice(allowed))))
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
    needed = GRAMMARS.guide(json_schema).min_tokens
    assume(needed <= MAX_TOKENS)
    text, tokens, reason = written(json_schema, seed, MAX_TOKENS)
    reader = JsonReader()
    reader.feed(text)
    validator = Draft202012Validator(json_schema)
    # Readers count a key that stands there twice once, grammars do not.
    assume(not reader.repeats or validator.is_valid(json.loads(text)))

    for budget in {needed, needed + 1, *range(needed, tokens, 7), tokens - 1, MAX_TOKENS}:
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

    assert guide.closer.admits(tokens, MAX_TOKENS)
    end = guide.closer.closing()

    whole = VOCABULARY.decode_bytes([*tokens, *end]).decode()
    assert json.loads(whole) == {"table": {"a": 2, "b": 0}}
    assert schema.close(whole) == Counts({"a": 1, "b": 0})
