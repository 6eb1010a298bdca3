from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from conduit_nb.lmlite.repetition import MIN_CHARACTERS, RepetitionGuard, cycle_of

VOCABULARY = ['"', "]", "}", ",", "0", "x"]
GUARD = RepetitionGuard(lambda text: VOCABULARY.index(text) if text in VOCABULARY else None)
ITEM = '{"name":"a.txt","bytes":100}'


def allowing(characters: str) -> NDArray[np.bool_]:
    return np.array([token not in characters for token in VOCABULARY])


def chosen(text: str, characters: str) -> str | None:
    token = GUARD.escape_token(text, allowing(characters))
    return None if token is None else VOCABULARY[token]


def test_a_reply_that_does_not_repeat_itself_is_left_alone():
    files = [{"name": f"file{number}.txt", "bytes": number} for number in range(40)]

    assert cycle_of(json.dumps(files)) is None
    assert chosen(json.dumps(files)[:-1], "],") is None


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_few_repetitions_are_no_loop(times: int):
    assert cycle_of("[" + ",".join([ITEM * 3] * times)) is None


def test_short_repetitions_are_no_loop_before_they_are_many():
    assert cycle_of('{"size":1' + "0" * (MIN_CHARACTERS - 20)) is None
    assert cycle_of('{"size":1' + "0" * MIN_CHARACTERS) == "0"


def test_the_cycle_is_the_shortest_piece():
    assert cycle_of("start " + "ab." * 200) == "ab."


def test_a_looping_list_of_records_is_ended_after_a_whole_record():
    looping = '{"files":[' + ",".join([ITEM] * 20)

    assert chosen(looping, "],") == "]"


def test_inside_a_record_of_a_looping_list_nothing_is_cut():
    for cut in range(1, len(ITEM) - 1):
        looping = '{"files":[' + ",".join([ITEM] * 20) + "," + ITEM[:cut]
        goes_on_with = ITEM[cut]

        assert chosen(looping, VOCABULARY[0] + "]},0x") in {None, goes_on_with, "]"}
        if goes_on_with not in '"},':
            assert chosen(looping, '"]},0x') is None


def test_the_brace_comes_alone_so_that_the_list_can_end_after_it():
    looping = '{"files":[' + ",".join([ITEM] * 20) + "," + ITEM[:-1]

    assert chosen(looping, "}0,") == "}"


def test_a_looping_string_is_closed():
    assert chosen('{"name":"' + "100.00 " * 60, '"]},0x') == '"'
    assert chosen('{"name":"' + r"say \"no\" " * 60, '"]},0x') == '"'


def test_a_looping_number_is_ended():
    assert chosen('{"bytes":1' + "0" * 300, "0},") == "}"
    assert chosen('{"bytes":1' + "0" * 300, "0,") == ","


def test_where_the_grammar_lets_nothing_close_the_model_goes_on():
    assert chosen('{"name":"' + "100.00 " * 60, "0x") is None


def test_a_model_without_such_tokens_is_never_stopped():
    guard = RepetitionGuard(lambda _: None)

    assert guard.escape_token("0" * 500, allowing("0")) is None


def test_a_cycle_of_several_items_that_end_alike_is_found_whole():
    items = [
        f'{{"name":"{name}","date_modified":"2023-11-23 12:00:00, in the morning"}},'
        for name in "abcdefghijkl"
    ]
    cycle = "".join(items)

    assert len(cycle) > 600
    assert cycle_of('{"files":[' + cycle * 3) is None
    assert cycle_of('{"files":[' + cycle * 4) == cycle


def test_items_that_end_alike_and_never_come_back_are_no_cycle():
    items = [
        f'{{"id":{number},"date":"2023-11-23 12:00:00, in the morning"}},' for number in range(300)
    ]

    assert cycle_of("".join(items)) is None
