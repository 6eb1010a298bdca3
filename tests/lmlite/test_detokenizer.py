from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.lmlite.detokenizer import Detokenizer, StopStrings


def from_bytes(tokens: Sequence[int]) -> str:
    """Decode as a byte-level tokenizer does: one token, one byte."""
    return bytes(tokens).decode(errors="replace")


def from_words(tokens: Sequence[int]) -> str:
    """Decode as SentencePiece does: a space before each word but the first of a text."""
    return " ".join(f"w{token}" for token in tokens)


def test_a_character_is_emitted_when_it_is_whole():
    text = Detokenizer(from_bytes)

    assert [text.add([byte]) for byte in "a🎉b".encode()] == ["a", "", "", "", "🎉", "b"]


def test_a_broken_character_is_emitted_when_it_cannot_become_whole():
    text = Detokenizer(from_bytes)

    assert [text.add([0xF0]), text.add([0x9F]), text.add([ord("x")])] == ["", "", "\ufffdx"]


def test_a_character_cut_at_the_end_is_emitted_at_the_end():
    text = Detokenizer(from_bytes)

    assert text.add([ord("a"), 0xF0]) == "a"
    assert text.flush() == "\ufffd"


def test_the_first_token_of_a_text_is_not_special_later_on():
    text = Detokenizer(from_words)

    assert [text.add([1]), text.add([2]), text.add([3, 4])] == ["w1", " w2", " w3 w4"]


def test_tokens_without_text_change_nothing():
    text = Detokenizer(lambda tokens: from_bytes([token for token in tokens if token < 256]))

    assert [text.add([300]), text.add([ord("a")]), text.add([300]), text.flush()] == [
        "",
        "a",
        "",
        "",
    ]


@given(st.lists(st.lists(st.integers(0, 255), max_size=4)))
def test_the_pieces_are_the_text_of_all_tokens_valid_or_not(steps: list[list[int]]):
    text = Detokenizer(from_bytes)
    pieces = [text.add(step) for step in steps]

    assert "".join([*pieces, text.flush()]) == from_bytes([byte for step in steps for byte in step])


@given(st.text(), st.integers(1, 3))
def test_no_piece_of_valid_text_has_half_a_character(written: str, size: int):
    data = written.encode()
    text = Detokenizer(from_bytes)
    pieces = [text.add(data[at : at + size]) for at in range(0, len(data), size)]

    assert "".join(pieces) + text.flush() == written
    assert not any("\ufffd" in piece for piece in pieces if "\ufffd" not in written)


@pytest.mark.parametrize(
    ("pieces", "emitted"),
    [
        (["one STOP two"], "one "),
        (["one S", "TO", "P two"], "one "),
        (["one ST", "ART STOP"], "one START "),
        (["SSTOP"], "S"),
        (["aab", "aac"], "aab"),
    ],
)
def test_text_ends_before_a_stop_string_however_it_arrives(pieces: list[str], emitted: str):
    stops = StopStrings(["STOP", "aac"])
    results = [stops.add(piece) for piece in pieces]

    assert "".join(text for text, _ in results) == emitted
    assert [is_stopped for _, is_stopped in results] == [False] * (len(pieces) - 1) + [True]


def test_of_several_stop_strings_the_first_that_is_complete_counts():
    assert StopStrings(["two", "one"]).add("zero one two") == ("zero ", True)
    assert StopStrings(["zero one", "ero"]).add("zero one two") == ("z", True)


def test_what_could_begin_a_stop_string_is_emitted_when_it_does_not():
    stops = StopStrings(["STOP"])

    assert stops.add("an ST") == ("an ", False)
    assert stops.add("ONE") == ("STONE", False)
    assert stops.add("S") == ("", False)
    assert stops.flush() == "S"


@given(
    st.text("abc"), st.lists(st.text("abc", min_size=1), min_size=1, max_size=3), st.integers(1, 3)
)
def test_cutting_in_pieces_is_cutting_at_once(text: str, stops: list[str], size: int):
    checker = StopStrings(stops)
    emitted = ""
    for at in range(0, len(text), size):
        piece, is_stopped = checker.add(text[at : at + size])
        emitted += piece
        if is_stopped:
            break
    else:
        emitted += checker.flush()
    ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]

    assert emitted == (text[: min(ends)[1]] if ends else text)
