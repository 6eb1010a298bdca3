from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from conduit_nb.blocks.checks import (
    require_messages,
    require_positive,
    require_provider,
    require_text_field,
)
from conduit_nb.blocks.ports import Port
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.errors import ArgumentError, SchemaError


@dataclass
class Plain:
    text: str


@dataclass
class Choice:
    text: Literal["a", "b"]


@dataclass
class Number:
    text: int


@dataclass
class Maybe:
    text: str | None


@dataclass
class Raw:
    text: bytes


@dataclass
class Either:
    text: str | bytes


@pytest.mark.parametrize("value", [1, 0.5, 10**9])
def test_a_number_above_zero_is_returned(value: float):
    assert require_positive("size", value) == value


@pytest.mark.parametrize("value", [0, -1, True, "1", None, float("nan"), float("inf")])
def test_anything_else_is_refused_by_name(value: Any):
    with pytest.raises(ArgumentError) as caught:
        require_positive("size", value)
    assert caught.value.param == "size"


@pytest.mark.parametrize("cls", [Plain, Choice, Plain | Choice])
def test_text_is_a_string_or_a_choice_of_strings(cls: Any):
    require_text_field("Block", Port.of(cls), "text")


@pytest.mark.parametrize("cls", [Number, Maybe, Raw, Either, Plain | Number])
def test_what_may_be_no_text_is_refused_with_its_path(cls: Any):
    with pytest.raises(SchemaError, match=r"Block.*'text'") as caught:
        require_text_field("Block", Port.of(cls), "text")

    assert caught.value.path == "$.text"
    assert "`text: str`" in caught.value.hint


@pytest.mark.parametrize("cls", [Raw, Either, Plain])
def test_bytes_count_as_text_where_the_block_takes_them(cls: Any):
    require_text_field("Block", Port.of(cls), "text", or_bytes=True)


def test_a_missing_field_is_named_with_the_line_to_add():
    with pytest.raises(SchemaError, match=r"Plain.*'other'.*Block") as caught:
        require_text_field("Block", Port.of(Plain), "other")

    assert caught.value.path == "$"
    assert re.search("`other: str`.*Plain", caught.value.hint)


def test_a_provider_is_known_by_its_registered_name():
    require_provider(ComputeProvider.LOCAL)
    require_provider("local")

    with pytest.raises(ArgumentError, match="'nowhere'") as caught:
        require_provider("nowhere")
    assert caught.value.param == "compute_provider"
    assert "local" in caught.value.hint


@pytest.mark.parametrize("messages", [[], ["Hello"], [{"role": "user"}], [{"content": "a"}]])
def test_what_is_no_chat_is_refused(messages: Any):
    with pytest.raises(ArgumentError) as caught:
        require_messages(messages)
    assert caught.value.param == "messages"


def test_a_chat_is_returned_as_it_is():
    assert require_messages([{"role": "user", "content": "a"}]) == (
        {"role": "user", "content": "a"},
    )
