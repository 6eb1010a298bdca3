"""lmlite/fallback_runner.py: runs models whose sequences cannot be batched, one at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import transformers
from transformers import AutoModelForCausalLM

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.fallback_runner import FallbackRunner
from conduit_nb.lmlite.model_loader import load_model
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Recorder, Reference, request, write, write_all

FAMILIES = ("bloom", "mamba", "qwen3_next", "recurrent_gemma")
"""With caches of keys, of states, of both, and without one that serves."""

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["positive", "negative"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "kind", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("family", FAMILIES)
async def test_guided_replies_are_those_of_the_grammar_and_the_model_alone(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, family: str
):
    folder = tiny_model(family)
    reference = Reference(folder)
    prompts = [reference.prompt(text) for text in PROMPTS[:2]]
    engine = load_engine(folder, prefill_tokens=24)

    replies = await write_all(engine, [request(one, 60, json_schema=SCHEMA) for one in prompts])

    for prompt, reply in zip(prompts, replies, strict=True):
        assert reply.text == reference.guided(prompt, 60, SCHEMA)
        assert json.loads(reply.text)["kind"] in ("positive", "negative")
    assert engine.stats().forced_tokens > 0


async def test_a_seed_gives_the_same_text_whatever_the_neighbours(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    engine = load_engine(tiny_model("bloom"))
    submitted = request([5, 6, 7], 20, temperature=1.0, seed=3)

    alone = await write(engine, submitted)
    among, *_ = await write_all(
        engine,
        [submitted, *(request([9, seed], 20, temperature=1.0, seed=seed) for seed in range(3))],
    )

    assert among.text == alone.text


async def test_the_cache_of_a_sequence_is_freed_when_it_leaves(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    engine = load_engine(tiny_model("bloom"))
    runner = Recorder(engine).runner
    assert isinstance(runner, FallbackRunner)
    stream = engine.generate(request([5, 6, 7], 400))
    await anext(stream)
    assert runner.sequences == 1

    await stream.aclose()
    await write(engine, request([9, 8], 4))

    assert runner.sequences == 0


async def test_sequences_wait_for_a_place_in_order_and_all_are_answered(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    folder = tiny_model("stablelm")
    reference = Reference(folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(folder, max_concurrency=2)

    replies = await write_all(engine, [request(prompt, 12) for prompt in prompts])

    assert [reply.text for reply in replies] == [reference.greedy(one, 12) for one in prompts]
    assert max(size for size, steps in enumerate(engine.stats().steps_by_batch_size) if steps) == 2


@pytest.mark.parametrize("prefill_tokens", [24, 512])
async def test_a_sequence_that_outgrows_the_short_rotation_is_prefilled_again(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, prefill_tokens: int
):
    """Phi-3 turns all keys in another way from 256 tokens on; some prompts are longer."""
    folder = tiny_model("phi3")
    reference = Reference(folder)
    prompts = [[(3 * at + length) % 480 for at in range(length)] for length in (20, 244, 257, 300)]
    engine = load_engine(folder, max_model_len=512, prefill_tokens=prefill_tokens)
    recorder = Recorder(engine)

    await write_all(engine, [request(prompt, 24) for prompt in prompts])

    assert (engine.attention, engine.context_tokens) == ("fallback", 512)
    for prompt in prompts:
        assert recorder.written(prompt) == [reference.greedy_tokens(prompt, 24)]


@pytest.mark.parametrize(
    ("family", "grows", "stays"),
    [("bloom", True, False), ("mamba", False, True), ("qwen3_next", True, True)],
)
def test_memory_is_measured_per_token_and_per_sequence(
    tiny_model: Callable[..., Path], family: str, grows: bool, stays: bool
):
    runner = FallbackRunner(load_model(tiny_model(family), EngineConfig(device="cpu", threads=1)))
    runner.start()

    per_token, per_sequence = runner.cache_bytes()

    assert (per_token > 0, per_sequence > 0) == (grows, stays)
    if family == "bloom":
        assert per_token == 2 * 3 * 48 * 4  # keys and values of three layers in float32


@pytest.mark.parametrize("kind", ["BertConfig", "RobertaConfig", "ElectraConfig"])
def test_a_model_that_reads_what_comes_after_is_refused(
    tiny_model_folder: Path, load_engine: LoadEngine, tmp_path: Path, kind: str
):
    config = getattr(transformers, kind)(vocab_size=512, hidden_size=48, num_hidden_layers=2)
    config.num_attention_heads = 6
    copy_model(tiny_model_folder, tmp_path, config)

    with pytest.raises(ModelError, match=rf"'{kind.removesuffix('Config')}.*\bcausal\b") as no:
        load_engine(tmp_path)
    assert no.value.hint


async def test_a_model_that_keeps_states_of_its_own_is_not_mixed_up(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    """RecurrentGemma keeps them in its modules, one for all sequences."""
    folder = tiny_model("recurrent_gemma")
    reference = Reference(folder)
    engine = load_engine(folder)
    prompts = [reference.prompt(text) for text in PROMPTS[:3]]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(engine, request(prompt, 10))) for prompt in prompts]

    for task, prompt in zip(tasks, prompts, strict=True):
        assert task.result().text == reference.greedy(prompt, 10)


def copy_model(tokenizer: Path, folder: Path, config: Any) -> None:
    """Make a random model in the folder, with the tokenizer of another."""
    for path in tokenizer.glob("*token*"):
        (folder / path.name).write_bytes(path.read_bytes())
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
