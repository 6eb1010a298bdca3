"""compute/fit.py: whether a plan fits a device, why it does not, and what would."""

from __future__ import annotations

import re

import pytest

from conduit_nb.compute.fit import (
    Device,
    check_fit,
    largest_concurrency,
    largest_model_len,
    misfits,
)
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import DoesNotFitError
from tests.compute.planned import plan_of

LLAMA = "Llama-3.1-8B-Instruct"
H100 = Device(
    memory_bytes=int(79.19 * GIB),
    dtypes=frozenset({"fp32", "fp16", "bf16", "fp8", "int8"}),
    compute_capability=(9, 0),
    cuda=(13, 0),
    driver=(580, 82, 7),
)


def test_a_plan_that_fits_is_no_error():
    check_fit(plan_of(LLAMA, max_model_len=8192, max_model_concurrency=16), H100)


def test_a_plan_that_does_not_fit_says_the_numbers_and_what_would():
    plan = plan_of(LLAMA, max_model_len=131_072, max_model_concurrency=8)

    with pytest.raises(DoesNotFitError, match=r"146\.\d\d GiB.* 79\.19 GiB") as caught:
        check_fit(plan, H100)

    error = caught.value
    assert error.needed_gib == pytest.approx(146.2, abs=0.1)
    assert error.largest_concurrency == 3
    assert error.largest_model_len
    length = f"{error.largest_model_len:,}"
    assert re.search(rf"max_model_len\D+{length}.*max_concurrency\D+3\b", error.hint)
    assert "tensor_parallel" in error.hint


def test_the_largest_that_fits_fits_and_one_more_does_not():
    asked = {"max_model_len": 131_072, "max_model_concurrency": 8}
    plan = plan_of(LLAMA, **asked)
    memory = H100.memory_bytes
    length, rows = largest_model_len(plan, memory), largest_concurrency(plan, memory)
    assert length
    assert rows

    assert not misfits(plan_of(LLAMA, **{**asked, "max_model_len": length}), H100)
    assert misfits(plan_of(LLAMA, **{**asked, "max_model_len": length + 1}), H100)
    assert not misfits(plan_of(LLAMA, **{**asked, "max_model_concurrency": rows}), H100)
    assert misfits(plan_of(LLAMA, **{**asked, "max_model_concurrency": rows + 1}), H100)


def test_weights_that_alone_are_too_large_leave_nothing_to_shorten():
    plan = plan_of("Qwen2.5-72B")

    with pytest.raises(DoesNotFitError) as caught:
        check_fit(plan, H100)

    assert caught.value.largest_model_len is None
    assert caught.value.largest_concurrency is None
    assert "quantization" in caught.value.hint


@pytest.mark.parametrize(
    ("device", "codes"),
    [
        (Device(memory_bytes=90 * GIB), []),
        (Device(memory_bytes=90 * GIB, dtypes=frozenset({"fp16"})), ["dtype"]),
        (Device(memory_bytes=90 * GIB, compute_capability=(8, 0)), ["compute_capability"]),
        (Device(memory_bytes=90 * GIB, cuda=(12, 4)), ["cuda"]),
        (Device(memory_bytes=90 * GIB, driver=(550, 54, 15)), ["driver"]),
        (Device(memory_bytes=GIB, cuda=(11, 8)), ["memory", "cuda"]),
    ],
)
def test_every_reason_is_given_and_what_is_not_known_is_none(device, codes):
    found = misfits(plan_of(LLAMA, quantization="fp8"), device)

    assert [reason.code for reason in found] == codes
    assert all(reason.text for reason in found)


def test_a_device_that_cannot_is_no_matter_of_length():
    with pytest.raises(DoesNotFitError) as caught:
        check_fit(plan_of(LLAMA), Device(memory_bytes=90 * GIB, dtypes=frozenset()))

    assert caught.value.needed_gib < caught.value.available_gib
    assert "bf16" in str(caught.value)
    assert "quantization" in caught.value.hint
    assert not re.search("max_model_len|max_concurrency", caught.value.hint)
