from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.reader import (
    Array,
    JsonReader,
    Object,
    Part,
    Text,
    Word,
    with_renamed_repeats,
    without_repeats,
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
INFINITE = {"Infinity", "-Infinity"}


def read(*pieces: str) -> JsonReader:
    reader = JsonReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def value_of(part: Part | None) -> Any:
    match part:
        case Text():
            return part.text
        case Word(raw=raw):
            return json.loads(raw)
        case Array(items=items):
            return [value_of(item) for item in items]
        case Object(entries=entries):
            return {key: value_of(value) for key, value in entries.items()}
        case None:
            raise AssertionError("nothing was read")


@given(VALUES, st.booleans(), st.sampled_from([None, 2]), st.integers(1, 5))
def test_what_was_read_is_what_json_says_in_whatever_pieces(
    value: Any, ascii_only: bool, indent: int | None, size: int
):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, allow_nan=True) + "\n"
    if any(word in text for word in INFINITE):
        return

    reader = read(*(text[at : at + size] for at in range(0, len(text), size)))

    assert reader.is_whole
    assert value_of(reader.root) == json.loads(text)


def test_values_know_where_they_stand_in_the_text():
    text = '{"a": [12, "b\\n"], "c": true}'
    reader = read(text[:7], text[7:13], text[13:])

    assert isinstance(reader.root, Object)
    found = {key: text[part.start : part.end] for key, part in reader.root.entries.items()}
    assert found == {"a": '[12, "b\\n"]', "c": "true"}
    assert isinstance(items := reader.root.entries["a"], Array)
    assert [text[item.start : item.end] for item in items.items] == ["12", '"b\\n"']


@pytest.mark.parametrize(
    "text",
    [
        "}",
        "[1}",
        '{"a" 1',
        '{"a":1,}',
        "[1,]",
        "[01]",
        "[1.]",
        "[tru]",
        '["\\x"]',
        '["\\ud83d."]',
        '["\\ude00"]',
        '["\n"]',
        "[+1]",
        "[] []",
        "{1:2}",
    ],
)
def test_a_text_that_is_no_json_is_broken(text: str):
    assert read(text).is_broken
    assert not read(text).is_whole


@pytest.mark.parametrize("text", ["", "[", '{"a', '"\\', '"\\u00', '"\\ud83d', '"\\ud83d\\u', "-"])
def test_a_beginning_is_neither_broken_nor_whole(text: str):
    reader = read(text)

    assert not reader.is_broken
    assert not reader.is_whole


@pytest.mark.parametrize(
    ("text", "kept", "renamed"),
    [
        ('{"a":1,"b":2}', '{"a":1,"b":2}', '{"a":1,"b":2}'),
        ('{"a":1,"a":2}', '{"a":1}', '{"a":1,"a 2":2}'),
        ('{"a":1 , "\\u0061" : [2', '{"a":1 ', '{"a":1 , "\\u0061 2" : [2'),
        ('{"a":1,"a', '{"a":1,"a', '{"a":1,"a'),
        ('{"a":1,"a"', '{"a":1', '{"a":1,"a 2"'),
        ('{"a":{"b":1,"b":2},"a":{"c":1,"c":2},"d":3', '{"a":{"b":1},"d":3', None),
        ('[{"a":1,"a":{"a":2,"a":3', '[{"a":1', '[{"a":1,"a 2":{"a":2,"a 3":3'),
    ],
)
def test_keys_that_stand_there_already_are_left_out_or_renamed(
    text: str, kept: str, renamed: str | None
):
    assert without_repeats(text) == kept
    if renamed is not None:
        assert with_renamed_repeats(text) == renamed
    assert without_repeats(kept) == kept
