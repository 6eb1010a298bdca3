"""Each family of models writes what transformers' `generate` writes, whatever its neighbours do."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.fallback_runner import FallbackRunner
from conduit_nb.testing.tiny_models import FAMILIES
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Recorder, Reference, request, write, write_all

IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
SEEDS = range(20) if IS_SOAK else range(1)
TOKENS = (80, 80, 16, 16, 16, 16)
"""How much is written; the first two outgrow the memory, so that one is preempted."""
GENERATED = range(len(TOKENS)) if IS_SOAK else (3, 4)
"""Which prompts `generate` continues too; of the others each token is compared with the likeliest.

It takes a forward a token, where a comparison takes one for them all.
"""
TOKENS_FOR_A_TIE = 10_000

FALLBACK = {
    "bloom": "chunked",
    "deepseek_v3": "chunked",
    "falcon": "chunked",
    "lfm2": "chunked",
    "llama4_text": "chunked",
    "mamba": "whole",
    "qwen3_5_text": "chunked",
    "qwen3_next": "chunked",
    "recurrent_gemma": "recompute",
    "stablelm": "chunked",
}
"""The prefill mode of those that are not batched."""

COMMON = "The quick brown fox jumps over the lazy dog. " * 4
"""More tokens than any window and any chunk of a prompt here."""


@dataclass
class Tally:
    """What was compared."""

    tokens: int = 0
    ties: int = 0


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Count over all families; ties must be rare."""
    counted = Tally()
    yield counted
    print(f"\n{counted.tokens:,} tokens of {len(FAMILIES)} families, {counted.ties} ties")
    assert counted.ties <= -(-counted.tokens // TOKENS_FOR_A_TIE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_family_writes_what_generate_writes_one_by_one(
    tiny_model: Callable[..., Path],
    load_engine: LoadEngine,
    tally: Tally,
    family: str,
    seed: int,
):
    folder = tiny_model(family, seed=seed)
    reference = Reference(folder)
    texts = [*PROMPTS[:4], *(f"{COMMON} {text}" for text in PROMPTS[:2])]
    prompts = [reference.prompt(text) for text in texts]
    # So few pages that sequences are preempted, such small chunks that a window ends within one.
    engine = load_engine(folder, max_concurrency=5, prefill_tokens=24, cache_tokens=11 * 16)
    recorder = Recorder(engine)

    async with asyncio.TaskGroup() as group:
        group.create_task(read_some(engine, prompts[1], 3))
        for prompt, tokens in zip(prompts, TOKENS, strict=True):
            group.create_task(write(engine, request(prompt, tokens)))
        group.create_task(read_some(engine, prompts[-1], 1))

    assert engine.attention == ("fallback" if family in FALLBACK else "packed")
    assert (engine.reused_tokens > 0) == (engine.attention == "packed")
    replies = [recorder.written(prompt) for prompt in prompts]
    expected = [
        reference.greedy_tokens(prompt, tokens)
        if number in GENERATED
        else whole(written, tokens, reference.tokenizer.eos_token_id)
        for number, (prompt, tokens, written) in enumerate(
            zip(prompts, TOKENS, replies, strict=True)
        )
    ]
    is_long = [len(own) == tokens for own, tokens in zip(expected, TOKENS, strict=True)]
    # Sequences whose drafts are accepted may be done before the pages run out.
    is_quick = engine.stats().drafted_tokens > 0
    assert engine.preemptions > 0 or is_quick or not all(is_long[:2])
    for prompt, own, written in zip(prompts, expected, replies, strict=True):
        is_greedy = reference.is_greedy(prompt, own)
        assert is_greedy is not False, own
        is_tie = is_greedy is None
        for other in written:  # a cancelled one is a beginning, or goes on for a while
            common = min(len(own), len(other))
            if other[:common] != own[:common]:
                assert reference.is_tie(prompt, own, other), (own, other)
                is_tie = True
        assert is_tie or own in written
        tally.tokens += len(own)
        tally.ties += is_tie
    if isinstance(recorder.runner, FallbackRunner):
        assert recorder.runner.prefill_mode == FALLBACK[family]


def whole(written: list[list[int]], tokens: int, end: int) -> list[int]:
    """Return the reply that was not cancelled: it has all its tokens, or its end."""
    found = [one for one in written if len(one) == tokens or one[-1:] == [end]]
    assert found, written
    return found[0]


async def read_some(engine: Engine, prompt: list[int], deltas: int) -> None:
    """Leave in the middle of a reply, unless it ends before."""
    async with aclosing(engine.generate(request(prompt, 200))) as stream:
        async for _ in stream:
            deltas -= 1
            if deltas == 0:
                return


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_family_runs_in_half_precision(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, family: str
):
    engine = load_engine(tiny_model(family, seed=0), dtype="bfloat16", prefill_tokens=24)

    replies = await write_all(engine, [request([9] * 30, 4), request([5, 6, 7], 4)])

    assert engine.dtype == "bfloat16"
    assert engine.attention == ("fallback" if family in FALLBACK else "packed")
    assert all(reply.tokens > 0 for reply in replies)


def test_another_token_is_a_tie_only_where_both_are_as_likely(tiny_model: Callable[..., Path]):
    reference = Reference(tiny_model("llama", seed=0))
    own = reference.greedy_tokens([5, 6, 7], 8)
    weights = reference.model.get_output_embeddings().weight.data

    assert not reference.is_tie([5, 6, 7], own, [*own[:3], own[3] ^ 1, *own[4:]])
    assert not reference.is_tie([5, 6, 7], own, own[:3])
    assert reference.is_greedy([5, 6, 7], own) is True
    assert reference.is_greedy([5, 6, 7], [*own[:3], own[3] ^ 1]) is False
    assert reference.is_greedy([5, 6, 7], [own[0] ^ 1, *own[1:]]) is False
    weights[own[3] ^ 1] = weights[own[3]]
    assert reference.is_tie([5, 6, 7], own, [*own[:3], own[3] ^ 1, *own[4:]])
    assert reference.is_greedy([5, 6, 7], [*own[:3], own[3] ^ 1]) is not False


def test_the_documentation_lists_what_is_batched_and_what_is_not():
    text = (Path(__file__).parents[2] / "docs" / "families.md").read_text()
    families = {
        way: set(re.findall(r"`(\w+)`", listed))
        for way, listed in re.findall(r"^\| (packed|fallback) \| (.*) \|$", text, re.MULTILINE)
    }

    assert families == {"packed": FAMILIES.keys() - FALLBACK.keys(), "fallback": FALLBACK.keys()}
