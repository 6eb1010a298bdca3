"""compute/throughput.py: the roofline is the slower of bytes and operations, with its range."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.accelerators import ACCELERATORS, Accelerator
from conduit_nb.compute.throughput import Range, estimate_tokens_per_s, link_of
from conduit_nb.compute.vram import GIB, Plan
from tests.compute.made_plans import made_offering, made_plan


def speed(plan: Plan, accelerator: str = "H100 SXM 80GB", **offering: object) -> Range:
    """Return the estimate, which must be there."""
    estimate = estimate_tokens_per_s(plan, made_offering(accelerator, **offering).hardware)
    assert estimate is not None
    return estimate


def test_one_request_reads_all_weights_and_its_context_for_each_token():
    plan = made_plan(32, requests=1)

    kv_bytes = 4096 * 0.5 * 131072
    by_hand = 3352e9 * 0.6 / (16 * GIB + kv_bytes)

    assert speed(plan).expected == pytest.approx(by_hand)


def test_many_requests_are_bound_by_the_peak():
    plan = made_plan(2, requests=100_000)
    model = dataclasses.replace(plan.models[0], kv_bytes=0)
    plan = dataclasses.replace(plan, models=(model,))

    by_hand = 989e12 * 0.4 / model.flops_per_token

    assert speed(plan).expected == pytest.approx(by_hand)


def test_a_mixture_reads_only_the_experts_that_its_requests_need():
    dense, one, many = (
        speed(made_plan(64, requests=requests, active_share=share)).expected / requests
        for requests, share in ((1, 1.0), (1, 0.1), (200, 0.1))
    )

    assert one > 5 * dense
    assert many < one


@pytest.mark.parametrize("accelerator", ACCELERATORS, ids=lambda one: one.name)
def test_every_estimate_has_a_range_around_it(accelerator: Accelerator):
    offering = made_offering(accelerator.name, count=2)

    estimate = estimate_tokens_per_s(made_plan(4, tensor_parallel=2), offering.hardware)

    assert estimate is not None
    assert 0 < estimate.low < estimate.expected < estimate.high
    assert "estimate" in str(estimate)


def test_what_nobody_knows_has_no_estimate():
    assert estimate_tokens_per_s(made_plan(4), made_offering(None).hardware) is None
    unknown = made_offering("Abacus", memory_gib=48).hardware
    assert estimate_tokens_per_s(made_plan(4), unknown) is None


def test_nvlink_carries_tensor_parallel_faster_than_pcie():
    plan = made_plan(4, tensor_parallel=4)

    nvlink = speed(plan, count=4)
    pcie = speed(plan, count=4, interconnect="pcie")

    assert nvlink.expected > pcie.expected
    assert speed(made_plan(4), interconnect="pcie") == speed(made_plan(4))


def test_a_bridge_ties_two_cards_and_is_pcie_among_four():
    pair, four = (
        made_offering("RTX A6000", count=count, interconnect="bridge").hardware for count in (2, 4)
    )

    assert link_of(pair, made_plan(tensor_parallel=2)) == "bridge"
    assert link_of(four, made_plan(tensor_parallel=4)) == "pcie"


def test_stages_on_several_nodes_are_slower_than_on_one():
    plan = made_plan(4, tensor_parallel=4, pipeline_parallel=2)

    one = speed(plan, count=8)
    two = speed(plan, count=4, nodes=2, node_interconnect="infiniband")

    assert two.expected < one.expected


def test_an_instance_of_a_cut_card_has_its_share_of_the_speed():
    whole, part = (
        speed(made_plan(4), name, memory_gib=9)
        for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    )

    assert part.expected == pytest.approx(whole.expected / 8)


@given(st.integers(1, 4), st.integers(1, 8))
def test_replicas_add_up(replicas: int, factor: int):
    one, more = (
        speed(made_plan(4, replicas=count)).expected for count in (replicas, replicas * factor)
    )

    assert more == pytest.approx(one * factor)
