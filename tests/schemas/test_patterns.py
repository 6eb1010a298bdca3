"""The regular expressions that mean the same everywhere."""

from __future__ import annotations

import json
import re
from dataclasses import make_dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conduit_nb.errors import SchemaError, ValidationError
from conduit_nb.schemas import Pattern, Schema, schema_of
from conduit_nb.schemas.patterns import common_regex


@pytest.mark.parametrize(
    ("regex", "common"),
    [
        ("abc", "abc"),
        ("^abc$", "abc"),
        (r"a\$", r"a\$"),
        (r"\d{4}-\d\d", "[0-9]{4}-[0-9][0-9]"),
        (r"\w+\s\S", r"[A-Za-z0-9_]+[ \t\n\r\f\v][^ \t\n\r\f\v]"),
        (r"\D\W", "[^0-9][^A-Za-z0-9_]"),
        (".", r"[^\n]"),
        ("(a|b)c", "(?:a|b)c"),
        ("(?:a|b)*", "(?:a|b)*"),
        ("a|b|", "a|b|"),
        ("a{2}b{2,}c{2,3}", "a{2}b{2,}c{2,3}"),
        (r"[\d._-]", r"[0-9._\-]"),
        (r"[^\w]", "[^A-Za-z0-9_]"),
        ("[a-]", r"[a\-]"),
        ("[-a]", r"[\-a]"),
        (r"[\]\\^]", r"[\]\\\^]"),
        ("[&&~]", r"[\x26\x26\x7e]"),
        (r"\.\-\/\x41\u00e9", r"\.-/Aé"),
        (r"\n\t", r"\n\t"),
        ("}", r"\}"),
        ("]", r"\]"),
        ("", ""),
    ],
)
def test_a_pattern_is_written_so_that_all_read_it_alike(regex: str, common: str):
    assert common_regex(regex) == common


@pytest.mark.parametrize(
    ("regex", "construct"),
    [
        ("(?=a)", "(?="),
        ("(?!a)", "(?!"),
        ("(?<=a)", "(?<="),
        ("(?<!a)", "(?<!"),
        ("(?P<n>a)", "(?P<"),
        ("(?<n>a)", "(?<"),
        ("(?P=n)", "(?P="),
        ("(?i)a", "(?i"),
        ("(?#no)a", "(?#"),
        ("(?>a)", "(?>"),
        (r"(a)\1", "\\1"),
        (r"\bword", r"\b"),
        (r"\Aa", r"\A"),
        (r"a\Z", r"\Z"),
        (r"\p{L}", r"\p"),
        (r"\q", r"\q"),
        (r"\xZZ", r"\x"),
        (r"\ud800", r"\ud800"),
        ("a^b", "^"),
        ("a$b", "$"),
        ("^a|b$", "|"),
        ("a*?", "*?"),
        ("a++", "++"),
        ("a**", "**"),
        ("a{2}{3}", "{2}{"),
        ("*a", "*"),
        ("a|+", "+"),
        ("a{,3}", "{"),
        ("a{x}", "{"),
        ("a{3,2}", "{3,2}"),
        ("a{1,5000}", "{1,5000}"),
        ("(a", "("),
        ("a)", ")"),
        ("[a", "["),
        ("[]a]", "[]"),
        ("[[:alpha:]]", "["),
        ("[z-a]", "z-a"),
        (r"[\D]", r"\D"),
        (r"[\d-z]", r"\d-"),
        (r"[a-\d]", r"-\d"),
        ("a\\", "\\"),
    ],
)
def test_what_means_something_else_somewhere_is_refused_by_name(regex: str, construct: str):
    with pytest.raises(SchemaError) as caught:
        common_regex(regex, path="$.f")

    assert caught.value.path == "$.f"
    message = str(caught.value).removeprefix("$.f: ")
    assert repr(regex) in message
    assert construct in message.replace(repr(regex), "")
    assert caught.value.hint


def test_a_pattern_that_no_engine_holds_is_refused_when_the_schema_is_made():
    regex = "(?:(?:[a-zé]{1000}){1000}){1000}"
    holder = make_dataclass("Holder", [("f", Annotated[str, Pattern(regex)])])

    with pytest.raises(SchemaError, match=re.escape(repr(regex))) as caught:
        schema_of(holder)

    assert caught.value.path == "$.f"
    assert "Length" in caught.value.hint


ALPHABET = 'ab1 _-.\n\r\t"\\&~/[](){}|^$é😀\u2028'
ATOMS = st.sampled_from(
    [
        "a",
        "b",
        r"\d",
        r"\w",
        r"\s",
        r"\S",
        ".",
        "[^a]",
        "[ab&~-]",
        r"\.",
        r"\n",
        '"',
        r"\\",
        "é",
        "/",
    ]
)
REGEXES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}"])),
    ),
    max_leaves=6,
)


@given(REGEXES, st.text(ALPHABET, max_size=5))
def test_validator_json_schema_and_grammar_agree_on_every_text(regex: str, text: str):
    grammar = pytest.importorskip("tests.schemas.grammar")
    schema = schema_of(make_dataclass("Holder", [("f", Annotated[str, Pattern(regex)])]))
    fits = re.fullmatch(regex, text, re.ASCII) is not None
    compact = json.dumps({"f": text}, ensure_ascii=False, separators=(",", ":"))

    assert decodes(schema, compact) == fits
    assert grammar.is_accepted(schema.json_schema, compact) == fits
    if not text.endswith("\n"):  # Python's $ also stands before a last line break
        assert Draft202012Validator(schema.json_schema).is_valid({"f": text}) == fits


def decodes(schema: Schema[object], text: str) -> bool:
    try:
        schema.decode(text)
    except ValidationError:
        return False
    return True
