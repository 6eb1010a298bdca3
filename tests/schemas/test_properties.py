"""Random dataclasses: what holds for all of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conduit_nb.errors import Problem, ValidationError
from conduit_nb.schemas import Schema, schema_of
from tests.schemas.strategies import DATACLASSES, Typed

OUT_OF_RANGE = re.compile(
    r"\bfloat\b.*\b(float -?inf|int\b.* \d{2,} digits)\b|\bfloat [-<>=.\d]+.*\bfloat \S+$"
)
DICT_OF_A_LENGTH = re.compile(r"\bobject\b[^\"]*\d[^\"]* keys?\b")


def is_listed_difference(problem: Problem) -> bool:
    """Whether the docstring of conduit_nb.schemas.json_schema names this one."""
    match problem.kind:
        case "duplicate_key":
            return True
        case "not_json":
            return "number out of range" in problem.message  # as the parser says it
        case "mismatch":
            return OUT_OF_RANGE.search(problem.message) is not None
        case _:
            return False


@given(DATACLASSES, st.data())
def test_decode_gives_back_what_encode_wrote(kind: Typed, data: st.DataObject):
    schema = schema_of(kind.hint)
    record = data.draw(kind.values)

    text = schema.encode(record)

    note(text)
    assert schema.decode(text) == record
    schema.validate(schema.decode(text))
    assert schema.encode(schema.decode(text)) == text


@given(DATACLASSES, st.data())
def test_encoded_records_pass_an_independent_json_schema_validator(
    kind: Typed, data: st.DataObject
):
    schema = schema_of(kind.hint)
    Draft202012Validator.check_schema(schema.json_schema)

    value = json.loads(schema.encode(data.draw(kind.values)))

    assert list(Draft202012Validator(schema.json_schema).iter_errors(value)) == []


@given(DATACLASSES, st.data())
def test_encoded_records_pass_the_grammar(kind: Typed, data: st.DataObject):
    grammar = pytest.importorskip("tests.schemas.grammar")
    schema = schema_of(kind.hint)
    text = schema.encode(data.draw(kind.values))

    note(schema.mdl)
    note(text)
    assert grammar.is_accepted(schema.json_schema, text)


@given(DATACLASSES, st.integers(0, 2**32))
def test_decode_accepts_every_text_of_the_grammar_but_the_listed_differences(
    kind: Typed, seed: int
):
    grammar = pytest.importorskip("tests.schemas.grammar")
    schema = schema_of(kind.hint)
    text = grammar.sampled(schema.json_schema, seed)
    assume(text is not None)
    assert text is not None

    note(schema.mdl)
    note(text)
    problems = problems_of(schema, text)
    if not problems:
        record = schema.decode(text)
        schema.validate(record)
        assert schema.decode(schema.encode(record)) == record
    if any(one.kind == "duplicate_key" for one in problems):  # which may leave too few of them
        problems = [one for one in problems if not DICT_OF_A_LENGTH.search(one.message)]
    assert all(map(is_listed_difference, problems)), problems


def problems_of(schema: Schema[Any], text: str) -> list[Problem]:
    try:
        schema.decode(text)
    except ValidationError as error:
        return list(error.problems)
    return []
