from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Masks
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.repetition import MIN_CHARACTERS, RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Sequence
from conduit_nb.testing.tiny_models import make_tiny_tokenizer
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import request, write, write_all

PROBABILITIES = (0.5, 0.1, 0.0, 0.3, 0.1)


def reply(**sampling: object) -> Reply:
    return Reply(
        sequence=Sequence(number=0, tokens=[1]),
        max_tokens=5,
        sampling=SamplingParams(**sampling),  # pyright: ignore[reportArgumentType]  # a test's shorthand
        guide=None,
        detokenizer=Detokenizer(str),
        end_tokens=frozenset(),
        repetition_guard=RepetitionGuard(lambda _: None),
    )


def draw(count: int, **sampling: object) -> Counter[int]:
    one = reply(**sampling)
    logits = torch.tensor(PROBABILITIES).log()
    masks = Masks(len(PROBABILITIES))
    return Counter(choose_tokens(logits.clone()[None], [one], masks)[0].token for _ in range(count))


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


def test_top_k_keeps_the_likeliest_and_0_keeps_all():
    assert set(draw(500, temperature=1.0, top_k=1, seed=1)) == {0}
    assert set(draw(500, temperature=1.0, top_k=2, seed=1)) == {0, 3}
    assert set(draw(500, temperature=1.0, top_k=0, seed=1)) == {0, 1, 3, 4}
    assert set(draw(500, temperature=1.0, top_k=99, seed=1)) == {0, 1, 3, 4}


def test_top_p_counts_what_top_k_left():
    assert set(draw(500, temperature=1.0, top_k=2, top_p=0.6, seed=1)) == {0}


def test_min_p_keeps_what_is_likely_compared_to_the_likeliest():
    assert set(draw(500, temperature=1.0, min_p=0.5, seed=1)) == {0, 3}
    assert set(draw(500, temperature=1.0, min_p=0.7, seed=1)) == {0}
    assert set(draw(500, temperature=1.0, min_p=1.0, seed=1)) == {0}


def chosen_after(written: list[int], **sampling: object) -> int:
    one = reply(**sampling)
    one.sequence.tokens.extend(written)
    logits = torch.tensor(PROBABILITIES).log()[None]
    return choose_tokens(logits, [one], Masks(len(PROBABILITIES)))[0].token


def test_the_presence_penalty_counts_a_written_token_once():
    assert chosen_after([0], presence_penalty=0.5) == 0
    assert chosen_after([0], presence_penalty=0.6) == 3
    assert chosen_after([0, 0, 0], presence_penalty=0.5) == 0


def test_before_anything_is_written_there_is_nothing_to_penalise():
    assert chosen_after([], presence_penalty=2.0, frequency_penalty=2.0) == 0


def test_the_frequency_penalty_counts_every_time():
    assert chosen_after([0, 0], frequency_penalty=0.2) == 0
    assert chosen_after([0, 0, 0], frequency_penalty=0.2) == 3
    assert chosen_after([3], frequency_penalty=-1.0) == 3


def test_the_repetition_penalty_counts_the_prompt_and_moves_either_sign_down():
    one, other = reply(repetition_penalty=2.0), reply(repetition_penalty=2.0)  # of prompt 1
    logits = torch.tensor([[0.6, 1.0, -3.0], [-1.1, -1.0, -3.0]])

    chosen = choose_tokens(logits, [one, other], Masks(3))

    assert [choice.token for choice in chosen] == [0, 0]


def test_penalties_of_one_reply_leave_its_neighbours_alone():
    one, other = reply(frequency_penalty=2.0, top_logprobs=0), reply(top_logprobs=0)
    for both in (one, other):
        both.sequence.tokens.append(0)
    logits = torch.tensor(PROBABILITIES).log().repeat(2, 1)

    penalised, plain = choose_tokens(logits, [one, other], Masks(len(PROBABILITIES)))

    assert (penalised.token, plain.token) == (3, 0)
    assert math.exp(plain.logprob) == pytest.approx(0.5)


def test_log_probabilities_are_those_of_the_logits_whatever_the_draw_is_from():
    one = reply(temperature=0.5, top_k=1, top_logprobs=5, seed=1)
    logits = torch.tensor(PROBABILITIES).log()[None]

    (chosen,) = choose_tokens(logits, [one], Masks(len(PROBABILITIES)))

    assert chosen.token == 0
    assert math.exp(chosen.logprob) == pytest.approx(0.5)
    assert [token for token, _ in chosen.top[:2]] == [0, 3]
    assert {token for token, _ in chosen.top} == {0, 1, 3, 4}  # 2 cannot come
    assert sum(math.exp(value) for _, value in chosen.top) == pytest.approx(1)


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


async def test_penalties_and_cuts_are_the_same_text_whatever_runs_alongside(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, prefill_tokens=64)
    prompts = [engine.encode_text(text) for text in ("hello", "The quick fox", "b", "a " * 60)]
    options = {"top_k": 50, "min_p": 0.01, "repetition_penalty": 1.3, "frequency_penalty": 0.4}
    submitted = request(prompts[1], 40, temperature=1.0, seed=5, **options)

    alone = await write(engine, submitted)
    crowd = [request(prompt, 40, temperature=1.0, presence_penalty=1.0) for prompt in prompts]
    together, *_ = await write_all(engine, [submitted, *crowd])
    plain = await write(engine, request(prompts[1], 40, temperature=1.0, seed=5))

    assert together.text == alone.text
    assert plain.text != alone.text


def test_a_guided_reply_that_only_repeats_itself_is_led_out():
    tokenizer = make_tiny_tokenizer()
    guide = Grammars(from_tokenizer(tokenizer)).guide({"type": "integer"})
    (one_digit,), (zero,) = tokenizer.encode("1"), tokenizer.encode("0")
    sequence = Sequence(number=0, tokens=[])
    guided = Reply(
        sequence=sequence,
        max_tokens=1000,
        sampling=SamplingParams(),
        guide=guide,
        detokenizer=Detokenizer(tokenizer.decode),
        end_tokens=frozenset(),
        repetition_guard=RepetitionGuard(
            lambda text: tokenizer.eos_token_id if text == "," else None
        ),
    )
    likes_zeros = torch.zeros(1, len(tokenizer))
    likes_zeros[0, zero] = 10.0
    guided.add(SampledToken(token=one_digit))

    for _ in range(500):
        (chosen,) = choose_tokens(likes_zeros.clone(), [guided], Masks(len(tokenizer)))
        if chosen.token != zero:
            break
        guided.add(chosen)

    assert chosen.token == tokenizer.eos_token_id
    assert len(sequence.tokens) > MIN_CHARACTERS
