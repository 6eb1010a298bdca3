"""compute/limits.py: splits and lengths that a model or a runtime does not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.errors import ArgumentError, ContextLengthError, PlanError
from tests.compute.planned import plan_of, planned_model


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("Llama-3.1-8B-Instruct", {"tensor_parallel": 3}, "32 attention heads"),
        ("Qwen3-14B", {"tensor_parallel": 5}, "padded vocabulary"),
        ("Qwen2.5-7B-Instruct", {"tensor_parallel": 7}, "padded vocabulary|KV heads"),
        ("Llama-3.1-8B-Instruct", {"pipeline_parallel": 33}, "32 layers"),
        ("Llama-3.1-8B-Instruct", {"tensor_parallel": 2, "runtime": "lmlite"}, "1 device, not 2"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_the_numbers(name, split, said):
    with pytest.raises(PlanError, match=said) as caught:
        plan_of(name, **split)

    assert "parallel" in caught.value.hint


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
    with pytest.raises(ArgumentError, match=name):
        plan_of("Qwen3-0.6B", **{name: value})


@pytest.mark.parametrize("asked", [{"max_model_len": 0}, {"max_model_concurrency": 0}])
def test_what_is_asked_of_a_model_is_at_least_one(asked):
    with pytest.raises(ArgumentError, match=next(iter(asked))):
        plan_of("Qwen3-0.6B", **asked)


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(ArgumentError, match="needs a model"):
        plan([])


def test_a_config_without_layers_is_no_language_model():
    model = planned_model("gpt2")

    with pytest.raises(PlanError, match="layers and heads"):
        plan([replace(model, spec=replace(model.spec, attention=()))])
