"""compute/request.py: what makes two requests one deployment, and what the sidecar serves."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig

A, B = LmLiteModelConfig("a/one"), LmLiteModelConfig("b/two", max_model_len=4096)


def test_the_order_of_models_and_what_one_call_may_cost_tell_nothing():
    one = DeploymentRequest(models=(A, B), provider="docker", max_usd=3, lease_s=60, name="x")
    other = DeploymentRequest(models=(B, A), provider="docker", idle_s=5)

    assert one.identity() == other.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"models": (A,)},
        {"models": (A, LmLiteModelConfig("b/two", max_model_len=2048))},
        {"models": (A, LmLiteModelConfig("b/two", max_model_len=4096, quantization="int8"))},
        {"runtime": "vllm"},
        {"runtime_version": "0.1"},
        {"provider": "runpod"},
        {"gpu": "L4"},
        {"gpu_count": 2},
        {"tensor_parallel": 2},
        {"pipeline_parallel": 2},
        {"replicas": Replicas(least=1, most=2)},
        {"image": "a/b:c"},
        {"constraint": DeploymentConstraint(enterprise=True)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_tells_one_deployment_from_another(change: dict[str, Any]):
    given: dict[str, Any] = {"models": (A, B), "provider": "docker"}

    assert (
        DeploymentRequest(**{**given, **change}).identity() != DeploymentRequest(**given).identity()
    )


def test_any_models_here_in_lmlite_are_the_sidecars_whatever_was_accepted_of_this_machine():
    assert DeploymentRequest().is_sidecar
    assert DeploymentRequest(models=(A, B)).is_sidecar
    assert DeploymentRequest(
        models=(A,), constraint=DeploymentConstraint(regions=("x",))
    ).is_sidecar


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "docker"},
        {"provider": None},
        {"runtime": "vllm"},
        {"replicas": Replicas(least=2, most=2)},
        {"gpu": "L4"},
    ],
    ids=str,
)
def test_whoever_asks_for_more_has_a_deployment_of_their_own(change: dict[str, Any]):
    assert not DeploymentRequest(models=(A,), **change).is_sidecar


@pytest.mark.parametrize(
    "change",
    [
        {"gpu_count": 0},
        {"tensor_parallel": -1},
        {"max_usd": 0},
        {"lease_s": float("inf")},
        {"idle_s": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_an_error_that_names_it(change: dict[str, Any]):
    with pytest.raises(ArgumentError) as caught:
        DeploymentRequest(**change)

    assert caught.value.param == next(iter(change))


@pytest.mark.parametrize(("least", "most"), [(0, 1), (2, 1)])
def test_replicas_are_at_least_one_and_in_order(least: int, most: int):
    with pytest.raises(ArgumentError) as caught:
        Replicas(least=least, most=most)

    assert caught.value.param == "replicas"
