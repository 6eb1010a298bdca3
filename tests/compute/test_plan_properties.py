"""Plans, whatever the model and the numbers: what must hold always."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from conduit_nb.compute.fit import Device, misfits
from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import Plan, PlannedModel
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import parameter_count
from conduit_nb.models.weights import Weights
from tests.compute.planned import plan_of

NAMES = st.sampled_from(
    [
        *("Llama-3.1-8B-Instruct", "Qwen2.5-7B-Instruct", "DeepSeek-V2-Lite", "gpt-oss-20b"),
        *("gemma-3-4b-it", "Qwen3-Next-80B-A3B", "Mistral-7B-v0.1", "Mixtral-8x7B-v0.1"),
    ]
)
RUNTIMES = st.sampled_from(["vllm", "sglang", "llama.cpp", "lmlite"])
TOKENS = st.integers(1, 16_384)
ROWS = st.integers(1, 64)


@st.composite
def models(draw: st.DrawFn) -> PlannedModel:
    """Draw a small model of any family, its heads divisible by 8."""
    heads = 8 * draw(st.integers(1, 4))
    kv_heads = draw(st.sampled_from([1, 2, 4, 8]))
    config: dict[str, Any] = {
        "model_type": draw(st.sampled_from(["llama", "qwen2", "qwen3", "gemma2", "qwen3_moe"])),
        "hidden_size": 64 * draw(st.integers(1, 64)),
        "intermediate_size": 128 * draw(st.integers(1, 128)),
        "moe_intermediate_size": 128 * draw(st.integers(1, 16)),
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "num_hidden_layers": draw(st.integers(4, 12)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": draw(st.sampled_from([64, 128])),
        "vocab_size": draw(st.integers(100, 300_000)),
        "tie_word_embeddings": draw(st.booleans()),
        "max_position_embeddings": 32_768,
        "torch_dtype": "bfloat16",
    }
    if "moe" not in config["model_type"]:
        del config["num_experts"]
    spec = spec_of(config)
    weights = Weights(tensors=tensors_of(spec), source="arithmetic", is_stored=False)
    return PlannedModel(model_id="drawn", spec=spec, weights=weights, max_model_len=128)


@settings(deadline=None)
@given(name=NAMES, runtime=RUNTIMES, tokens=TOKENS, more=TOKENS, rows=ROWS)
def test_more_context_never_needs_less(name, runtime, tokens, more, rows):
    short = plan_of(name, runtime=runtime, max_model_len=tokens, max_model_concurrency=rows)
    long = plan_of(
        name, runtime=runtime, max_model_len=min(tokens + more, 32_768), max_model_concurrency=rows
    )

    assert long.largest_device_bytes >= short.largest_device_bytes
    assert long.total_bytes >= short.total_bytes


@settings(deadline=None)
@given(name=NAMES, runtime=RUNTIMES, tokens=TOKENS, rows=ROWS, more=ROWS)
def test_more_concurrency_never_needs_less(name, runtime, tokens, rows, more):
    few = plan_of(name, runtime=runtime, max_model_len=tokens, max_model_concurrency=rows)
    many = plan_of(name, runtime=runtime, max_model_len=tokens, max_model_concurrency=rows + more)

    assert many.largest_device_bytes > few.largest_device_bytes


@settings(deadline=None)
@given(model=models(), ranks=st.sampled_from([1, 2, 4]), stages=st.integers(1, 4))
def test_more_ranks_never_raise_a_devices_weights(model, ranks, stages):
    few = split(model, ranks, stages)
    many = split(model, 2 * ranks, stages)

    for before, after in zip(few.devices[::ranks], many.devices[:: 2 * ranks], strict=True):
        assert after.weights_bytes <= before.weights_bytes
        assert after.kv_bytes <= before.kv_bytes


@settings(deadline=None)
@given(model=models(), stages=st.integers(1, 4))
def test_the_ranks_of_a_stage_hold_the_same_and_the_stages_all_layers(model, stages):
    split_up = split(model, 2, stages)

    for device in split_up.devices:
        assert device.weights_bytes == split_up.devices[2 * device.stage].weights_bytes
    stored = 2 * parameter_count(model.weights.tensors)
    assert sum(device.weights_bytes for device in split_up.devices) >= stored


@settings(deadline=None)
@given(name=NAMES, tokens=TOKENS, rows=ROWS, gib=st.integers(1, 200), more=st.integers(0, 200))
def test_a_plan_that_fits_a_device_fits_a_larger_one(name, tokens, rows, gib, more):
    plan = plan_of(name, max_model_len=tokens, max_model_concurrency=rows)

    if not misfits(plan, Device(memory_bytes=gib << 30)):
        assert not misfits(plan, Device(memory_bytes=(gib + more) << 30))


def split(model: PlannedModel, ranks: int, stages: int) -> Plan:
    return plan([model], runtime="vllm", tensor_parallel=ranks, pipeline_parallel=stages)
