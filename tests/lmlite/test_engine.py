"""engine.py: what a request gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import (
    ContextLengthError,
    ModelError,
    ReplyBudgetError,
    RequestRefusedError,
)
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Reference, request, write, write_all

RECORD = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "negative", "neutral"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "is_spam": {"type": "boolean"},
        "topic": {"enum": ["food", "price", "staff"]},
        "note": {"type": "string", "maxLength": 12},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3},
    },
    "required": ["sentiment", "stars", "is_spam", "topic", "note", "tags"],
    "additionalProperties": False,
}
FLAG = {
    "type": "object",
    "properties": {"is_spam": {"type": "boolean"}},
    "required": ["is_spam"],
    "additionalProperties": False,
}


async def test_a_guided_reply_is_compact_json_that_fits_its_schema(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    prompts = [engine.encode_chat([{"role": "user", "content": text}]) for text in PROMPTS]

    written = await write_all(
        engine, [request(prompt, 300, json_schema=RECORD) for prompt in prompts]
    )

    for reply in written:
        record = json.loads(reply.text)
        jsonschema.validate(record, RECORD)
        assert reply.reason == "stop"
        assert reply.text == json.dumps(record, separators=(",", ":"), ensure_ascii=False)


async def test_forced_tokens_are_the_same_text_in_fewer_forwards(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(tiny_model_folder)
    forwards: list[int] = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: forwards.append(1) if type(module).__name__.endswith("LM") else None
    )
    try:
        written = await write_all(
            engine, [request(prompt, 150, json_schema=RECORD) for prompt in prompts]
        )
    finally:
        hook.remove()

    assert [reply.text for reply in written] == [
        reference.guided(prompt, 150, RECORD) for prompt in prompts
    ]
    assert len(forwards) < max(reply.tokens for reply in written)


async def test_free_and_guided_requests_share_a_batch(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(tiny_model_folder)

    free, guided, other = await write_all(
        engine,
        [
            request(prompts[0], 30),
            request(prompts[1], 150, json_schema=RECORD),
            request(prompts[2], 60, json_schema=FLAG),
        ],
    )

    assert free.text == reference.greedy(prompts[0], 30)
    assert guided.text == reference.guided(prompts[1], 150, RECORD)
    assert other.text in ('{"is_spam":true}', '{"is_spam":false}')


async def test_the_same_seed_is_the_same_text_whatever_runs_alongside(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, prefill_tokens=64)
    prompts = [engine.encode_chat([{"role": "user", "content": text}]) for text in PROMPTS]
    submitted = request(prompts[1], 40, temperature=1.2, top_p=0.9, seed=5)

    alone = await write(engine, submitted)
    crowd = [request(prompt, 40, temperature=1.0) for prompt in prompts]
    together, *_ = await write_all(engine, [submitted, *crowd])
    other = await write(engine, request(prompts[1], 40, temperature=1.2, top_p=0.9, seed=6))

    assert together.text == alone.text
    assert other.text != alone.text


async def test_without_a_seed_each_reply_is_drawn_again(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])

    written = await write_all(engine, [request(prompt, 30, temperature=1.0)] * 3)

    assert len({reply.text for reply in written}) == 3


async def test_no_piece_of_a_reply_has_half_a_character(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    schema = {"type": "string", "minLength": 40, "maxLength": 40, "pattern": "^[Ѐ-ӿ🎉🎈日本]+$"}
    prompt = engine.encode_chat([{"role": "user", "content": "🎉"}])

    reply = await write(engine, request(prompt, 400, json_schema=schema))

    assert len(json.loads(reply.text)) == 40
    assert not any("\ufffd" in piece for piece in reply.pieces)
    assert len([piece for piece in reply.pieces if not piece]) > 10


async def test_text_ends_before_a_stop_string(tiny_model_folder: Path, load_engine: LoadEngine):
    reference = Reference(tiny_model_folder)
    prompt = reference.prompt("hello")
    engine = load_engine(tiny_model_folder)
    whole = reference.greedy(prompt, 40)
    stop = whole[20:24]

    reply = await write(engine, request(prompt, 40, stop=("never there", stop)))

    assert reply.text == whole[: whole.index(stop)]
    assert reply.reason == "stop"
    assert reply.tokens < 40


async def test_a_reply_is_cut_at_max_tokens_and_says_so(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])

    reply = await write(engine, request(prompt, 7))

    assert (reply.reason, reply.tokens) == ("length", 7)


async def test_a_guided_reply_that_runs_out_of_tokens_is_still_a_record(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    whole = await write(engine, request(prompt, 300, json_schema=RECORD))
    with pytest.raises(ReplyBudgetError) as refused:
        await write(engine, request(prompt, 3, json_schema=RECORD))
    needed = refused.value.needed_tokens
    assert needed is not None

    replies = await write_all(
        engine,
        [request(prompt, budget, json_schema=RECORD) for budget in range(needed, whole.tokens + 1)],
    )

    *cut, uncut = replies
    assert uncut == whole
    for budget, reply in enumerate(cut, start=needed):
        jsonschema.validate(json.loads(reply.text), RECORD)
        assert reply.tokens <= budget
        assert reply.reason == "length"


async def test_a_budget_below_the_shortest_record_is_refused_with_what_it_takes(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_model_len=60)

    with pytest.raises(ReplyBudgetError, match=r"\b48 tokens\b.*\b20\b") as refused:
        await write(engine, request([9] * 40, 1000, json_schema=RECORD))

    assert refused.value.needed_tokens == 48
    assert "max_model_len" in refused.value.hint


async def test_a_reply_ends_where_the_context_does(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_model_len=50)
    prompt = list(range(10, 51))

    reply = await write(engine, request(prompt, 1000))

    assert (reply.reason, reply.tokens) == ("length", 9)


async def test_the_longest_prompt_leaves_one_token_and_a_longer_one_is_refused(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_model_len=50, prefill_tokens=8)

    assert (await write(engine, request([9] * 49, 5))).tokens == 1
    with pytest.raises(ContextLengthError, match=r"50 tokens.*50 tokens.*50 tokens") as caught:
        await write(engine, request([9] * 50, 1))
    assert "max_model_len" in caught.value.hint


def test_max_model_len_cannot_raise_what_the_model_can_do(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    assert load_engine(tiny_model_folder, max_model_len=100_000).context_tokens == 512


async def test_a_schema_that_cannot_be_served_is_refused_with_the_keyword_at_fault(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}

    with pytest.raises(RequestRefusedError, match="'uniqueItems'"):
        engine.check_grammar(schema)
    with pytest.raises(RequestRefusedError, match="'uniqueItems'"):
        await write(engine, request([5], 5, json_schema=schema))
    engine.check_grammar(RECORD)


def test_messages_become_the_prompt_by_the_models_template(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    reference = Reference(tiny_model_folder)
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    tokens = engine.encode_chat(messages)

    assert reference.tokenizer.decode(tokens) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_text_that_can_never_fit_is_refused_before_it_is_tokenized(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)

    with pytest.raises(ContextLengthError, match=r"10,000,0\d\d characters.*512 tokens"):
        engine.encode_chat([{"role": "user", "content": "x" * 10_000_000}])


def test_a_model_without_a_chat_template_takes_no_messages(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, tmp_path: Path
):
    engine = load_engine(copy_without(tiny_model(), tmp_path, "chat_template.jinja"))

    with pytest.raises(ModelError, match="chat_template"):
        engine.encode_chat([{"role": "user", "content": "hello"}])


def test_messages_that_the_template_refuses_are_refused_with_its_reason(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, tmp_path: Path
):
    folder = copy_without(tiny_model(), tmp_path, "")
    reason = "No system role"
    (folder / "chat_template.jinja").write_text(f"{{{{ raise_exception('{reason}') }}}}")
    engine = load_engine(folder)

    with pytest.raises(RequestRefusedError, match=reason) as caught:
        engine.encode_chat([{"role": "system", "content": "hello"}])

    assert caught.value.param == "messages"


def copy_without(folder: Path, target: Path, name: str) -> Path:
    for path in folder.iterdir():
        if path.name != name:
            (target / path.name).write_bytes(path.read_bytes())
    return target


async def test_the_tokens_that_end_a_reply_can_be_chosen(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    even = tuple(range(0, 512, 2))

    endless = await write(engine, request(prompt, 12, ignore_eos=True))
    ended = await write(engine, request(prompt, 12, stop_token_ids=even))
    longer = await write(engine, request(prompt, 12, stop_token_ids=even, min_tokens=8))

    assert (endless.reason, endless.tokens) == ("length", 12)
    assert ended.reason == "stop"
    assert ended.tokens < 8 < longer.tokens


async def test_an_engine_counts_its_steps_and_tokens(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=4)
    prompt = engine.encode_text("hello")

    free = await write(engine, request(prompt, 5))
    alone = engine.stats()
    guided = await write(engine, request(prompt, 50, json_schema=FLAG))
    after = engine.stats()

    assert (alone.prefill_tokens, alone.generated_tokens, alone.forced_tokens) == (
        len(prompt),
        free.tokens,
        0,
    )
    assert alone.steps_by_batch_size == (0, free.tokens, 0, 0, 0)
    assert after.generated_tokens == free.tokens + guided.tokens
    assert 0 < after.forced_tokens < guided.tokens
    assert (after.grammar_hits, after.grammar_misses) == (0, 1)
    assert (after.running, after.waiting) == (0, 0)
    assert after.pages > 0


async def test_steps_are_counted_by_batch_size(tiny_model_folder: Path, load_engine: LoadEngine):
    engine = load_engine(tiny_model_folder, max_concurrency=2, batch_timeout_ms=5000)

    replies = await write_all(engine, [request([9, 8, 7], 6)] * 2)

    stats = engine.stats()
    assert stats.steps_by_batch_size[2] > 0
    assert sum(size * steps for size, steps in enumerate(stats.steps_by_batch_size)) == (
        sum(reply.tokens for reply in replies)
    )
