"""blocks/ask_options.py: how a model is asked, with the defaults of a block's calls."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from conduit_nb.blocks.ask_options import AskOptions, OnLength
from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.errors import ArgumentError
from conduit_nb.options import options_of, parse_options


def test_every_option_is_a_keyword_of_a_task_with_the_same_default():
    keywords = inspect.signature(LMLiteBlock.task).parameters

    for one in options_of(AskOptions):
        assert keywords[one.name].default == one.default


def test_what_becomes_of_a_cut_reply_can_be_chosen():
    choices = {one.name: one.choices for one in options_of(AskOptions)}

    assert choices["on_length"] == get_args(OnLength)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_tokens": "0"}, "max_tokens"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "inf"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"seed": "x"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"on_length": "kep"}, "on_length"),
        ({"confidence": "perhaps"}, "confidence"),
    ],
)
def test_a_value_that_is_not_valid_is_an_error(given: dict[str, object], param: str):
    with pytest.raises(ArgumentError) as caught:
        parse_options(AskOptions, given)

    assert caught.value.param == param
