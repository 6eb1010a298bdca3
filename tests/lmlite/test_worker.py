"""worker.py: who comes, who leaves, and what happens when a step fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import ConduitError, ServerFailedError
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.model_loader import load_model
from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.runners import choose_runner
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Scheduler, Sequence
from conduit_nb.lmlite.worker import Job, Worker
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import request, write

OUT_OF_MEMORY = "out of memory, for a test"


async def test_requests_beyond_the_concurrency_wait_in_order(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    finished: list[int] = []
    counts: list[tuple[int, int]] = []

    async def run(number: int) -> None:
        counts.extend(
            [(engine.running, engine.waiting) async for _ in engine.generate(request(prompt, 10))]
        )
        finished.append(number)

    await asyncio.gather(*(run(number) for number in range(4)))

    assert finished == [0, 1, 2, 3]
    assert max(running for running, _ in counts) == 1
    assert max(waiting for _, waiting in counts) == 3


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_reader_that_leaves_frees_its_place_in_the_batch(
    tiny_model_folder: Path, load_engine: LoadEngine, how: str
):
    engine = load_engine(tiny_model_folder, max_concurrency=1)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    stream = engine.generate(request(prompt, 400))
    await anext(stream)
    if how == "close":
        await stream.aclose()
    else:
        reader = asyncio.create_task(drain(stream))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

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


async def test_the_shortest_batch_timeout_decides_when_a_batch_begins(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, batch_timeout_ms=60_000)
    patient = replace(request([5, 6, 7], 4), batch_timeout_ms=None)
    hasty = replace(request([5, 6, 7], 4), batch_timeout_ms=0)

    async with asyncio.timeout(30):
        waiting = asyncio.create_task(write(engine, patient))
        await asyncio.sleep(0)
        assert (await write(engine, hasty)).text == (await waiting).text


async def test_a_step_that_fails_fails_its_requests_and_no_others(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    engine = load_engine(tiny_model_folder, max_concurrency=2)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    hook = fail_on_token(9)
    try:
        bad = asyncio.create_task(write(engine, request([9, 9, 9], 5)))
        with pytest.raises(ServerFailedError, match=OUT_OF_MEMORY) as caught:
            await asyncio.wait_for(bad, 10)
        assert caught.value.reason == "step"
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
    assert [result.reason for result in results] == ["step"] * 3 + ["ended"] * 2
    with pytest.raises(ServerFailedError) as caught:
        await write(engine, request([5], 5))
    assert caught.value.reason == "ended"
    assert engine.has_ended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_pages_do_not_add_up_when_it_is_idle_ends(tiny_model_folder: Path):
    config = EngineConfig(device="cpu", threads=1, cache_tokens=8 * 16)
    runner, pages = choose_runner(load_model(tiny_model_folder, config), config, 8 * 16)
    pool = PagePool(pages, 16)
    pool.run(1)  # that nobody has
    worker = Worker(
        runner=runner,
        scheduler=Scheduler(pool, max_sequences=2, prefill_budget=32),
        max_sequences=2,
    )
    delivered: list[GenerationDelta | ConduitError] = []
    is_delivered = threading.Event()

    def deliver(item: GenerationDelta | ConduitError) -> None:
        delivered.append(item)
        is_delivered.set()

    job = Job(
        reply=Reply(
            sequence=Sequence(number=0, tokens=[5, 6, 7]),
            max_tokens=1,
            sampling=SamplingParams(),
            guide=None,
            detokenizer=Detokenizer(str),
            end_tokens=frozenset(),
            repetition_guard=RepetitionGuard(lambda text: None),
        ),
        batch_timeout_s=0,
        deliver=deliver,
    )
    worker.submit(job)
    assert is_delivered.wait(30)
    worker.close()

    assert [type(item) for item in delivered] == [GenerationDelta]
    assert worker.has_ended
    with pytest.raises(ServerFailedError):
        worker.submit(job)


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
    assert [result.reason for result in results] == ["ended"] * 3
    with pytest.raises(ServerFailedError) as caught:
        await write(engine, request(prompt, 5))
    assert caught.value.reason == "ended"
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


async def drain(stream: AsyncGenerator[Any, None]) -> None:
    async for _ in stream:
        pass


async def until(is_so: Callable[[], bool]) -> None:
    """Let other tasks run until `is_so`; the test's own time limit is the test's."""
    while not is_so():  # noqa: ASYNC110  # what we wait for happens in the engine's thread
        await asyncio.sleep(0)


def fail_on_token(token: int) -> Any:
    """Let every embedding of `token` fail, as a device without memory would."""

    def fail(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and (arguments[0] == token).any():
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    return torch.nn.modules.module.register_module_forward_pre_hook(fail)
