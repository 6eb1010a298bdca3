"""compute/request.py: the one request, how it is read, stored, and told from another."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import (
    DeploymentOptions,
    DeploymentRequest,
    Replicas,
    deployment_options,
)
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.spelling import did_you_mean

A, B = LmLiteModelConfig("a/one"), LmLiteModelConfig("b/two", max_model_len=4096)
WHOLE = DeploymentRequest(
    models=(A, LmLiteModelConfig("b/two", 4096, 8, 5, "bfloat16", "v2", "int8")),
    runtime="vllm",
    runtime_version="0.11",
    provider=None,
    gpu="L40S",
    gpu_count=2,
    tensor_parallel=2,
    pipeline_parallel=3,
    replicas=Replicas(1, 4),
    image="a/b:c",
    command=("serve", "a b", "{port}"),
    constraint=DeploymentConstraint(
        max_usd_per_hour=2.5,
        regions=("eu-*",),
        providers=("runpod",),
        min_availability="low",
        interruptible=False,
        single_device=True,
        enterprise=True,
    ),
    max_usd=3.0,
    hours=2.0,
    idle_s=60.0,
    name="mine",
)


def test_the_order_of_models_and_the_bounds_do_not_tell_deployments_apart():
    one = DeploymentRequest(models=(A, B), provider="docker", max_usd=3, hours=1, name="x")
    other = DeploymentRequest(models=(B, A), provider="docker", idle_s=5)

    assert one.identity() == other.identity()
    assert one.differences(other) == ()
    assert one.bounds() == ("max_usd", "hours", "name")


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
        {"replicas": Replicas(1, 2)},
        {"image": "a/b:c"},
        {"command": ("serve",)},
        {"constraint": DeploymentConstraint(enterprise=True)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_does(change: dict[str, Any]):
    given: dict[str, Any] = {"models": (A, B), "provider": "docker"}
    one, other = DeploymentRequest(**{**given, **change}), DeploymentRequest(**given)

    assert one.identity() != other.identity()
    assert one.differences(other) == tuple(change)


def test_any_models_here_in_lmlite_mean_the_shared_server_whatever_was_accepted_of_this_machine():
    assert DeploymentRequest().is_shared
    assert DeploymentRequest(models=(A, B)).is_shared
    assert DeploymentRequest(models=(A,), constraint=DeploymentConstraint(regions=("x",))).is_shared


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "docker"},
        {"provider": None},
        {"runtime": "vllm"},
        {"replicas": Replicas(2, 2)},
        {"gpu": "L4"},
    ],
    ids=str,
)
def test_whoever_asks_for_more_has_a_deployment_of_their_own(change: dict[str, Any]):
    assert not DeploymentRequest(models=(A,), **change).is_shared


@pytest.mark.parametrize(
    "change",
    [
        {"gpu_count": 0},
        {"tensor_parallel": -1},
        {"max_usd": 0},
        {"hours": float("inf")},
        {"idle_s": float("nan")},
        {"command": "serve 'x"},
    ],
    ids=str,
)
def test_a_value_that_is_not_valid_is_an_error_that_names_it(change: dict[str, Any]):
    for make in (lambda: DeploymentRequest(**change), lambda: DeploymentRequest.parse(change)):
        with pytest.raises(ArgumentError) as caught:
            make()
        assert caught.value.param == next(iter(change))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2, 1), (1, 101)])
def test_replicas_are_at_least_one_in_order_and_not_too_many(low: int, high: int):
    with pytest.raises(ArgumentError) as caught:
        Replicas(low, high)

    assert caught.value.param == "replicas"


def test_texts_and_typed_values_are_read_as_the_same_request():
    texts = {
        "models": ["a/one", "b/two"],
        "gpu": "L40S",
        "gpu_count": "2",
        "replicas": "1-4",
        "command": "serve 'a b' {port}",
        "provider": "any",
        "max_usd": "3",
        "hours": "2",
        "max_model_len": "4096",
        "concurrency": "8",
        "regions": "eu-*,us-1",
        "interruptible": "false",
    }
    typed = {
        "models": ("a/one", "b/two"),
        "gpu": "L40S",
        "gpu_count": 2,
        "replicas": (1, 4),
        "command": ("serve", "a b", "{port}"),
        "provider": "any",
        "max_usd": 3.0,
        "hours": 2.0,
        "max_model_len": 4096,
        "max_concurrency": 8,
        "constraint": DeploymentConstraint(regions=("eu-*", "us-1"), interruptible=False),
    }

    assert DeploymentRequest.parse(texts) == DeploymentRequest.parse(typed)
    assert DeploymentRequest.parse(texts).models[0].max_model_concurrency == 8


def test_what_is_left_out_or_empty_has_its_default():
    assert DeploymentRequest.parse({}) == DeploymentRequest()
    assert DeploymentRequest.parse({"gpu": None, "provider": None}) == DeploymentRequest()


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"zebra": 1}, "zebra"),
        ({"models": 3}, "models"),
        ({"models": [3]}, "models"),
        ({"models": [{"id": "a"}]}, "models"),
        ({"models": ["m"] * 33}, "models"),
        ({"models": ["a", "b"], "revision": "v1"}, "revision"),
        ({"models": [A], "max_model_len": 5}, "max_model_len"),
        ({"models": ["a"], "dtype": "float61"}, "dtype"),
        ({"constraint": 3}, "constraint"),
        ({"provider": "a", "compute_provider": "b"}, "provider"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_an_error_that_names_it(given: dict[str, Any], param: str):
    with pytest.raises(ArgumentError) as caught:
        DeploymentRequest.parse(given)

    assert caught.value.param == param
    assert caught.value.hint


def test_an_unknown_option_is_compared_with_those_there_are():
    with pytest.raises(ArgumentError) as caught:
        DeploymentRequest.parse({"gpus": 2})

    assert caught.value.hint == did_you_mean("gpu")


def test_a_request_is_stored_and_read_whole():
    assert all(
        getattr(WHOLE, one.name) != getattr(DeploymentRequest(), one.name)
        for one in fields(DeploymentRequest)
    ), "every field has another value than its default"
    assert DeploymentRequest.from_json(WHOLE.to_json()) == WHOLE
    assert json.loads(DeploymentRequest().to_json()) == {}


def test_what_version_0_1_has_stored_is_read_as_the_same_request():
    model = {
        "model_id": "b/two",
        "max_model_len": 4096,
        "max_model_concurrency": 8,
        "model_batch_execute_timeout_ms": 5,
        "dtype": "bfloat16",
        "revision": "v2",
        "quantization": "int8",
    }
    plain = {**dict.fromkeys(model), "model_id": "a/one", "dtype": "auto"}
    stored = {
        "models": [plain, model],
        "runtime": "vllm",
        "runtime_version": "0.11",
        "provider": None,
        "gpu": "L40S",
        "gpu_count": 2,
        "tensor_parallel": 2,
        "pipeline_parallel": 3,
        "replicas": {"least": 1, "most": 4},
        "image": "a/b:c",
        "command": ["serve", "a b", "{port}"],
        "constraint": {
            "enterprise": True,
            "single_device": True,
            "max_usd_per_hour": 2.5,
            "regions": ["eu-*"],
            "providers": ["runpod"],
            "min_availability": "low",
            "interruptible": False,
        },
        "max_usd": 3,
        "lease_s": 7200,
        "idle_s": 60,
        "name": "mine",
    }

    assert DeploymentRequest.from_json(json.dumps(stored)) == WHOLE


def test_type_checkers_know_every_option_that_there_is():
    known = set(get_type_hints(DeploymentOptions))

    assert known == {one.name for one in deployment_options()} | {"constraint"}
