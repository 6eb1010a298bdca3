"""compute/planning.py: models to plans."""

from __future__ import annotations

import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import ArgumentError
from tests.compute.planned import FP8_DYNAMIC, W8A8, plan_of, planned_model

LLAMA = "Llama-3.1-8B-Instruct"


def test_the_cache_is_tokens_times_requests_in_whole_pages():
    (device,) = plan_of(LLAMA, max_model_len=1000, max_model_concurrency=4).devices

    assert device.kv_bytes == 4 * 1008 * 131_072


def test_no_length_means_the_models_own():
    assert plan_of(LLAMA, max_model_len=None).models[0].max_model_len == 131_072


def test_the_embedding_lies_on_the_first_stage_and_the_head_on_the_last():
    first, second = plan_of(LLAMA, pipeline_parallel=2).devices

    assert abs(first.weights_bytes - second.weights_bytes) < GIB // 100
    names = [[term.name.split()[-1] for term in device.terms] for device in (first, second)]
    assert ("embedding" in names[0], "head" in names[0]) == (True, False)
    assert ("embedding" in names[1], "head" in names[1]) == (False, True)


def test_tied_embeddings_count_once_alone_and_on_both_ends_of_a_pipeline():
    table = 256_000 * 2304 * 2
    (alone,) = plan_of("gemma-2-2b").devices
    ends = plan_of("gemma-2-2b", pipeline_parallel=2).devices

    assert sum(device.weights_bytes for device in ends) - alone.weights_bytes == pytest.approx(
        table, rel=0.02
    )


def test_several_models_stand_on_the_same_devices():
    models = [planned_model(LLAMA), planned_model("Qwen3-0.6B")]
    together = plan(models, runtime="lmlite")
    alone = [plan([model], runtime="lmlite") for model in models]

    assert together.largest_device_bytes < sum(one.largest_device_bytes for one in alone)
    assert together.devices[0].weights_bytes == sum(one.devices[0].weights_bytes for one in alone)
    assert [model.model_id for model in together.models] == [LLAMA, "Qwen3-0.6B"]


@pytest.mark.parametrize(
    ("asked", "dtypes", "capability"),
    [
        ({}, {"bf16"}, (8, 0)),
        ({"dtype": "float16"}, {"fp16"}, (7, 0)),
        ({"quantization": "fp8"}, {"bf16", "fp8"}, (8, 9)),
        ({"kv_dtype": "fp8"}, {"bf16", "fp8"}, (8, 9)),
        ({"quantized_as": FP8_DYNAMIC}, {"bf16", "fp8"}, (8, 9)),
        ({"quantized_as": W8A8}, {"bf16", "int8"}, (8, 0)),
    ],
)
def test_a_precision_is_required_of_the_hardware(asked, dtypes, capability):
    required = plan_of(LLAMA, **asked).required

    assert required.dtypes == dtypes
    assert required.compute_capability == capability
    assert required.cuda == (12, 9)


def test_what_runs_on_a_cpu_requires_no_generation():
    required = plan_of(LLAMA, runtime="lmlite").required

    assert (required.dtypes, required.compute_capability) == ({"fp32"}, None)


def test_vllm_serves_a_model_of_full_precision_in_half():
    (device,) = plan_of("Qwen3-0.6B", dtype="auto").devices
    (full,) = plan_of("Qwen3-0.6B", dtype="float32").devices

    assert full.weights_bytes == pytest.approx(2 * device.weights_bytes, rel=0.02)


def test_a_nested_quantization_of_four_bits_is_about_a_quarter():
    (device,) = plan_of(LLAMA, quantization="bitsandbytes").devices

    # 7.0e9 numbers of linear layers at 4.127 bits, 1.05e9 of embedding and head at 16.
    assert device.weights_bytes / GIB == pytest.approx(5.3, abs=0.1)


def test_a_runtime_or_method_that_is_not_known_is_refused():
    for name, value in (("runtime", "tensorflow"), ("quantization", "magic")):
        with pytest.raises(ArgumentError, match=value) as caught:
            plan_of(LLAMA, **{name: value})

        assert caught.value.param == name


def test_a_plan_knows_what_it_was_made_of():
    made = plan_of(LLAMA, tensor_parallel=2)

    assert made.request
    assert plan(made.request.models, runtime="vllm", tensor_parallel=2) == made


def test_lmlite_holds_a_tied_head_beside_its_embedding():
    (device,) = plan_of("Qwen3-0.6B", runtime="lmlite").devices

    assert device.weights_bytes == 4 * (596_049_920 + 151_936 * 1024)
