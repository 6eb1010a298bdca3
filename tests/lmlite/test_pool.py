"""lmlite/pool.py: each model is loaded once, on first use, and unloaded when room is needed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from conduit_nb.errors import (
    DoesNotFitError,
    EndpointBusyError,
    ModelFilesError,
    ModelNotFoundError,
    RequestRefusedError,
    ServerFailedError,
)
from conduit_nb.lmlite.config import ModelKey
from conduit_nb.lmlite.pool import FAILURE_KEPT_S, FAILURE_LISTED_S, MAX_FAILED_LISTED, ModelPool
from tests.lmlite.described_loader import GIB, DescribedLoader, SomeEngine

KEY = ModelKey(model_id="owner/name")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_pool(loader: DescribedLoader, *, max_in_flight: int = 8, **options: Any) -> ModelPool:
    return ModelPool(loader, **{"max_in_flight": max_in_flight, **options})


def named(name: str) -> ModelKey:
    return ModelKey(model_id=name)


def loaded(pool: ModelPool) -> set[str]:
    return {model["id"] for model in pool.models()}


async def use(pool: ModelPool, key: ModelKey = KEY) -> Any:
    async with pool.engine(key) as engine:
        return engine


def state_of(pool: ModelPool) -> str:
    return pool.models()[0]["conduit"]["state"]


async def test_requests_that_come_together_load_a_model_once():
    loader = DescribedLoader()
    pool = make_pool(loader)

    engines = await asyncio.gather(*(use(pool) for _ in range(5)))

    assert len(loader.loads) == 1
    assert all(engine is engines[0] for engine in engines)


async def test_models_that_differ_in_id_revision_or_precision_are_loaded_apart():
    loader = DescribedLoader()
    pool = make_pool(loader)
    keys = [
        KEY,
        ModelKey(model_id="owner/other"),
        ModelKey(model_id="owner/name", revision="v1"),
        ModelKey(model_id="owner/name", dtype="bfloat16"),
        ModelKey(model_id="owner/name", quantization="int8"),
    ]

    engines = [await use(pool, key) for key in keys]

    assert len(set(map(id, engines))) == 5


async def test_on_the_cpu_auto_is_float32():
    loader = DescribedLoader()
    pool = make_pool(loader)

    assert await use(pool) is await use(pool, ModelKey(model_id="owner/name", dtype="float32"))


async def test_two_models_load_at_the_same_time():
    loader = DescribedLoader(hold=True)
    pool = make_pool(loader)
    both = [asyncio.create_task(use(pool, ModelKey(model_id=name))) for name in ("first", "second")]

    await loader.has_begun()
    loader.may_end.set()

    await asyncio.gather(*both)


async def test_a_load_goes_on_when_its_request_is_cancelled():
    loader = DescribedLoader(hold=True)
    pool = make_pool(loader)
    first = asyncio.create_task(use(pool))
    await loader.has_begun()
    first.cancel()
    await asyncio.wait({first})
    loader.may_end.set()

    await use(pool)

    assert len(loader.loads) == 1


async def test_a_model_shows_its_state():
    loader = DescribedLoader(hold=True)
    pool = make_pool(loader)
    task = asyncio.create_task(use(pool))
    await loader.has_begun()
    loading = pool.models()[0]["conduit"]
    loader.may_end.set()
    await task
    ready = pool.models()[0]["conduit"]

    assert (loading["state"], loading["detail"], loading["waiting"]) == ("loading", "half way", 1)
    assert (ready["state"], ready["context_tokens"], ready["running"]) == ("ready", 64, 3)
    assert "detail" not in ready


async def test_everybody_who_waits_learns_of_a_failure_with_an_error_of_his_own():
    loader = DescribedLoader()
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
    loader, clock = DescribedLoader(), Clock()
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


SECRET = "secret detail"


async def test_a_mistake_of_ours_is_a_server_failure_whose_text_stays_in_the_log(caplog):
    loader = DescribedLoader()
    loader.failure = ZeroDivisionError(SECRET)
    pool = make_pool(loader)

    with pytest.raises(ServerFailedError, match="ZeroDivisionError") as caught:
        await use(pool)

    assert caught.value.reason == "load"
    assert SECRET not in str(caught.value)
    assert SECRET in caplog.text


async def test_one_request_too_many_is_refused_with_a_retry_time():
    loader = DescribedLoader(hold=True)
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
    pool = make_pool(DescribedLoader(), max_in_flight=3)

    async with pool.engine(KEY, replies=2):
        await use(pool)
        with pytest.raises(EndpointBusyError, match=rf"{KEY.model_id} .*\b2\b"):
            async with pool.engine(KEY, replies=2):
                pass
    with pytest.raises(RequestRefusedError, match=r"\b4\b.*\b3\b") as caught:
        async with pool.engine(KEY, replies=4):
            pass
    assert caught.value.param == "n"


async def test_ids_that_name_nothing_do_not_pile_up():
    loader = DescribedLoader()
    loader.failure = ModelFilesError("nothing")
    pool = make_pool(loader)

    for number in range(MAX_FAILED_LISTED + 20):
        with pytest.raises(ModelFilesError):
            await use(pool, ModelKey(model_id=f"nobody/{number}"))

    assert len(pool.models()) <= MAX_FAILED_LISTED + 1


async def test_closing_ends_engines_and_fails_waiting_requests():
    loader = DescribedLoader()
    pool = make_pool(loader)
    engine = await use(pool)
    await loader.has_begun()
    loader.may_end.clear()
    waiting = asyncio.create_task(use(pool, ModelKey(model_id="slow")))
    await loader.has_begun()

    await pool.close()
    for task in (waiting, use(pool, ModelKey(model_id="new"))):
        with pytest.raises(ServerFailedError) as caught:
            await task
        assert caught.value.reason == "stopping"
    loader.may_end.set()

    assert engine.closed


async def test_an_engine_that_broke_is_loaded_again():
    loader = DescribedLoader()
    pool = make_pool(loader)
    broken = await use(pool)
    broken.has_ended = True

    engine = await use(pool)

    assert engine is not broken
    assert len(loader.loads) == 2
    assert state_of(pool) == "ready"


# Memory


async def test_the_model_that_was_used_the_longest_ago_makes_room():
    loader, clock = DescribedLoader(10), Clock()
    pool = make_pool(loader, clock=clock)
    engines: dict[str, Any] = {}
    for name in ("first", "second", "first"):
        clock.now += 1
        engines[name] = await use(pool, named(name))

    await use(pool, named("third"))

    assert loaded(pool) == {"first", "third"}
    assert (engines["first"].closed, engines["second"].closed) == (False, True)
    assert loader.released == 1


async def test_an_unloaded_model_is_loaded_again_when_it_is_requested():
    loader = DescribedLoader(4)
    pool = make_pool(loader)
    for name in ("first", "second", "first"):
        await use(pool, named(name))

    assert [key.model_id for key in loader.loads] == ["first", "second", "first"]
    assert loaded(pool) == {"first"}


async def test_a_model_at_work_is_never_unloaded_and_who_needs_its_room_comes_back_later():
    loader = DescribedLoader(4)
    pool = make_pool(loader)
    async with pool.engine(named("first")) as engine:
        with pytest.raises(EndpointBusyError, match=r"\bsecond\b.*4\.00 GiB") as caught:
            await use(pool, named("second"))
        assert not engine.closed
    assert caught.value.retry_after_s > 0

    await use(pool, named("second"))

    assert loaded(pool) == {"second"}


async def test_two_models_that_load_together_never_count_on_the_same_room():
    loader = DescribedLoader(6, hold=True)
    pool = make_pool(loader)
    one_is_done = asyncio.Event()

    async def hold(name: str) -> None:  # a model that nobody uses any more would make room
        try:
            async with pool.engine(named(name)):
                await one_is_done.wait()
        finally:
            one_is_done.set()

    both = [asyncio.create_task(hold(name)) for name in ("first", "second")]
    await loader.has_begun()
    await loader.has_begun()
    loader.may_end.set()

    done = await asyncio.wait_for(asyncio.gather(*both, return_exceptions=True), timeout=60)

    assert sum(isinstance(one, EndpointBusyError) for one in done) == 1
    assert sum(place.bytes for place in loader.given) <= 6 * GIB


async def test_what_can_never_fit_is_refused_with_numbers():
    loader = DescribedLoader(4)
    loader.needs_gib = 5
    pool = make_pool(loader)
    await_first = named("small")

    with pytest.raises(DoesNotFitError, match=r"\bsmall\b.*5\.00 GiB.*4\.00 GiB") as caught:
        await use(pool, await_first)

    assert (caught.value.needed_gib, caught.value.available_gib) == (5.0, 4.0)
    assert "CONDUIT_LMLITE_MEMORY_GIB" in caught.value.hint
    assert loader.given == []


async def test_a_model_that_does_not_fit_costs_no_other_its_place():
    loader = DescribedLoader(4)
    pool = make_pool(loader)
    engine = await use(pool, named("small"))
    loader.needs_gib = 5

    with pytest.raises(DoesNotFitError):
        await use(pool, named("large"))

    assert not engine.closed
    assert pool.memory()[0]["planned_bytes"] == 4 * GIB


async def test_a_failed_load_keeps_no_room():
    loader = DescribedLoader(4)
    pool = make_pool(loader)
    loader.make = lambda device: 1 / 0
    with pytest.raises(ServerFailedError):
        await use(pool, named("broken"))
    loader.make = SomeEngine

    await use(pool, named("whole"))

    assert pool.memory()[0]["planned_bytes"] == 4 * GIB


async def test_the_length_that_a_request_needs_is_what_is_planned_for():
    loader = DescribedLoader()
    pool = make_pool(loader)

    async with pool.engine(KEY, max_model_len=777):
        pass

    assert loader.lengths == [777]


async def test_an_unloaded_model_is_gone_and_its_memory_free():
    loader = DescribedLoader()
    pool = make_pool(loader)
    engine = await use(pool)

    await pool.unload(KEY.model_id)

    assert engine.closed
    assert loader.released == 1
    assert pool.models() == []
    assert pool.memory() == [{"device": "device:0", "budget_bytes": 64 * GIB, "planned_bytes": 0}]


async def test_what_is_not_loaded_cannot_be_unloaded():
    with pytest.raises(ModelNotFoundError, match=KEY.model_id) as caught:
        await make_pool(DescribedLoader()).unload(KEY.model_id)

    assert caught.value.reason == "missing"


async def test_a_model_at_work_or_on_its_way_is_not_unloaded():
    loader = DescribedLoader(hold=True)
    pool = make_pool(loader)
    loading = asyncio.create_task(use(pool))
    await loader.has_begun()
    with pytest.raises(EndpointBusyError, match=KEY.model_id):
        await pool.unload(KEY.model_id)
    loader.may_end.set()
    await loading

    async with pool.engine(KEY) as engine:
        with pytest.raises(EndpointBusyError, match=KEY.model_id):
            await pool.unload(KEY.model_id)
        assert not engine.closed


async def test_what_did_not_fit_is_tried_again_at_once_when_something_was_unloaded():
    loader = DescribedLoader(4)
    pool = make_pool(loader, clock=Clock())
    await use(pool, named("small"))
    loader.needs_gib = 5
    with pytest.raises(DoesNotFitError):
        await use(pool, named("large"))
    await pool.unload("small")
    loader.needs_gib = 4

    await use(pool, named("large"))

    assert loaded(pool) == {"large"}


async def test_replicas_stand_on_devices_of_their_own_and_share_the_work():
    loader = DescribedLoader(8, 8, 2)
    pool = make_pool(loader, max_in_flight=2)

    info = await pool.load(KEY, replicas=2)
    async with AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(pool.engine(KEY)) for _ in range(4)]
        with pytest.raises(EndpointBusyError):
            await use(pool)

    assert info["conduit"]["device"] == "device:0, device:1"
    assert info["conduit"]["replicas"] == 2
    assert info["conduit"]["memory_bytes"] == 8 * GIB
    assert sorted(engine.device for engine in lent) == [
        "device:0",
        "device:0",
        "device:1",
        "device:1",
    ]


async def test_a_replica_that_broke_leaves_the_work_to_the_others():
    loader = DescribedLoader(8, 8)
    pool = make_pool(loader)
    await pool.load(KEY, replicas=2)
    broken = await use(pool)
    broken.has_ended = True

    assert {(await use(pool)).device for _ in range(3)} == {
        device for device in ("device:0", "device:1") if device != broken.device
    }
    assert len(loader.loads) == 1


async def test_more_replicas_than_devices_and_a_change_of_their_number_are_refused():
    pool = make_pool(DescribedLoader(8, 8))
    with pytest.raises(RequestRefusedError, match=r"\b3\b.*\b2\b") as too_many:
        await pool.load(KEY, replicas=3)
    await pool.load(KEY, replicas=2)

    with pytest.raises(RequestRefusedError, match=f"{KEY.model_id} .*replicas=2") as changed:
        await pool.load(KEY)
    assert too_many.value.param == changed.value.param == "replicas"
    again = await pool.load(KEY, replicas=2)

    assert again["conduit"]["state"] == "ready"


async def test_an_old_failure_is_not_listed():
    loader, clock = DescribedLoader(), Clock()
    loader.failure = ModelFilesError("broken")
    pool = make_pool(loader, clock=clock)
    await asyncio.gather(use(pool), return_exceptions=True)
    assert state_of(pool) == "failed"

    clock.now += FAILURE_LISTED_S + 1

    assert pool.models() == []
