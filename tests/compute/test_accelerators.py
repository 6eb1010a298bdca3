"""compute/accelerators.py: the table is sane, and every spelling of a name finds its row."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute import accelerator_table as table
from conduit_nb.compute.accelerators import (
    ACCELERATORS,
    Accelerator,
    find_accelerator,
    find_accelerators,
)
from conduit_nb.errors import ArgumentError

BY_NAME = {accelerator.name: accelerator for accelerator in ACCELERATORS}
NVIDIA = [accelerator for accelerator in ACCELERATORS if accelerator.vendor == "NVIDIA"]

# What others call them -> the row.
SPELLINGS = {
    # nvidia-smi, rocm-smi, sysctl
    "NVIDIA H100 80GB HBM3": "H100 SXM 80GB",
    "NVIDIA H100 PCIe": "H100 PCIe 80GB",
    "NVIDIA A100-SXM4-80GB": "A100 SXM 80GB",
    "NVIDIA A100-PCIE-40GB": "A100 PCIe 40GB",
    "NVIDIA A100 80GB PCIe": "A100 PCIe 80GB",
    "NVIDIA GH200 480GB": "GH200 96GB",
    "NVIDIA B300 SXM6 AC": "B300 SXM",
    "NVIDIA GeForce RTX 3090": "RTX 3090",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "RTX PRO 6000 Max-Q",
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX PRO 6000 WS",
    "Tesla T4": "T4",
    "Quadro RTX 6000": "Quadro RTX 6000",
    "Tesla V100-SXM2-16GB": "V100 SXM 16GB",
    "Apple M4 Max": "Apple M4 Max",
    # Runpod
    "AMD Instinct MI300X OAM": "MI300X",
    "NVIDIA L40S": "L40S",
    "NVIDIA H100 NVL": "H100 NVL 94GB",
    "NVIDIA H200": "H200 SXM 141GB",
    "NVIDIA B200": "B200 SXM",
    "NVIDIA RTX 4000 SFF Ada Generation": "RTX 4000 SFF Ada",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "RTX PRO 6000 Server",
    "Tesla V100-FHHL-16GB": "V100 FHHL 16GB",
    # AWS, Google, Lambda, Modal, gpuhunt
    "T4g": "T4",
    "RTX PRO Server 6000": "RTX PRO 6000 Server",
    "nvidia-l4": "L4",
    "nvidia-tesla-a100": "A100 SXM 40GB",
    "nvidia-h100-mega-80gb": "H100 SXM 80GB",
    "H100 (80 GB SXM5)": "H100 SXM 80GB",
    "A10 (24 GB PCIe)": "A10",
    "RTX A6000 (48 GB)": "RTX A6000",
    "H100NVL": "H100 NVL 94GB",
    "RTX6000Ada": "RTX 6000 Ada",
    "A4000": "RTX A4000",
    "RTX4070TiSUPER": "RTX 4070 Ti SUPER",
}


@pytest.mark.parametrize("said", SPELLINGS)
def test_a_name_is_found_as_others_spell_it(said: str):
    assert find_accelerator(said).name == SPELLINGS[said]


@given(st.sampled_from(ACCELERATORS), st.data())
def test_case_spaces_and_dashes_of_a_name_do_not_matter(
    accelerator: Accelerator, data: st.DataObject
):
    spoken = "".join(
        data.draw(st.sampled_from([letter.lower(), letter.upper()]))
        if letter != " "
        else data.draw(st.sampled_from([" ", "-", "_", "", "  "]))
        for letter in accelerator.name
    )

    assert find_accelerator(spoken) == accelerator


def test_a_name_of_several_is_settled_by_the_memory():
    assert find_accelerator("V100S", memory_gib=32).name == "V100S PCIe 32GB"
    assert {one.name for one in find_accelerators("A100", memory_gib=40)} == {
        "A100 PCIe 40GB",
        "A100 SXM 40GB",
    }
    assert find_accelerator("RTX 4060 Ti", memory_gib=15.6).name == "RTX 4060 Ti 16GB"


def test_a_name_of_several_without_memory_lists_them():
    with pytest.raises(ArgumentError, match=r"'A100'.*\b4\b") as raised:
        find_accelerator("A100")

    assert raised.value.param == "gpu"
    assert "A100 SXM 80GB" in raised.value.hint
    assert "A100 PCIe 40GB" in raised.value.hint


def test_memory_that_no_such_card_has_is_an_error_with_what_there_is():
    with pytest.raises(ArgumentError, match=r"'L4'.*\b48 GiB") as raised:
        find_accelerator("L4", memory_gib=48)

    assert raised.value.param == "memory_gib"
    assert "L4 (22.0 GiB)" in raised.value.hint


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ArgumentError, match="'L40SS'") as raised:
        find_accelerator("L40SS")

    assert raised.value.param == "gpu"
    assert re.search(r"\bL40S\b", raised.value.hint)


def test_what_no_row_is_called_is_none():
    assert find_accelerators("abacus") == ()


def test_no_two_rows_share_a_spelling():
    spelled = [name for one in ACCELERATORS for name in (one.name, *one.aliases)]
    compact = ["".join(filter(str.isalnum, name.lower())) for name in spelled]

    assert len(compact) == len(set(compact))
    for accelerator in ACCELERATORS:
        for alias in accelerator.aliases:
            assert find_accelerator(alias) == accelerator, alias


def test_every_alias_and_measured_memory_belongs_to_a_row():
    assert set(table.ALIASES) <= set(BY_NAME)
    assert set(table.USABLE_GIB) <= set(BY_NAME)


@pytest.mark.parametrize("accelerator", ACCELERATORS, ids=lambda one: one.name)
def test_a_row_is_sane(accelerator: Accelerator):
    peaks = accelerator.tflops

    assert 0 < accelerator.usable_gib < accelerator.memory_gb, "less than is sold"
    assert accelerator.usable_gib > 0.6 * accelerator.memory_gb
    if accelerator.memory_mib is not None:
        assert accelerator.usable_gib < accelerator.memory_mib / 1024 <= accelerator.memory_gb
    assert 60 <= accelerator.bandwidth_gb_per_s <= 8000
    assert accelerator.link_gb_per_s <= 1800
    assert peaks["fp32"] <= peaks["fp16"]
    assert peaks.get("bf16", peaks["fp16"]) <= peaks["fp16"]
    for narrow, wide in (("fp8", "fp16"), ("fp4", "fp8")):
        assert peaks.get(narrow, 1e6) >= peaks.get(wide, 0)
    if "tf32" in peaks:
        assert peaks["fp32"] <= peaks["tf32"] <= peaks["bf16"]


@pytest.mark.parametrize("accelerator", NVIDIA, ids=lambda one: one.name)
def test_nvidias_types_came_with_their_generation(accelerator: Accelerator):
    capability = accelerator.compute_capability
    assert capability is not None

    assert accelerator.supports("bf16") == (capability >= (8, 0))
    assert accelerator.supports("fp8") == (capability >= (8, 9))
    assert accelerator.supports("fp4") == (capability >= (10, 0))


@pytest.mark.parametrize(
    ("name", "dtype", "tflops"),
    [
        ("A100 SXM 80GB", "bf16", 312),
        ("H100 SXM 80GB", "bf16", 989),
        ("H100 SXM 80GB", "fp8", 1979),
        ("L40S", "fp8", 733),
        ("L4", "bf16", 121),
        ("RTX 4090", "bf16", 165.2),
        ("MI300X", "bf16", 1307),
        ("B200 SXM", "fp4", 9000),
    ],
)
def test_peaks_are_dense_never_sparse(name: str, dtype: str, tflops: float):
    assert BY_NAME[name].tflops[dtype] == pytest.approx(tflops, rel=0.01)


@pytest.mark.parametrize(
    ("name", "mib", "usable_gib"),
    [
        ("H100 SXM 80GB", 81559, 79.19),
        ("A100 SXM 80GB", 81920, 79.14),
        ("L4", 23034, 22.03),
        ("T4", 15360, 14.56),
        ("H200 SXM 141GB", 143771, 139.72),
    ],
)
def test_memory_is_what_was_measured(name: str, mib: int, usable_gib: float):
    assert BY_NAME[name].memory_mib == mib
    assert BY_NAME[name].usable_gib == pytest.approx(usable_gib, abs=0.01)
