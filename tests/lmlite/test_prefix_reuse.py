"""Sequences reuse the prefixes of earlier ones, which changes no text."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Reference, request, write, write_all


async def test_sequences_one_after_another_prefill_their_common_prefix_once(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(f"{'The quick brown fox. ' * 9} {text}") for text in PROMPTS]
    engine = load_engine(tiny_model_folder, prefill_tokens=64)

    reused: list[int] = []
    for prompt in prompts:
        before = engine.reused_tokens
        assert (await write(engine, request(prompt, 40))).text == reference.greedy(prompt, 40)
        reused.append(engine.reused_tokens - before)

    alike = common(prompts)
    assert alike > 3 * PAGE_TOKENS
    assert reused[0] == 0
    assert min(reused[1:]) >= alike
    assert not engine.has_ended


async def test_cached_pages_give_way_where_memory_is_short_and_the_text_is_the_same(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(
        tiny_model_folder, cache_tokens=14 * PAGE_TOKENS, prefix_cache_tokens=14 * PAGE_TOKENS
    )
    expected = [reference.greedy(prompt, 80) for prompt in prompts]

    for _ in range(2):
        for prompt, text in zip(prompts, expected, strict=True):
            assert (await write(engine, request(prompt, 80))).text == text
    together = await write_all(engine, [request(prompt, 80) for prompt in prompts * 2])

    assert engine.preemptions > 0
    assert engine.reused_tokens > 0
    assert [reply.text for reply in together] == expected * 2


async def test_what_a_cancelled_sequence_has_prefilled_serves_the_next(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompt = reference.prompt("The quick brown fox. " * 9)
    engine = load_engine(tiny_model_folder)
    stream = engine.generate(request(prompt, 400))
    await anext(stream)
    await stream.aclose()

    reply = await write(engine, request(prompt, 40))

    assert reply.text == reference.greedy(prompt, 40)
    assert engine.reused_tokens >= len(prompt) - PAGE_TOKENS


async def test_nothing_is_reused_where_nothing_may_be_cached(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, prefix_cache_tokens=0)

    for _ in range(2):
        await write(engine, request([9] * 100, 5))

    assert engine.reused_tokens == 0


def common(prompts: list[list[int]]) -> int:
    """Return how many tokens all of them begin with alike."""
    columns = zip(*prompts, strict=False)
    return next((at for at, column in enumerate(columns) if len(set(column)) > 1), 0)
