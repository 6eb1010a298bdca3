"""Drafts on an engine: fewer steps, the same text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")


from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from conduit_nb.lmlite.request import GenerationRequest
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Reference, Written, request, write_all

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "words": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 6},
        "flag": {"type": "boolean"},
        "more": {"type": "array", "items": {"type": "integer"}, "maxItems": 9},
    },
    "required": ["words", "flag", "more"],
    "additionalProperties": False,
}


async def both(
    load_engine: LoadEngine, folder: Path, requests: list[GenerationRequest], **config: Any
) -> tuple[list[Written], list[Written], Engine]:
    """Return the replies without and with drafts, and the engine that drafts."""
    plain = await write_all(load_engine(folder, drafts=False, **config), requests)
    engine = load_engine(folder, **config)
    return plain, await write_all(engine, requests), engine


def turns(engine: Engine) -> int:
    """Return how often any sequence was in a step."""
    return sum(size * steps for size, steps in enumerate(engine.stats().steps_by_batch_size))


async def test_free_text_is_that_of_generate_and_takes_fewer_steps(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]

    _, drafted, engine = await both(
        load_engine, tiny_model_folder, [request(p, 90) for p in prompts]
    )

    assert [reply.text for reply in drafted] == [reference.greedy(one, 90) for one in prompts]
    drafted_tokens = engine.stats().drafted_tokens
    assert drafted_tokens > 0
    assert turns(engine) <= sum(reply.tokens for reply in drafted) - drafted_tokens + 8


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
async def test_guided_text_is_the_same(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, family: str
):
    reference = Reference(tiny_model(family))
    requests = [request(reference.prompt(text), 120, json_schema=SCHEMA) for text in PROMPTS]

    plain, drafted, engine = await both(load_engine, tiny_model(family), requests)

    assert drafted == [
        Written(text=one.text, tokens=one.tokens, reason=one.reason, pieces=many.pieces)
        for one, many in zip(plain, drafted, strict=True)
    ]
    assert engine.stats().drafted_tokens > 0


async def test_sequences_that_are_preempted_and_share_prefixes_write_the_same(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt("the same beginning " * 6 + text) for text in PROMPTS]
    requests = [request(prompt, 80) for prompt in prompts]

    plain, drafted, engine = await both(
        load_engine, tiny_model_folder, requests, cache_tokens=30 * PAGE_TOKENS, prefill_tokens=48
    )

    assert [one.text for one in drafted] == [one.text for one in plain]
    assert engine.preemptions > 0
    assert engine.stats().drafted_tokens > 0
    assert engine.reused_tokens > 0


async def test_drawn_penalised_and_measured_text_is_the_same(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompt = reference.prompt("true false true false")
    requests = [
        request(prompt, 60, temperature=0.3, seed=5),
        request(prompt, 60, repetition_penalty=1.1),
        request(prompt, 60, top_logprobs=2),
        request(prompt, 60, stop=("e",)),
        request(prompt, 60, json_schema=SCHEMA, temperature=0.7, seed=1),
    ]

    plain, drafted, _ = await both(load_engine, tiny_model_folder, requests)

    assert [(one.text, one.tokens, one.reason) for one in drafted] == [
        (one.text, one.tokens, one.reason) for one in plain
    ]


async def test_a_reply_ends_at_its_limit_and_at_the_end_of_the_context(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    folder = tiny_model(context_tokens=96)
    prompt = Reference(folder).prompt("a a a a a a a a")
    requests = [request(prompt, limit) for limit in (1, 2, 7, 40, 500)]

    plain, drafted, _ = await both(load_engine, folder, requests)

    assert [(one.text, one.tokens) for one in drafted] == [(one.text, one.tokens) for one in plain]
    assert drafted[-1].tokens == 96 - len(prompt)


async def test_sequences_that_leave_in_the_middle_of_their_drafts_leak_nothing(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    prompt = Reference(tiny_model_folder).prompt("a a a a")
    engine = load_engine(tiny_model_folder, prefix_cache_tokens=0)

    async def read_some(deltas: int) -> None:
        stream = engine.generate(request(prompt, 200))
        async for _ in stream:
            deltas -= 1
            if deltas == 0:
                break
        await stream.aclose()

    await asyncio.gather(*(read_some(count) for count in range(1, 30, 3)))
    await write_all(engine, [request(prompt, 1)])

    assert engine.stats().used_pages == 0
