"""compute/detection.py: what NVML says of healthy, busy, cut and broken cards."""

from __future__ import annotations

import platform
import sys

import psutil
import pytest

from conduit_nb.compute.detection import Detection, detect_devices, local_offerings
from conduit_nb.compute.nvml_errors import NVML_ERRORS
from tests.compute.described_nvml import GIB, Card, DescribedNvml

H100 = "NVIDIA H100 80GB HBM3"
A100 = "NVIDIA A100-SXM4-40GB"


def test_a_card_is_seen_with_its_memory_and_versions():
    nvml = DescribedNvml(Card(H100, total_gib=79.65, used_gib=10, uuid="GPU-7"))

    seen = detect_devices(nvml)

    [device] = seen.devices
    assert (device.name, device.uuid, device.compute_capability) == (H100, "GPU-7", (9, 0))
    assert device.free_bytes / GIB == pytest.approx(69.15)
    assert device.used_bytes / GIB == pytest.approx(10)
    assert seen.driver == (580, 95, 5)
    assert seen.cuda == (13, 0)
    assert seen.problems == ()
    assert not nvml.is_open


@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA Thor", "Orin (nvgpu)"])
@pytest.mark.parametrize("says", ["not supported", "none"])
def test_a_gpu_that_shares_the_systems_memory_has_the_systems(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch
):
    """The GB10 of a DGX Spark, and Jetsons: NVML does not support the question, or answers 0."""
    memory = psutil.virtual_memory()._replace(total=120 * GIB, available=100 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    card = Card(name, total_gib=0, reserved_gib=0, capability=(12, 1))
    if says == "not supported":
        card.fails |= {"nvmlDeviceGetMemoryInfo_v2": 3, "nvmlDeviceGetMemoryInfo": 3}

    seen = detect_devices(DescribedNvml(card))
    gpu, cpu = local_offerings(seen)

    [device] = seen.devices
    assert seen.problems == ()
    assert device.total_bytes == 120 * GIB
    assert device.used_bytes == device.total_bytes - device.free_bytes
    assert gpu.accelerator == name
    assert gpu.memory_gib == cpu.memory_gib <= 100
    assert (gpu.hardware.accelerator is not None) == (name == "NVIDIA GB10")


def test_old_drivers_that_know_one_form_of_memory_and_bytes_are_understood():
    card = Card(b"Tesla T4", total_gib=15, capability=(7, 5))
    card.fails["nvmlDeviceGetMemoryInfo_v2"] = 13

    [device] = detect_devices(DescribedNvml(card, driver=b"450.80.02")).devices

    assert device.name == "Tesla T4"
    assert device.free_bytes / GIB == pytest.approx(14.5)


@pytest.mark.parametrize("code", sorted(NVML_ERRORS))
def test_every_error_of_the_start_is_a_reason_with_a_way_out(code: int):
    seen = detect_devices(DescribedNvml(Card(H100), init=code))

    assert seen.devices == ()
    [problem] = seen.problems
    assert problem.reason == NVML_ERRORS[code][0]
    assert problem.hint


@pytest.mark.parametrize("code", sorted(NVML_ERRORS))
@pytest.mark.parametrize(
    "function",
    ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName"],
)
def test_one_broken_card_does_not_hide_the_others(code: int, function: str):
    nvml = DescribedNvml(Card(H100, fails={function: code}), Card(A100, capability=(8, 0)))

    seen = detect_devices(nvml)

    assert [device.name for device in seen.devices] == [A100]
    [problem] = seen.problems
    assert problem.what == "GPU 0"
    assert problem.reason == NVML_ERRORS[code][0]


@pytest.mark.parametrize("code", sorted(NVML_ERRORS))
@pytest.mark.parametrize(
    "function",
    [
        "nvmlShutdown",
        "nvmlSystemGetDriverVersion",
        "nvmlSystemGetCudaDriverVersion_v2",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetCudaComputeCapability",
    ],
)
def test_a_question_without_answer_costs_no_card(code: int, function: str):
    seen = detect_devices(DescribedNvml(Card(H100), fails={function: code}))

    assert [device.name for device in seen.devices] == [H100]


def test_a_driver_that_cannot_count_is_a_problem_and_is_closed():
    nvml = DescribedNvml(Card(H100), fails={"nvmlDeviceGetCount": 999})

    [problem] = detect_devices(nvml).problems
    assert (problem.reason, problem.hint) == NVML_ERRORS[999]
    assert str(problem) == f"{problem.what}: {problem.reason}"
    assert not nvml.is_open


def test_instances_of_a_cut_card_stand_for_it():
    small = Card(f"{H100} MIG 1g.10gb", total_gib=10, uuid="MIG-1", reserved_gib=0)
    large = Card(f"{H100} MIG 3g.40gb", total_gib=39.5, uuid="MIG-2", reserved_gib=0)
    card = Card(H100, mig=[small, None, large, None])

    seen = detect_devices(DescribedNvml(card))

    assert [(one.uuid, one.parent) for one in seen.devices] == [("MIG-1", 0), ("MIG-2", 0)]
    assert [one.compute_capability for one in seen.devices] == [(9, 0), (9, 0)]
    cut = [one for one in local_offerings(seen) if one.accelerator]
    assert [round(one.memory_gib, 1) for one in cut] == [10.0, 39.5]
    assert [one.hardware.share for one in cut] == [1 / 8, 3 / 8]
    assert all(one.hardware.accelerator for one in cut)


def test_a_cut_card_without_instances_is_a_problem():
    seen = detect_devices(DescribedNvml(Card(H100, mig=[None] * 7)))

    assert seen.devices == ()
    [problem] = seen.problems
    assert problem.what == "GPU 0"
    assert "MIG" in problem.reason
    assert "nvidia-smi mig" in problem.hint


def test_mixed_cards_are_offered_by_kind():
    nvml = DescribedNvml(
        Card(H100, total_gib=79.65), Card(A100, total_gib=40), Card(H100, total_gib=79.65)
    )

    offered = {one.accelerator: one for one in local_offerings(detect_devices(nvml))}

    assert offered[H100].count == 2
    assert offered[A100].count == 1
    assert offered[A100].usd_per_hour == 0
    assert offered[A100].cuda == (13, 0)


def test_a_busy_card_does_not_spoil_the_others():
    cards = [Card("NVIDIA GeForce RTX 3090", total_gib=24, used_gib=used) for used in (0, 21, 0)]

    offered = local_offerings(detect_devices(DescribedNvml(*cards)))

    sizes = [(one.count, round(one.memory_gib, 1)) for one in offered if one.accelerator]
    assert sizes == [(2, 23.5), (3, 2.5)]


def test_a_card_without_any_free_memory_is_not_offered():
    full = Card(H100, total_gib=80, used_gib=79.5)

    offered = local_offerings(detect_devices(DescribedNvml(full)))

    assert [one.accelerator for one in offered] == [None]


def test_without_the_package_that_is_what_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed

    [problem] = detect_devices().problems

    assert "nvidia-ml-py" in problem.reason
    assert "conduit-nb[gpu]" in problem.hint


def test_this_machine_offers_its_cpu_and_what_memory_is_free():
    [*_, cpu] = local_offerings(Detection())

    assert cpu.accelerator is None
    assert 0 < cpu.memory_gib * GIB <= psutil.virtual_memory().total
    assert cpu.provider == "local"


@pytest.mark.parametrize(
    ("wired_mb", "gib"), [(None, 64 * 2 / 3), ("49152", 48), ("0", 64 * 2 / 3)]
)
def test_a_mac_offers_the_share_of_memory_that_its_gpu_may_have(
    wired_mb: str | None, gib: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    said = {"machdep.cpu.brand_string": "Apple M4 Max", "hw.memsize": str(64 * GIB)}
    if wired_mb is not None:
        said["iogpu.wired_limit_mb"] = wired_mb
    free = psutil.virtual_memory()._replace(available=60 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)

    mac, cpu = local_offerings(Detection(), sysctl=said.get)

    assert mac.accelerator == "Apple M4 Max"
    assert mac.memory_gib == pytest.approx(gib)
    assert mac.hardware.accelerator is not None
    assert cpu.accelerator is None
