"""lmlite/pool.py: each model is loaded once, when asked for, and again where that failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from conduit_nb.errors import (
    EndpointBusyError,
    ModelFilesError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.lmlite.pool import FAILED_KEPT, FAILURE_KEPT_S, ModelKey, ModelPool

KEY = ModelKey(model_id="owner/name")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class SomeEngine:
    """As much of an engine as a pool looks at."""

    context_tokens = 64
    device = "cpu"
    dtype = "float32"
    attention = "packed"
    running = 3
    waiting = 2
    closed = False
    has_ended = False

    def close(self) -> None:
        self.closed = True


class Loader:
    """Loads when told to, and counts."""

    def __init__(self, *, hold: bool = False) -> None:
        self.loads: list[ModelKey] = []
        self.may_end = threading.Event()
        self.begun = threading.Semaphore(0)
        self.failure: Exception | None = None
        if not hold:
            self.may_end.set()

    def __call__(self, key: ModelKey, progress: Callable[[str], None]) -> Any:
        self.loads.append(key)
        progress("half way")
        self.begun.release()
        assert self.may_end.wait(10)
        if self.failure is not None:
            raise self.failure
        return SomeEngine()

    async def has_begun(self) -> None:
        """Return when one more load is under way."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


def make_pool(loader: Loader, *, max_in_flight: int = 8, **options: Any) -> ModelPool:
    return ModelPool(loader, **{"device": "cpu", "max_in_flight": max_in_flight, **options})


async def use(pool: ModelPool, key: ModelKey = KEY) -> Any:
    async with pool.engine(key) as engine:
        return engine


def state_of(pool: ModelPool) -> str:
    return pool.models()[0]["conduit"]["state"]


async def test_requests_that_come_together_load_a_model_once():
    loader = Loader()
    pool = make_pool(loader)

    engines = await asyncio.gather(*(use(pool) for _ in range(5)))

    assert len(loader.loads) == 1
    assert all(engine is engines[0] for engine in engines)


async def test_models_that_differ_in_id_revision_or_precision_are_loaded_apart():
    loader = Loader()
    pool = make_pool(loader)
    keys = [
        KEY,
        ModelKey(model_id="owner/other"),
        ModelKey(model_id="owner/name", revision="v1"),
        ModelKey(model_id="owner/name", dtype="bfloat16"),
    ]

    engines = [await use(pool, key) for key in keys]

    assert len(set(map(id, engines))) == 4


async def test_on_the_cpu_auto_is_float32():
    loader = Loader()
    pool = make_pool(loader)

    assert await use(pool) is await use(pool, ModelKey(model_id="owner/name", dtype="float32"))


async def test_two_models_load_at_the_same_time():
    loader = Loader(hold=True)
    pool = make_pool(loader)
    both = [asyncio.create_task(use(pool, ModelKey(model_id=name))) for name in ("first", "second")]

    await loader.has_begun()
    loader.may_end.set()

    await asyncio.gather(*both)


async def test_a_load_goes_on_when_the_one_who_asked_leaves():
    loader = Loader(hold=True)
    pool = make_pool(loader)
    first = asyncio.create_task(use(pool))
    await loader.has_begun()
    first.cancel()
    await asyncio.wait({first})
    loader.may_end.set()

    await use(pool)

    assert len(loader.loads) == 1


async def test_a_model_shows_its_state():
    loader = Loader(hold=True)
    pool = make_pool(loader)
    asked = asyncio.create_task(use(pool))
    await loader.has_begun()
    loading = pool.models()[0]["conduit"]
    loader.may_end.set()
    await asked
    ready = pool.models()[0]["conduit"]

    assert (loading["state"], loading["detail"], loading["waiting"]) == ("loading", "half way", 1)
    assert (ready["state"], ready["context_tokens"], ready["running"]) == ("ready", 64, 3)
    assert "detail" not in ready


async def test_everybody_who_waits_learns_of_a_failure_with_an_error_of_his_own():
    loader = Loader()
    loader.failure = ModelFilesError("broken", hint="fetch it again")
    pool = make_pool(loader)

    errors = await asyncio.gather(*(use(pool) for _ in range(3)), return_exceptions=True)

    assert [str(error) for error in errors] == ["broken"] * 3
    assert {type(error) for error in errors} == {ModelFilesError}
    assert len(set(map(id, errors))) == 3
    assert errors[0].hint == "fetch it again"
    assert len(loader.loads) == 1
    assert state_of(pool) == "failed"


async def test_a_failure_is_kept_for_a_moment_and_then_tried_again():
    loader, clock = Loader(), Clock()
    loader.failure = ModelFilesError("broken")
    pool = make_pool(loader, clock=clock)
    for _ in range(3):
        with pytest.raises(ModelFilesError):
            await use(pool)
    assert len(loader.loads) == 1

    clock.now += FAILURE_KEPT_S
    loader.failure = None
    await use(pool)

    assert len(loader.loads) == 2
    assert state_of(pool) == "ready"


async def test_a_mistake_of_ours_is_a_server_failure_whose_text_stays_in_the_log(caplog):
    loader = Loader()
    loader.failure = ZeroDivisionError("secret detail")
    pool = make_pool(loader)

    with pytest.raises(ServerFailedError, match="ZeroDivisionError") as caught:
        await use(pool)

    assert "secret detail" not in str(caught.value)
    assert "secret detail" in caplog.text


async def test_one_request_too_many_is_told_when_to_come_back():
    loader = Loader(hold=True)
    pool = make_pool(loader, max_in_flight=2)
    waiting = [asyncio.create_task(use(pool)) for _ in range(2)]
    await loader.has_begun()

    with pytest.raises(EndpointBusyError) as caught:
        await use(pool)
    loader.may_end.set()
    await asyncio.gather(*waiting)

    assert caught.value.retry_after_s > 0
    await use(pool)


async def test_a_request_for_several_replies_takes_as_many_places():
    pool = make_pool(Loader(), max_in_flight=3)

    async with pool.engine(KEY, replies=2):
        await use(pool)
        with pytest.raises(EndpointBusyError, match="2 requests"):
            async with pool.engine(KEY, replies=2):
                pass
    with pytest.raises(RequestRefusedError, match=r"4 replies.*at most 3"):
        async with pool.engine(KEY, replies=4):
            pass


async def test_ids_that_name_nothing_do_not_pile_up():
    loader = Loader()
    loader.failure = ModelFilesError("nothing")
    pool = make_pool(loader)

    for number in range(FAILED_KEPT + 20):
        with pytest.raises(ModelFilesError):
            await use(pool, ModelKey(model_id=f"nobody/{number}"))

    assert len(pool.models()) <= FAILED_KEPT + 1


async def test_closing_ends_engines_and_tells_who_waits():
    loader = Loader()
    pool = make_pool(loader)
    engine = await use(pool)
    await loader.has_begun()
    loader.may_end.clear()
    waiting = asyncio.create_task(use(pool, ModelKey(model_id="slow")))
    await loader.has_begun()

    await pool.close()
    with pytest.raises(ServerFailedError, match="stopping"):
        await waiting
    with pytest.raises(ServerFailedError, match="stopping"):
        await use(pool, ModelKey(model_id="new"))
    loader.may_end.set()

    assert engine.closed


async def test_an_engine_that_broke_is_loaded_anew():
    loader = Loader()
    pool = make_pool(loader)
    broken = await use(pool)
    broken.has_ended = True

    engine = await use(pool)

    assert engine is not broken
    assert len(loader.loads) == 2
    assert state_of(pool) == "ready"
