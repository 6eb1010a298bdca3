"""lmlite/model_runner.py: a batch writes what each sequence would write alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")


from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Reference, request, write, write_all


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
async def test_a_mixed_batch_writes_what_generate_writes_one_by_one(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, family: str
):
    folder = tiny_model(family)
    reference = Reference(folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(folder, prefill_tokens=48)

    written = await write_all(engine, [request(prompt, 40) for prompt in prompts])

    assert [reply.text for reply in written] == [reference.greedy(one, 40) for one in prompts]


async def test_requests_that_join_late_and_neighbours_that_leave_change_nothing(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(tiny_model_folder, max_concurrency=3, prefill_tokens=32)

    async def read_some(prompt: list[int], deltas: int) -> None:
        stream = engine.generate(request(prompt, 200))
        for _ in range(deltas):
            await anext(stream)
        await stream.aclose()

    async with asyncio.TaskGroup() as group:
        first = group.create_task(write(engine, request(prompts[0], 60)))
        group.create_task(read_some(prompts[1], 3))
        late = group.create_task(write(engine, request(prompts[2], 60)))
        group.create_task(read_some(prompts[3], 1))
        last = group.create_task(write(engine, request(prompts[4], 60)))

    for task, prompt in ((first, prompts[0]), (late, prompts[2]), (last, prompts[4])):
        assert task.result().text == reference.greedy(prompt, 60)


async def test_preempted_sequences_write_the_same_text(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(tiny_model_folder, max_concurrency=4, cache_tokens=14 * PAGE_TOKENS)
    assert engine.context_tokens == 14 * PAGE_TOKENS

    written = await write_all(engine, [request(prompt, 80) for prompt in prompts])

    assert engine.preemptions > 0
    assert [reply.text for reply in written] == [reference.greedy(one, 80) for one in prompts]


async def test_sequences_with_a_common_prefix_prefill_it_once_and_write_the_same_text(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(f"{'The quick brown fox. ' * 9} {text}") for text in PROMPTS]
    engine = load_engine(tiny_model_folder, prefill_tokens=64)

    written = await write_all(engine, [request(prompt, 40) for prompt in prompts])

    assert engine.reused_tokens > 3 * 60
    assert [reply.text for reply in written] == [reference.greedy(one, 40) for one in prompts]
