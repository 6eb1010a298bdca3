"""compute/judging.py: every reason is found, and said with its numbers."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.judging import (
    KNOBS,
    RUNTIMES,
    ReasonCode,
    hardware_reasons,
    is_acceptable,
    needed_instances,
    terms_reasons,
)
from conduit_nb.compute.names import AVAILABILITIES
from conduit_nb.compute.offerings import Terms, terms_of
from tests.compute.made_plans import made_offering, made_plan

TERMS = st.builds(
    terms_of,
    provider=st.sampled_from(["runpod", "aws", "local"]),
    region=st.sampled_from([None, "eu-1", "eu-2", "us-1"]),
    availability=st.sampled_from(AVAILABILITIES),
    interruptible=st.booleans(),
    enterprise=st.booleans(),
    launchable=st.booleans(),
)
CONSTRAINTS = st.builds(
    DeploymentConstraint,
    providers=st.sampled_from([None, ("runpod",), ("aws", "local")]),
    regions=st.sampled_from([None, ("eu-1",), ("eu-*",), ("us-1", "eu-2")]),
    min_availability=st.sampled_from([None, "none", "low", "medium", "high"]),
    interruptible=st.sampled_from([None, True, False]),
    enterprise=st.booleans(),
)


def codes(accelerator: str | None, plan: Any, **offering: Any) -> list[ReasonCode]:
    """Return what speaks against such an offering."""
    hardware = made_offering(accelerator, **offering).hardware
    return [reason.code for reason in hardware_reasons(hardware, plan)]


def test_what_holds_the_plan_has_nothing_against_it():
    assert codes("L40S", made_plan(40)) == []


def test_all_reasons_are_found_not_just_the_first():
    plan = made_plan(
        40,
        tensor_parallel=2,
        runtime="tensorrt",
        dtypes=("fp8",),
        compute_capability=(8, 9),
        cuda=(12, 8),
        driver=(570,),
    )

    assert codes("T4", plan, cuda=(12, 4), driver=(550, 1)) == [
        "memory",
        "dtype",
        "compute_capability",
        "cuda",
        "driver",
        "devices",
    ]
    assert codes("MI300X", plan, count=8) == ["runtime"]
    assert set(codes(None, plan)) == {"dtype", "devices", "runtime"}


def test_what_nobody_says_excludes_nothing():
    plan = made_plan(40, dtypes=("fp8",), cuda=(13, 0), driver=(580,))

    assert codes("Abacus 9000", plan, memory_gib=48) == []
    assert codes("L40S", plan, cuda=None, driver=None) == []


def test_memory_is_told_with_its_numbers():
    [reason] = hardware_reasons(made_offering("L4").hardware, made_plan(30))

    assert "30.0" in reason.text
    assert "22.0" in reason.text


@pytest.mark.parametrize(
    ("count", "nodes", "node_link", "tensor", "pipeline", "replicas", "runtime", "instances"),
    [
        (8, 1, None, 4, 1, 1, "vllm", 1),
        (8, 1, None, 4, 1, 2, "vllm", 1),
        (8, 1, None, 4, 1, 3, "vllm", 2),
        (1, 1, None, 1, 1, 5, "vllm", 5),
        (4, 2, "infiniband", 4, 2, 1, "vllm", 1),  # a stage on each node
        (4, 2, None, 4, 2, 1, "vllm", 0),  # nothing joins them
        (4, 2, "ethernet", 4, 2, 1, "lmlite", 0),  # not over nodes
        (4, 2, "infiniband", 8, 1, 1, "vllm", 0),  # tensor parallel stays in a node
        (8, 4, None, 4, 2, 4, "lmlite", 1),  # a replica on each node needs no link
        (6, 2, "infiniband", 4, 3, 1, "vllm", 0),
    ],
)
def test_replicas_go_where_nodes_and_runtime_let_them(
    count: int,
    nodes: int,
    node_link: Any,
    tensor: int,
    pipeline: int,
    replicas: int,
    runtime: str,
    instances: int,
):
    hardware = made_offering("L40S", count=count, nodes=nodes, node_interconnect=node_link).hardware
    plan = made_plan(
        10, tensor_parallel=tensor, pipeline_parallel=pipeline, replicas=replicas, runtime=runtime
    )

    assert needed_instances(hardware, plan) == instances
    reasons = [reason.code for reason in hardware_reasons(hardware, plan)]
    assert reasons == ([] if instances else ["nodes"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_runs_on_nvidia(runtime: str):
    assert codes("L40S", made_plan(10, runtime=runtime)) == []


@given(TERMS, CONSTRAINTS, st.booleans())
def test_terms_are_acceptable_when_no_reason_speaks_against_them(
    terms: Terms, constraint: DeploymentConstraint, only_launchable: bool
):
    reasons = terms_reasons(terms, constraint, only_launchable=only_launchable)

    assert is_acceptable(terms, constraint, only_launchable=only_launchable) == (not reasons)
    assert len({reason.code for reason in reasons}) == len(reasons)
    assert all(reason.text for reason in reasons)


@pytest.mark.parametrize(
    ("least", "accepted"),
    [
        (None, {"low", "medium", "high", "unknown"}),
        ("none", {"none", "low", "medium", "high", "unknown"}),
        ("low", {"low", "medium", "high"}),
        ("high", {"high"}),
    ],
)
def test_stock_that_nobody_knows_is_enough_only_where_none_is_asked(least: Any, accepted: set[str]):
    constraint = DeploymentConstraint(min_availability=least)

    assert accepted == {
        stock
        for stock in AVAILABILITIES
        if is_acceptable(made_offering(availability=stock).terms, constraint, only_launchable=True)
    }


def test_a_runtime_whose_figures_are_of_gpus_is_not_held_against_a_cpu():
    assert codes(None, made_plan(1, runtime="vllm")) == ["runtime"]
    assert codes(None, made_plan(1, runtime="lmlite")) == []


def test_every_reason_has_a_knob():
    assert set(KNOBS) == set(get_args(ReasonCode))
