from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch")

import torch
from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Masks
from conduit_nb.lmlite.loops import LEAST_CHARACTERS, LoopGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.lmlite.scheduler import Row
from conduit_nb.testing.tiny_models import make_tiny_tokenizer

PROBABILITIES = (0.5, 0.1, 0.0, 0.3, 0.1)


def reply(**sampling: object) -> Reply:
    return Reply(
        row=Row(number=0, tokens=[1]),
        max_tokens=5,
        sampling=SamplingParams(**sampling),  # pyright: ignore[reportArgumentType]  # a test's shorthand
        guide=None,
        detokenizer=Detokenizer(str),
        end_tokens=frozenset(),
        loop_guard=LoopGuard(lambda _: None),
    )


def draw(count: int, **sampling: object) -> Counter[int]:
    one = reply(**sampling)
    logits = torch.tensor(PROBABILITIES).log()
    masks = Masks(len(PROBABILITIES))
    return Counter(choose_tokens(logits.clone()[None], [one], masks)[0] for _ in range(count))


def test_greedy_takes_the_likeliest():
    assert draw(5) == {0: 5}


def test_drawing_follows_the_probabilities():
    drawn = draw(4000, temperature=1.0, seed=1)

    for token, probability in enumerate(PROBABILITIES):
        assert drawn[token] / 4000 == pytest.approx(probability, abs=0.03)
    assert drawn[2] == 0


def test_a_low_temperature_sharpens():
    drawn = draw(2000, temperature=0.5, seed=1)

    assert drawn[0] / 2000 == pytest.approx(0.25 / 0.36, abs=0.03)


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    assert set(draw(500, temperature=1.0, top_p=0.5, seed=1)) == {0}
    assert set(draw(500, temperature=1.0, top_p=0.51, seed=1)) == {0, 3}
    assert set(draw(500, temperature=2.0, top_p=1.0, seed=1)) == {0, 1, 3, 4}


def test_rounding_errors_of_a_batch_do_not_change_what_is_drawn():
    logits = torch.randn(2000, generator=torch.Generator().manual_seed(1))
    noise = 1e-6 * torch.randn(2000, generator=torch.Generator().manual_seed(2))
    masks = Masks(2000)
    calm, noisy = (
        reply(temperature=1.0, top_p=0.95, seed=3),
        reply(temperature=1.0, top_p=0.95, seed=3),
    )

    drawn = [choose_tokens(logits.clone()[None], [calm], masks) for _ in range(200)]
    drawn_noisy = [choose_tokens((logits + noise)[None], [noisy], masks) for _ in range(200)]

    assert drawn == drawn_noisy


def test_a_guided_reply_that_only_repeats_itself_is_led_out():
    tokenizer = make_tiny_tokenizer()
    guide = Grammars(from_tokenizer(tokenizer)).guide({"type": "integer"})
    (one_digit,), (zero,) = tokenizer.encode("1"), tokenizer.encode("0")
    row = Row(number=0, tokens=[])
    guided = Reply(
        row=row,
        max_tokens=1000,
        sampling=SamplingParams(),
        guide=guide,
        detokenizer=Detokenizer(tokenizer.decode),
        end_tokens=frozenset(),
        loop_guard=LoopGuard(lambda text: tokenizer.eos_token_id if text == "," else None),
    )
    likes_zeros = torch.zeros(1, len(tokenizer))
    likes_zeros[0, zero] = 10.0
    guided.add(one_digit)

    for _ in range(500):
        (token,) = choose_tokens(likes_zeros.clone(), [guided], Masks(len(tokenizer)))
        if token != zero:
            break
        guided.add(token)

    assert token == tokenizer.eos_token_id
    assert len(row.tokens) > LEAST_CHARACTERS
