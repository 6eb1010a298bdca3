"""lmlite/ngram_drafter.py: drafts what followed the same tokens before, where that pays."""

from __future__ import annotations

from conduit_nb.lmlite.ngram_drafter import MAX_DRAFT_TOKENS, NgramDrafter

NOVEL = list(range(100, 150))


def test_what_followed_last_time_is_drafted():
    tokens = [1, 2, 3, 4, 5, 6, 9, 1, 2, 3]

    assert NgramDrafter().draft(tokens, batch_size=1, max_tokens=3) == [4, 5, 6]


def test_a_cycle_is_drafted_to_go_on():
    assert NgramDrafter().draft([7, 1, 2, 1, 2], batch_size=1, max_tokens=4) == [1, 2, 1, 2]


def test_the_longer_ngram_decides():
    tokens = [1, 2, 3, 4, 8, 2, 3, 5, 9, 1, 2, 3]

    assert NgramDrafter().draft(tokens, batch_size=1, max_tokens=1) == [4]


def test_where_nothing_repeats_nothing_is_drafted():
    assert NgramDrafter().draft(NOVEL, batch_size=1, max_tokens=8) == []


def test_no_more_is_drafted_than_may_still_come():
    assert NgramDrafter().draft([1, 2, 3, 1, 2], batch_size=1, max_tokens=0) == []


def test_accepted_drafts_become_longer_and_rejected_ones_end():
    accepted, rejected = NgramDrafter(), NgramDrafter()
    lengths: list[list[int]] = [[], []]
    steady, changing = [1, 2] * 10, [1, 2] * 10
    for step in range(30):
        lengths[0].append(len(accepted.draft(steady, batch_size=8, max_tokens=MAX_DRAFT_TOKENS)))
        lengths[1].append(len(rejected.draft(changing, batch_size=8, max_tokens=MAX_DRAFT_TOKENS)))
        steady += [1, 2]
        changing += [200 + step, 1, 2]

    assert lengths[0][-1] == MAX_DRAFT_TOKENS > lengths[0][0]
    assert lengths[1][-1] == 0 < lengths[1][0]


def test_drafts_that_are_accepted_again_become_longer_again():
    drafter = NgramDrafter()
    tokens = [1, 2] * 10
    for step in range(30):
        drafter.draft(tokens, batch_size=16, max_tokens=MAX_DRAFT_TOKENS)
        tokens += [200 + step, 1, 2]
    for _ in range(30):
        drafter.draft(tokens, batch_size=16, max_tokens=MAX_DRAFT_TOKENS)
        tokens += [1, 2]

    assert (
        len(drafter.draft(tokens, batch_size=16, max_tokens=MAX_DRAFT_TOKENS)) == MAX_DRAFT_TOKENS
    )


def test_in_a_large_batch_less_is_drafted():
    tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]

    lengths = [
        len(NgramDrafter().draft(tokens, batch_size=size, max_tokens=MAX_DRAFT_TOKENS))
        for size in (1, 8, 32)
    ]

    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]
