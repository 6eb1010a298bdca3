"""lmlite/stats.py: an engine's numbers are those of the replies that it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import request, write, write_all

FLAG = {
    "type": "object",
    "properties": {"is_spam": {"type": "boolean"}},
    "required": ["is_spam"],
    "additionalProperties": False,
}


async def test_an_engine_counts_its_steps_and_tokens(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=4)
    prompt = engine.encode_text("hello")

    free = await write(engine, request(prompt, 5))
    alone = engine.stats()
    guided = await write(engine, request(prompt, 50, json_schema=FLAG))
    after = engine.stats()

    assert (alone.read_tokens, alone.written_tokens, alone.forced_tokens) == (
        len(prompt),
        free.tokens,
        0,
    )
    assert alone.steps_by_rows == (0, free.tokens, 0, 0, 0)
    assert after.written_tokens == free.tokens + guided.tokens
    assert 0 < after.forced_tokens < guided.tokens
    assert (after.grammar_hits, after.grammar_misses) == (0, 1)
    assert (after.running, after.waiting) == (0, 0)
    assert after.pages > 0


async def test_steps_are_counted_by_their_rows(tiny_model_folder: Path, load_engine: LoadEngine):
    engine = load_engine(tiny_model_folder, max_concurrency=2, batch_timeout_ms=5000)

    replies = await write_all(engine, [request([9, 8, 7], 6)] * 2)

    stats = engine.stats()
    assert stats.steps_by_rows[2] > 0
    assert sum(rows * steps for rows, steps in enumerate(stats.steps_by_rows)) == (
        sum(reply.tokens for reply in replies)
    )
