"""compute/vram.py: what a plan says of itself."""

from __future__ import annotations

import pytest

from conduit_nb.compute.vram import GIB, DevicePlan
from tests.compute.planned import plan_of


def test_a_device_sums_its_parts():
    device = DevicePlan(
        stage=0,
        rank=0,
        weights_bytes=GIB,
        kv_bytes_per_token=1,
        kv_bytes=GIB // 2,
        activation_bytes=GIB // 4,
        overhead_bytes=GIB // 4,
    )

    assert (device.total_bytes, device.total_gib) == (2 * GIB, 2.0)


def test_a_plan_counts_the_devices_of_all_replicas():
    plan = plan_of("Llama-3.1-8B-Instruct", tensor_parallel=2, pipeline_parallel=2, replicas=3)

    assert [(device.stage, device.rank) for device in plan.devices] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert (plan.devices_per_replica, plan.device_count) == (4, 12)
    assert plan.total_bytes == 3 * sum(device.total_bytes for device in plan.devices)
    assert plan.largest_device_bytes == max(device.total_bytes for device in plan.devices)


def test_every_part_of_a_device_is_explained_by_its_terms():
    (device,) = plan_of("DeepSeek-V2-Lite", max_model_concurrency=3).devices

    for part, total in (
        ("weights", device.weights_bytes),
        ("kv", device.kv_bytes),
        ("activation", device.activation_bytes),
        ("overhead", device.overhead_bytes),
    ):
        assert sum(term.bytes for term in device.terms if term.part == part) == total
    assert all(term.formula and term.source for term in device.terms)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Llama-3.1-8B-Instruct", 7.5),
        ("Qwen3-30B-A3B", 3.0),
        ("gpt-oss-120b", 5.1),
        ("DeepSeek-V3", 36.6),
        ("gemma-2-2b", 2.6),
    ],
)
def test_a_token_is_multiplied_with_the_active_weights_only(name, billions):
    plan = plan_of(name)

    assert plan.flops_per_token / 2e9 == pytest.approx(billions, rel=0.03)


def test_a_plans_figures_for_a_token_sum_its_models_and_devices():
    plan = plan_of("Llama-3.1-8B-Instruct", tensor_parallel=4)

    assert plan.kv_bytes_per_token == 131_072
    assert plan.active_weight_bytes_per_token == pytest.approx(15.0e9, rel=0.01)
