"""lmlite/memory_budget.py: what a model needs before it is loaded."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import PlannedModel
from conduit_nb.errors import ModelError, ModelFilesError
from conduit_nb.lmlite.memory_budget import (
    MIN_CONTEXT_TOKENS,
    UNKNOWN_CACHE_BYTES,
    LoadOptions,
    estimate,
)
from conduit_nb.models.tensors import Tensor
from conduit_nb.models.weights import read_model
from tests.lmlite.server_process import server_process
from tests.models.published import safetensors_header

GIB = 2**30


@pytest.fixture(scope="module")
def tiny(tiny_model) -> Path:
    return tiny_model(context_tokens=16384)


def test_it_must_have_room_for_its_weights_and_one_context_of_some_length(tiny):
    whole = estimate("tiny", tiny, LoadOptions(device="cpu", max_concurrency=4))
    per_token = whole.need.min_cache_bytes // MIN_CONTEXT_TOKENS

    assert whole.tokens == MIN_CONTEXT_TOKENS
    assert whole.weight_bytes == pytest.approx(
        sum(path.stat().st_size for path in tiny.glob("*.safetensors")), rel=0.2
    )
    assert whole.need.fixed_bytes > whole.weight_bytes
    assert whole.need.max_cache_bytes == pytest.approx(4 * 16384 * per_token * 1.25, rel=0.01)


def test_what_a_request_needs_of_the_context_is_what_must_fit(tiny):
    short = estimate("tiny", tiny, LoadOptions(device="cpu", max_model_len=512))
    long = estimate("tiny", tiny, LoadOptions(device="cpu", max_model_len=16384))
    beyond = estimate("tiny", tiny, LoadOptions(device="cpu", max_model_len=10**6))

    assert long.need.min_cache_bytes == 32 * short.need.min_cache_bytes
    assert beyond.need == long.need


def test_half_the_precision_is_half_the_weights_and_half_the_cache(tiny):
    whole = estimate("tiny", tiny, LoadOptions(device="cpu"))
    half = estimate("tiny", tiny, LoadOptions(device="cpu", dtype="bfloat16"))

    assert half.weight_bytes == whole.weight_bytes // 2
    assert half.need.min_cache_bytes == whole.need.min_cache_bytes // 2


def test_a_gpu_serves_a_model_in_its_own_precision(tmp_path, tiny):
    for path in tiny.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))

    on_gpu = estimate("tiny", tmp_path, LoadOptions(device="cuda"))
    on_cpu = estimate("tiny", tmp_path, LoadOptions(device="cpu"))

    assert on_cpu.weight_bytes == 2 * on_gpu.weight_bytes


def test_what_is_granted_is_for_the_cache_and_for_gathering_its_pages(tiny):
    one = estimate("tiny", tiny, LoadOptions(device="cpu", max_concurrency=32))

    assert one.cache_bytes(one.need.min_cache_bytes) == one.need.min_cache_bytes
    assert one.cache_bytes(one.need.max_cache_bytes) == one.need.max_cache_bytes / 1.25


def test_states_of_one_size_are_planned_for_each_sequence(tiny_model):
    folder = tiny_model("mamba")
    one, many = (
        estimate("tiny", folder, LoadOptions(device="cpu", max_concurrency=count)).need
        for count in (1, 8)
    )

    assert one.min_cache_bytes == many.min_cache_bytes > 0
    assert many.max_cache_bytes == 8 * one.max_cache_bytes == 10 * one.min_cache_bytes


def test_a_layout_that_the_planner_does_not_know_counts_by_its_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "strange"}))
    tensor = Tensor(name="model.norm.weight", shape=(64,))
    (tmp_path / "model.safetensors").write_bytes(safetensors_header([tensor]))

    strange = estimate("strange", tmp_path, LoadOptions(device="cpu"))

    assert strange.plan is None
    assert strange.need.min_cache_bytes == 0
    assert strange.need.max_cache_bytes == UNKNOWN_CACHE_BYTES
    assert strange.need.fixed_bytes > strange.weight_bytes == 64 * 4
    assert strange.refusal(1).largest_model_len is None


def test_a_refusal_says_what_would_fit(tiny):
    refused = estimate("owner/tiny", tiny, LoadOptions(device="cpu", max_model_len=16384))
    available = refused.need.min_bytes - refused.need.min_cache_bytes // 2

    refusal = refused.refusal(available)
    length = refusal.largest_model_len
    assert length is not None
    fits = estimate("tiny", tiny, LoadOptions(device="cpu", max_model_len=length))
    longer = estimate("tiny", tiny, LoadOptions(device="cpu", max_model_len=length + 16))

    assert re.search(r"owner/tiny .*\d GiB.*\d GiB", str(refusal))
    assert re.search(rf"\b{length:,}\b", refusal.hint)
    assert refusal.needed_gib * GIB == refused.need.min_bytes
    assert fits.need.min_bytes <= available < longer.need.min_bytes


def test_a_layer_that_looks_at_few_tokens_keeps_all_of_them_here(tiny_model):
    folder = tiny_model("mistral")
    config = json.loads((folder / "config.json").read_text())
    assert 0 < config["sliding_window"] < config["max_position_embeddings"]
    options = [LoadOptions(device="cpu", max_model_len=length) for length in (128, 256)]

    short, long = (estimate("tiny", folder, one).need.min_cache_bytes for one in options)

    assert long == 2 * short


def test_broken_files_and_unknown_packings_are_errors_of_the_model(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelFilesError):
        estimate("broken", tmp_path, LoadOptions(device="cpu"))
    packed = {"model_type": "llama", "quantization_config": {"quant_method": "magic"}}
    (tmp_path / "config.json").write_text(json.dumps(packed))
    tensor = Tensor(name="model.norm.weight", shape=(64,))
    (tmp_path / "model.safetensors").write_bytes(safetensors_header([tensor]))
    with pytest.raises(ModelError, match="'magic'"):
        estimate("packed", tmp_path, LoadOptions(device="cpu"))


@pytest.mark.model
@pytest.mark.slow  # a server that loads and asks the real model, to measure it
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count shared pages otherwise")
def test_the_plan_of_the_embedded_model_is_what_the_process_takes(embedded_model_folder: Path):
    count, words = 4, 480
    arguments = ("--device", "cpu", "--max-concurrency", str(count))
    with server_process(*arguments, is_forked=False) as server:
        with ThreadPoolExecutor(count) as threads:
            replies = list(
                threads.map(
                    lambda number: server.chat(
                        embedded_model_folder, f"{number}{' word' * words}", max_tokens=4
                    ).json(),
                    range(count),
                )
            )
        taken = psutil.Process(server.process.pid).memory_info().rss
    tokens = max(reply["usage"]["total_tokens"] for reply in replies)
    spec, weights = read_model(embedded_model_folder)
    planned = plan(
        [
            PlannedModel(
                model_id="embedded",
                spec=spec,
                weights=weights,
                max_model_len=tokens,
                max_model_concurrency=count,
            )
        ]
    )

    assert planned.largest_device_bytes == pytest.approx(taken, rel=0.1)
