"""drafts.py: guesses from what a row has written before, and only those that pay."""

from __future__ import annotations

from conduit_nb.lmlite.ngram_drafter import LONGEST, NgramDrafter

NOVEL = list(range(100, 150))


def test_what_followed_last_time_is_guessed():
    tokens = [1, 2, 3, 4, 5, 6, 9, 1, 2, 3]

    assert NgramDrafter().draft(tokens, rows=1, most=3) == [4, 5, 6]


def test_a_cycle_is_guessed_to_go_on():
    assert NgramDrafter().draft([7, 1, 2, 1, 2], rows=1, most=4) == [1, 2, 1, 2]


def test_the_longer_beginning_decides():
    tokens = [1, 2, 3, 4, 8, 2, 3, 5, 9, 1, 2, 3]

    assert NgramDrafter().draft(tokens, rows=1, most=1) == [4]


def test_where_nothing_repeats_nothing_is_guessed():
    assert NgramDrafter().draft(NOVEL, rows=1, most=8) == []


def test_no_more_is_guessed_than_may_still_come():
    assert NgramDrafter().draft([1, 2, 3, 1, 2], rows=1, most=0) == []


def test_guesses_that_are_right_become_longer_and_those_that_are_wrong_end():
    right, wrong = NgramDrafter(), NgramDrafter()
    lengths: list[list[int]] = [[], []]
    steady, changing = [1, 2] * 10, [1, 2] * 10
    for step in range(30):
        lengths[0].append(len(right.draft(steady, rows=8, most=LONGEST)))
        lengths[1].append(len(wrong.draft(changing, rows=8, most=LONGEST)))
        steady += [1, 2]
        changing += [200 + step, 1, 2]

    assert lengths[0][-1] == LONGEST > lengths[0][0]
    assert lengths[1][-1] == 0 < lengths[1][0]


def test_guesses_that_come_right_again_are_trusted_again():
    drafter = NgramDrafter()
    tokens = [1, 2] * 10
    for step in range(30):
        drafter.draft(tokens, rows=16, most=LONGEST)
        tokens += [200 + step, 1, 2]
    for _ in range(30):
        drafter.draft(tokens, rows=16, most=LONGEST)
        tokens += [1, 2]

    assert len(drafter.draft(tokens, rows=16, most=LONGEST)) == LONGEST


def test_among_many_rows_less_is_guessed():
    tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]

    lengths = [len(NgramDrafter().draft(tokens, rows=rows, most=LONGEST)) for rows in (1, 8, 32)]

    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]
