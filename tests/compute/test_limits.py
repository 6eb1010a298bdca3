"""compute/limits.py: splits and lengths that a model or a runtime does not allow."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.errors import ArgumentError, ContextLengthError, PlanError
from tests.compute.planned import plan_of, planned_model


@pytest.mark.parametrize(
    ("name", "split", "runtime", "numbers"),
    [
        ("Llama-3.1-8B-Instruct", {"tensor_parallel": 3}, "vllm", (32, 3)),  # heads
        ("Qwen3-14B", {"tensor_parallel": 5}, "vllm", (151_936, 5)),  # the padded vocabulary
        ("Qwen2.5-7B-Instruct", {"tensor_parallel": 7}, "vllm", (152_064, 7)),
        ("Llama-3.1-8B-Instruct", {"pipeline_parallel": 33}, "vllm", (32, 33)),  # layers
        ("Llama-3.1-8B-Instruct", {"tensor_parallel": 2}, "lmlite", (1, 2)),  # devices
        ("Llama-3.1-8B-Instruct", {"pipeline_parallel": 2}, "lmlite", (1, 2)),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_the_numbers(name, split, runtime, numbers):
    [param] = split
    with pytest.raises(PlanError) as caught:
        plan_of(name, runtime=runtime, **split)

    for number in numbers:
        assert re.search(rf"\b{number:,}\b", str(caught.value))
    assert caught.value.param == param
    assert param in caught.value.hint


def test_more_ranks_than_kv_heads_hold_copies():
    four = plan_of("Qwen2.5-7B-Instruct", tensor_parallel=4).devices[0]
    phi = plan_of("falcon-7b").devices[0]

    assert four.kv_bytes_per_token == 57_344 // 4
    assert phi.kv_bytes_per_token == 2 * 32 * 64 * 2


def test_latent_attention_may_be_on_any_number_of_ranks_but_is_not_split():
    plans = [plan_of("DeepSeek-V2-Lite", tensor_parallel=ranks) for ranks in (1, 2, 4, 16)]

    assert {made.devices[0].kv_bytes_per_token for made in plans} == {31_104}


def test_a_length_beyond_the_models_own_is_refused_with_both():
    with pytest.raises(ContextLengthError, match=r"131,072.*200,000"):
        plan_of("Llama-3.1-8B-Instruct", max_model_len=200_000)


@pytest.mark.parametrize("name", ["tensor_parallel", "pipeline_parallel", "replicas"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_split_is_a_whole_number(name, value):
    with pytest.raises(ArgumentError, match=re.escape(f"{value!r}")) as caught:
        plan_of("Qwen3-0.6B", **{name: value})

    assert caught.value.param == name


@pytest.mark.parametrize("asked", [{"max_model_len": 0}, {"max_model_concurrency": 0}])
def test_what_is_asked_of_a_model_is_at_least_one(asked):
    with pytest.raises(ArgumentError) as caught:
        plan_of("Qwen3-0.6B", **asked)

    assert caught.value.param == next(iter(asked))


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(ArgumentError) as caught:
        plan([])

    assert caught.value.param == "models"


def test_a_config_without_layers_is_no_language_model():
    model = planned_model("gpt2")

    with pytest.raises(PlanError, match=r"config\.json.*\bgpt2\b") as caught:
        plan([replace(model, spec=replace(model.spec, attention=()))])

    assert caught.value.param is None
