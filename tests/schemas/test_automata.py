from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.schemas.automata import Automaton, TooLargeError, preferred
from conduit_nb.schemas.formats import DATE_REGEX, DATETIME_REGEX
from conduit_nb.schemas.patterns import common_regex
from tests.schemas.strategies import PATTERNS

REGEXES = (*PATTERNS, DATE_REGEX, DATETIME_REGEX, "a|b{3,}|", "[^a-z]{2,4}x?", r"(?:a\|)+\x41")


@given(st.sampled_from(REGEXES), st.data())
def test_a_text_cut_anywhere_is_completed_to_a_match(regex: str, data: st.DataObject):
    common = common_regex(regex)
    automaton = Automaton(common)
    whole = data.draw(st.from_regex(f"(?:{common})", fullmatch=True))
    assert automaton.matches(automaton.advance(automaton.start, whole))

    cut = whole[: data.draw(st.integers(0, len(whole)))]
    states = automaton.advance(automaton.start, cut)
    rest = automaton.completion(states, 0, None)

    assert rest is not None
    assert re.fullmatch(common, cut + rest)
    assert len(rest) <= len(whole) - len(cut)
    assert len(rest) <= automaton.longest


@given(st.sampled_from(REGEXES), st.integers(0, 12), st.none() | st.integers(0, 12))
def test_a_completion_keeps_to_the_given_length(
    regex: str, min_length: int, max_length: int | None
):
    common = common_regex(regex)
    automaton = Automaton(common)

    rest = automaton.completion(automaton.start, min_length, max_length)

    if rest is not None:
        assert re.fullmatch(common, rest)
        assert min_length <= len(rest) <= (len(rest) if max_length is None else max_length)


@given(st.sampled_from(REGEXES), st.text())
def test_what_does_not_match_is_no_match(regex: str, text: str):
    common = common_regex(regex)
    automaton = Automaton(common)

    is_match = automaton.matches(automaton.advance(automaton.start, text))

    assert is_match == (re.fullmatch(common, text) is not None)


def test_an_open_end_lets_anything_stand_there():
    automaton = Automaton("b+", is_open_before=True, is_open_after=True)

    assert automaton.matches(automaton.advance(automaton.start, "aabcc"))
    assert automaton.completion(automaton.advance(automaton.start, "aa"), 0, None) == "b"


def test_an_expression_that_repeats_too_much_is_refused():
    with pytest.raises(TooLargeError):
        Automaton("(?:a{1000}){1000}")


@pytest.mark.parametrize(
    ("ranges", "char"),
    [(((0, 0x10FFFF),), "a"), (((0x30, 0x39),), "0"), (((0xD800, 0xE001),), "\ue000"), ((), "")],
)
def test_the_plainest_character_is_preferred(ranges: tuple[tuple[int, int], ...], char: str):
    assert preferred(ranges) == char
