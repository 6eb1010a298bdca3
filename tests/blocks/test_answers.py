from __future__ import annotations

import pytest

from conduit_nb.blocks.answers import DetailedAnswer, path_of, require_on_length
from conduit_nb.errors import ArgumentError


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("/mood", "mood"),
        ("/order/kind", "order.kind"),
        ("/items/0/color", "items[0].color"),
        ("/grid/1/2", "grid[1][2]"),
        ("/by_name/a~1b c", "by_name['a/b c']"),
        ("/a~01", "['a~1']"),
    ],
)
def test_a_pointer_is_shown_as_a_path(pointer: str, path: str):
    assert path_of(pointer) == path


def test_an_answer_is_whole_and_says_nothing_of_itself_by_default():
    answer = DetailedAnswer(record=1)

    assert (answer.is_truncated, answer.confidence) == (False, {})


def test_on_length_is_one_of_two_words():
    assert require_on_length("keep") == "keep"
    with pytest.raises(ArgumentError, match=r"'drop'.*'error'.*'keep'") as caught:
        require_on_length("drop")
    assert caught.value.param == "on_length"
