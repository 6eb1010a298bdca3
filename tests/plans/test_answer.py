"""plans/answer.py: whether a plan fits, why not, and what would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conduit_nb.compute.detection import Detection, detect_devices
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import ArgumentError, PlanError
from conduit_nb.plans.answer import PlanAnswer, PlanOptions, answer_plan, make_plan
from tests.compute.described_nvml import Card, DescribedNvml
from tests.plans.model_folders import config_folder

NO_GPU = Detection()


def answered(
    folder: Path, *, gpu: str | None = None, detection: Detection = NO_GPU, **asked: object
) -> PlanAnswer:
    options = PlanOptions(**asked)
    return answer_plan(make_plan([str(folder)], options), gpu=gpu, detection=detection)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return config_folder(tmp_path, "Llama-3.1-8B-Instruct")


def test_without_a_gpu_whether_it_fits_is_not_known_and_why_is_said(llama: Path):
    answer = answered(llama)

    assert answer.fits is None
    assert answer.device_fits == (None,)
    assert answer.target is None
    assert "--gpu" in answer.why_unknown
    assert "--runtime lmlite" in answer.why_unknown


def test_lmlite_is_held_against_this_machines_cpu(llama: Path):
    answer = answered(llama, runtime="lmlite", max_model_len=128)

    assert answer.target is not None
    assert answer.target.is_local
    assert answer.fits is (answer.plan.largest_device_bytes <= answer.target.memory_bytes)


def test_a_gpu_of_this_machine_is_what_a_plan_is_held_against(llama: Path):
    seen = detect_devices(DescribedNvml(Card("NVIDIA L40S", total_gib=44.98, capability=(8, 9))))

    answer = answered(llama, detection=seen)

    assert answer.target is not None
    assert (answer.target.name, answer.target.is_local) == ("NVIDIA L40S", True)
    assert answer.fits


def test_of_two_kinds_the_one_that_holds_it_is_taken(llama: Path):
    cards = (
        Card("NVIDIA L4", total_gib=22.5, capability=(8, 9), uuid="GPU-0"),
        Card("NVIDIA H100 80GB HBM3", total_gib=79.6, uuid="GPU-1"),
    )

    answer = answered(llama, detection=detect_devices(DescribedNvml(*cards)))

    assert answer.target is not None
    assert answer.target.name == "NVIDIA H100 80GB HBM3"
    assert answer.fits


def test_what_does_not_fit_says_what_would_and_that_does(llama: Path):
    answer = answered(llama, gpu="A10")

    assert answer.fits is False
    assert [reason.code for reason in answer.reasons] == ["memory"]
    assert answer.largest_model_len is not None
    assert f"{answer.largest_model_len:,}" in answer.hint
    assert answered(llama, gpu="A10", max_model_len=answer.largest_model_len).fits
    longer = answer.largest_model_len + 64
    assert answered(llama, gpu="A10", max_model_len=longer).fits is False


def test_the_largest_concurrency_is_the_last_that_fits(llama: Path):
    largest = answered(llama, gpu="L40S", max_model_len=8192).largest_concurrency

    assert largest is not None
    assert largest > 1
    fits = {
        number: answered(llama, gpu="L40S", max_model_len=8192, max_concurrency=number).fits
        for number in (largest, largest + 1)
    }
    assert fits == {largest: True, largest + 1: False}


def test_the_largest_context_is_searched_beyond_what_was_asked(llama: Path):
    assert answered(llama, gpu="H100 SXM", max_model_len=1024).largest_model_len == 131_072


def test_a_device_that_cannot_multiply_the_type_does_not_fit_however_large(llama: Path):
    answer = answered(llama, gpu="V100 SXM 32GB", max_model_len=1024)

    assert answer.fits is False
    assert "memory" not in {reason.code for reason in answer.reasons}
    assert answer.device_fits == (False,)
    assert "max_model_len" not in answer.hint


def test_only_the_device_that_is_too_full_does_not_fit(tmp_path: Path):
    folder = config_folder(tmp_path, "gemma-2-27b")
    fullest, others = 0.0, 0.0
    plan = make_plan([str(folder)], PlanOptions(pipeline_parallel=2, max_model_len=1024))
    sizes = sorted(device.total_gib for device in plan.devices)
    others, fullest = sizes
    assert others < fullest
    between = (others + fullest) / 2
    card = Card("something new", total_gib=between, reserved_gib=0, capability=(9, 0))
    twin = Card("something new", total_gib=between, reserved_gib=0, capability=(9, 0), uuid="1")

    answer = answer_plan(plan, detection=detect_devices(DescribedNvml(card, twin)))

    assert sorted(map(bool, answer.device_fits)) == [False, True]


def test_a_name_that_several_devices_have_means_the_smallest_and_says_so(llama: Path):
    answer = answered(llama, gpu="A100", max_model_len=1024)

    assert answer.target is not None
    assert answer.target.memory_bytes < 45 * GIB
    assert "A100 SXM 80GB" in answer.target.note


def test_a_device_that_nobody_knows_is_an_error_with_the_nearest(llama: Path):
    with pytest.raises(ArgumentError, match="'L40SS'") as caught:
        answered(llama, gpu="L40SS")

    assert caught.value.param == "gpu"
    assert re.search(r"\bL40S\b", caught.value.hint)


@pytest.mark.parametrize("runtime", ["llamacpp", "llama-cpp", "LLAMA.CPP"])
def test_llama_cpp_is_known_however_it_is_spelt(llama: Path, runtime: str):
    assert answered(llama, runtime=runtime, max_model_len=512).plan.runtime == "llama.cpp"


def test_what_cannot_be_planned_at_all_is_an_error(llama: Path):
    with pytest.raises(PlanError, match=r"\b32\b") as split:
        answered(llama, tensor_parallel=3)
    with pytest.raises(ArgumentError, match="zebra") as runtime:
        answered(llama, runtime="zebra")
    with pytest.raises(ArgumentError) as nothing:
        make_plan([], PlanOptions())

    assert split.value.param == "tensor_parallel"
    assert runtime.value.param == "runtime"
    assert nothing.value.param == "model_ids"


def test_several_models_share_a_device(tmp_path: Path):
    folders = [str(config_folder(tmp_path, name)) for name in ("Qwen3-8B", "Qwen3-0.6B")]

    plan = make_plan(folders, PlanOptions(max_model_len=1024))

    alone = [make_plan([one], PlanOptions(max_model_len=1024)) for one in folders]
    assert len(plan.devices) == 1
    assert plan.devices[0].weights_bytes == sum(one.devices[0].weights_bytes for one in alone)


def test_the_largest_context_is_one_that_every_model_was_made_for(tmp_path: Path):
    folders = [
        str(config_folder(tmp_path, name))
        for name in ("Llama-3.1-8B-Instruct", "Qwen2.5-7B-Instruct")
    ]

    answer = answer_plan(make_plan(folders, PlanOptions(max_model_len=8192)), gpu="H200")

    assert answer.largest_model_len == 32_768
