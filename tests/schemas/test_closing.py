from __future__ import annotations

import json

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conduit_nb.schemas import schema_of
from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.reader import JsonReader
from tests.schemas.strategies import DATACLASSES, Typed
from tests.schemas.test_properties import LISTED_DIFFERENCES, problems_of


def closed(completer: Completer, written: bytes) -> bytes | None:
    """Return `written`, which may end in the middle of a character, with its end."""
    whole = written.decode(errors="ignore").encode()
    reader = JsonReader()
    reader.feed(whole.decode())
    closing = completer.closing_of(reader, written[len(whole) :])
    if closing is None:
        return None
    assert len(closing) <= completer.most_bytes(reader)
    return written + closing


@given(DATACLASSES, st.integers(0, 2**32))
def test_a_text_of_the_grammar_cut_anywhere_is_closed_to_a_record_of_it(kind: Typed, seed: int):
    grammar = pytest.importorskip("tests.schemas.grammar")
    schema = schema_of(kind.hint)
    json_schema = schema.json_schema
    completer = Completer(json_schema)
    text = grammar.sampled(json_schema, seed)
    assume(text is not None)
    written = text.encode()
    assume(written and not problems_of(schema, text))
    validator = Draft202012Validator(json_schema)
    matcher = grammar.matcher(json_schema)

    note(schema.mdl)
    note(text)
    for cut in range(len(written) + 1):
        whole = closed(completer, written[:cut])
        note(f"{written[:cut]} {whole}")
        assert whole is not None
        rest = list(whole[cut:])
        checked = matcher.deep_copy()
        assert checked.try_consume_tokens(rest) == len(rest)
        assert checked.is_accepting()
        assert list(validator.iter_errors(json.loads(whole))) == []
        problems = problems_of(schema, whole.decode())
        assert all(LISTED_DIFFERENCES.fullmatch(problem) for problem in problems), problems
        if cut < len(written):
            assert matcher.consume_token(written[cut])


@given(DATACLASSES)
def test_the_shortest_record_is_one(kind: Typed):
    schema = schema_of(kind.hint)

    shortest = Completer(schema.json_schema).shortest

    schema.decode(shortest)
    Draft202012Validator(schema.json_schema).validate(json.loads(shortest))
