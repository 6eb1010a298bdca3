"""lmlite/engine_loader.py: a model's memory is what was planned, and is given back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.compute.host_memory import own_memory_bytes
from conduit_nb.errors import ContextLengthError
from conduit_nb.lmlite.config import EngineConfig, ModelKey
from conduit_nb.lmlite.devices import Devices
from conduit_nb.lmlite.engine_loader import EngineLoader
from conduit_nb.lmlite.pool import ModelPool
from tests.lmlite.generation import request, write, write_all

MIB = 2**20


def make_pool(**config: int) -> ModelPool:
    devices = Devices("cpu", memory_gib=4)
    loader = EngineLoader(EngineConfig(device="cpu", threads=1, **config), devices)
    return ModelPool(loader, max_in_flight=4)


async def test_a_models_cache_is_as_large_as_its_place_allows(tiny_model):
    pool = make_pool(max_concurrency=2)
    key = ModelKey(model_id=str(tiny_model(context_tokens=2048)))

    async with pool.engine(key) as engine:
        pages = engine.stats().pages
    await pool.close()

    assert pages == 2 * 2048 // 16


async def test_a_tight_budget_shortens_the_context_and_not_the_life_of_the_process(tiny_model):
    key = ModelKey(model_id=str(tiny_model(context_tokens=8192)))
    loader = EngineLoader(EngineConfig(device="cpu", threads=1), Devices("cpu"))
    found = loader.find(key, 1024, print)
    budget = found.estimate.need.min_bytes + 128

    class Tight(EngineLoader):
        def budgets(self) -> dict[str, int]:
            return {"cpu": budget}

    pool = ModelPool(Tight(EngineConfig(device="cpu", threads=1), Devices("cpu")), max_in_flight=4)
    async with pool.engine(key, max_model_len=1024) as engine:
        assert engine.context_tokens == 1024
        with pytest.raises(ContextLengthError):
            await write(engine, request([1] * 1024))
        assert (await write(engine, request([1] * 1000, 24))).tokens <= 24
    await pool.close()


@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count shared pages otherwise")
async def test_an_unloaded_model_gives_its_memory_back(embedded_model_folder: Path):
    pool = make_pool(max_concurrency=1)
    key = ModelKey(model_id=str(embedded_model_folder))
    async with pool.engine(key) as engine:
        await write(engine, request(range(100, 200), 2))
    assert pool.memory()[0]["planned_bytes"] > 0
    with_model = own_memory_bytes()
    del engine

    await pool.unload(key.model_id)

    assert pool.memory()[0]["planned_bytes"] == 0
    given_back = with_model - own_memory_bytes()
    assert given_back > 0.8 * 620 * MIB


@pytest.mark.gpu
@pytest.mark.model
async def test_on_a_gpu_a_model_takes_what_was_planned(embedded_model_folder: Path):
    torch.cuda.reset_peak_memory_stats(0)
    loader = EngineLoader(EngineConfig(device="cuda:0", max_concurrency=4), Devices("cuda:0"))
    pool = ModelPool(loader, max_in_flight=4)
    key = ModelKey(model_id=str(embedded_model_folder))
    async with pool.engine(key) as engine:
        room = engine.context_tokens - 8
        requests = [
            request([1000 + (number * 7 + i) % 9000 for i in range(room)], 4) for number in range(4)
        ]
        await write_all(engine, requests)
    (device,) = pool.memory()
    taken = torch.cuda.max_memory_allocated(0)
    del engine

    await pool.unload(key.model_id)

    assert 0.7 * device["planned_bytes"] < taken <= device["planned_bytes"]
    assert torch.cuda.memory_reserved(0) < 0.1 * taken


@pytest.mark.gpu
@pytest.mark.skipif("torch.cuda.device_count() < 2", reason="needs two CUDA devices")
async def test_on_two_gpus_replicas_write_the_same(tiny_model):
    loader = EngineLoader(EngineConfig(device="cuda", dtype="float32"), Devices("cuda"))
    pool = ModelPool(loader, max_in_flight=4)
    key = ModelKey(model_id=str(tiny_model()), dtype="float32")
    await pool.load(key, replicas=2)

    texts = [(await write(engine, request([5, 6, 7], 24))).text for _, engine in pool.engines()]
    await pool.close()

    assert len(texts) == 2
    assert texts[0] == texts[1]
