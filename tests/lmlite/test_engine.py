from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import (
    ContextLengthError,
    ModelError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import Reference, request, write, write_all

PROMPTS = (
    "hello",
    "The quick brown fox",
    "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich. 日本語 🎉",
    "a " * 60,
    "true false true false",
    "b",
)
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


async def test_rows_that_gave_up_their_pages_write_the_same_text(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(tiny_model_folder, max_concurrency=4, cache_tokens=14 * PAGE_TOKENS)
    assert engine.context_tokens == 14 * PAGE_TOKENS

    written = await write_all(engine, [request(prompt, 80) for prompt in prompts])

    assert engine.preemptions > 0
    assert [reply.text for reply in written] == [reference.greedy(one, 80) for one in prompts]


async def test_rows_with_a_common_beginning_read_it_once_and_write_the_same_text(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(f"{'The quick brown fox. ' * 9} {text}") for text in PROMPTS]
    engine = load_engine(tiny_model_folder, prefill_tokens=64)

    written = await write_all(engine, [request(prompt, 40) for prompt in prompts])

    assert engine.reused_tokens > 3 * 60
    assert [reply.text for reply in written] == [reference.greedy(one, 40) for one in prompts]


async def test_rows_one_after_another_read_their_common_beginning_once(
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


async def test_what_is_kept_gives_way_where_memory_is_short_and_the_text_is_the_same(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    reference = Reference(tiny_model_folder)
    prompts = [reference.prompt(text) for text in PROMPTS]
    engine = load_engine(
        tiny_model_folder, cache_tokens=14 * PAGE_TOKENS, kept_tokens=14 * PAGE_TOKENS
    )
    expected = [reference.greedy(prompt, 80) for prompt in prompts]

    for _ in range(2):
        for prompt, text in zip(prompts, expected, strict=True):
            assert (await write(engine, request(prompt, 80))).text == text
    together = await write_all(engine, [request(prompt, 80) for prompt in prompts * 2])

    assert engine.preemptions > 0
    assert engine.reused_tokens > 0
    assert [reply.text for reply in together] == expected * 2


async def test_what_a_cancelled_row_has_read_serves_the_next(
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


async def test_nothing_is_reused_where_nothing_may_be_kept(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, kept_tokens=0)

    for _ in range(2):
        await write(engine, request([9] * 100, 5))

    assert engine.reused_tokens == 0


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
            engine, [request(prompt, 60, json_schema=RECORD) for prompt in prompts]
        )
    finally:
        hook.remove()

    assert [reply.text for reply in written] == [
        reference.guided(prompt, 60, RECORD) for prompt in prompts
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
            request(prompts[1], 60, json_schema=RECORD),
            request(prompts[2], 60, json_schema=FLAG),
        ],
    )

    assert free.text == reference.greedy(prompts[0], 30)
    assert guided.text == reference.guided(prompts[1], 60, RECORD)
    assert other.text in ('{"is_spam":true}', '{"is_spam":false}')


async def test_the_same_seed_is_the_same_text_whatever_runs_beside_it(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, prefill_tokens=64)
    prompts = [engine.encode_chat([{"role": "user", "content": text}]) for text in PROMPTS]
    asked = request(prompts[1], 40, temperature=1.2, top_p=0.9, seed=5)

    alone = await write(engine, asked)
    crowd = [request(prompt, 40, temperature=1.0) for prompt in prompts]
    together, *_ = await write_all(engine, [asked, *crowd])
    other = await write(engine, request(prompts[1], 40, temperature=1.2, top_p=0.9, seed=6))

    assert together.text == alone.text
    assert other.text != alone.text


async def test_without_a_seed_each_reply_is_drawn_anew(
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

    free, guided = await write_all(
        engine, [request(prompt, 7), request(prompt, 3, json_schema=RECORD)]
    )

    assert (free.reason, free.tokens) == ("length", 7)
    assert (guided.reason, guided.tokens) == ("length", 3)
    assert '{"sentiment":"'.startswith(guided.text)


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
    with pytest.raises(ContextLengthError, match=r"50 tokens.*context of 50 tokens") as caught:
        await write(engine, request([9] * 50, 1))
    assert "max_model_len" in caught.value.hint


def test_max_model_len_cannot_raise_what_the_model_can_do(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    assert load_engine(tiny_model_folder, max_model_len=100_000).context_tokens == 512


async def test_requests_beyond_the_concurrency_wait_in_order(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    finished: list[int] = []
    most: list[tuple[int, int]] = []

    async def run(number: int) -> None:
        most.extend(
            [(engine.running, engine.waiting) async for _ in engine.generate(request(prompt, 10))]
        )
        finished.append(number)

    await asyncio.gather(*(run(number) for number in range(4)))

    assert finished == [0, 1, 2, 3]
    assert max(running for running, _ in most) == 1
    assert max(waiting for _, waiting in most) == 3


async def drain(stream: AsyncGenerator[Any, None]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_reader_that_leaves_frees_the_row(
    tiny_model_folder: Path, load_engine: LoadEngine, how: str
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    stream = engine.generate(request(prompt, 400))
    await anext(stream)
    if how == "close":
        await stream.aclose()
    else:
        reading = asyncio.create_task(drain(stream))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    reply = await asyncio.wait_for(write(engine, request(prompt, 3)), 10)

    assert reply.tokens == 3
    assert (engine.running, engine.waiting) == (0, 0)


async def test_a_request_that_leaves_while_it_waits_is_forgotten(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    first = asyncio.create_task(write(engine, request(prompt, 100)))
    second = asyncio.create_task(write(engine, request(prompt, 100)))
    await until(lambda: engine.running + engine.waiting == 2)
    second.cancel()

    assert (await first).tokens == 100
    assert (engine.running, engine.waiting) == (0, 0)


async def test_a_schema_that_cannot_be_served_is_refused_with_the_keyword_at_fault(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder)
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}

    with pytest.raises(RequestRefusedError, match="uniqueItems"):
        engine.check_grammar(schema)
    with pytest.raises(RequestRefusedError, match="uniqueItems"):
        await write(engine, request([5], 5, json_schema=schema))
    engine.check_grammar(RECORD)


async def test_a_step_that_fails_fails_its_requests_and_no_others(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=2)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    hook = fail_on_token(9)
    try:
        bad = asyncio.create_task(write(engine, request([9, 9, 9], 5)))
        with pytest.raises(ServerFailedError, match="out of memory, for a test"):
            await asyncio.wait_for(bad, 10)
        good = await asyncio.wait_for(write(engine, request(prompt, 5)), 10)
    finally:
        hook.remove()

    assert good.tokens == 5
    assert (engine.running, engine.waiting) == (0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_whose_steps_keep_failing_ends_and_hangs_nobody(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    hook = fail_on_token(9)
    try:
        results = await asyncio.wait_for(
            asyncio.gather(
                *(write(engine, request([9], 5)) for _ in range(5)), return_exceptions=True
            ),
            10,
        )
    finally:
        hook.remove()

    assert [type(result) for result in results] == [ServerFailedError] * 5
    assert ["out of memory" in str(result) for result in results] == [True] * 3 + [False] * 2
    with pytest.raises(ServerFailedError, match="has ended"):
        await write(engine, request([5], 5))
    assert engine.has_ended


async def test_closing_fails_what_is_open_and_what_comes_after(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    opened = [asyncio.create_task(write(engine, request(prompt, 450))) for _ in range(3)]
    await until(lambda: engine.running == 1)

    await asyncio.to_thread(engine.close)
    engine.close()

    results = await asyncio.gather(*opened, return_exceptions=True)
    assert [type(result) for result in results] == [ServerFailedError] * 3
    with pytest.raises(ServerFailedError, match="has ended"):
        await write(engine, request(prompt, 5))
    assert not [thread for thread in threading.enumerate() if thread.name == "lmlite-engine"]


async def test_a_reader_whose_loop_is_gone_disturbs_nobody(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=2)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        stream = engine.generate(request(prompt, 300))
        loop.run_until_complete(anext(stream))
        loop.close()
        abandoned.append(stream)

    abandoned: list[AsyncGenerator[Any, None]] = []
    await asyncio.to_thread(abandon)

    assert (await asyncio.wait_for(write(engine, request(prompt, 5)), 10)).tokens == 5


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

    with pytest.raises(ModelError, match="no chat template"):
        engine.encode_chat([{"role": "user", "content": "hello"}])


def test_messages_that_the_template_refuses_are_refused_with_its_reason(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, tmp_path: Path
):
    folder = copy_without(tiny_model(), tmp_path, "")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('No system role') }}")
    engine = load_engine(folder)

    with pytest.raises(RequestRefusedError, match="No system role"):
        engine.encode_chat([{"role": "system", "content": "hello"}])


def common(prompts: list[list[int]]) -> int:
    """Return how many tokens all of them begin with alike."""
    columns = zip(*prompts, strict=False)
    return next((at for at, column in enumerate(columns) if len(set(column)) > 1), 0)


async def until(is_so: Callable[[], bool]) -> None:
    """Let other tasks run until `is_so`; the test's own time limit is the test's."""
    while not is_so():  # noqa: ASYNC110  # what we wait for happens in the engine's thread
        await asyncio.sleep(0)


def copy_without(folder: Path, target: Path, name: str) -> Path:
    for path in folder.iterdir():
        if path.name != name:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def fail_on_token(token: int) -> Any:
    """Let every embedding of `token` fail, as a device without memory would."""

    def fail(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and (arguments[0] == token).any():
            raise torch.OutOfMemoryError("out of memory, for a test")

    return torch.nn.modules.module.register_module_forward_pre_hook(fail)


async def test_the_least_patient_request_says_when_a_batch_begins(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, batch_timeout_ms=60_000)
    patient = replace(request([5, 6, 7], 4), batch_timeout_ms=None)
    hasty = replace(request([5, 6, 7], 4), batch_timeout_ms=0)

    async with asyncio.timeout(30):
        waiting = asyncio.create_task(write(engine, patient))
        await asyncio.sleep(0)
        assert (await write(engine, hasty)).text == (await waiting).text
