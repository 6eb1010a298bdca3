"""What a provider calls a device becomes what the table knows, with its real memory."""

from __future__ import annotations

import pytest

from conduit_nb.compute.accelerators import find_accelerator
from conduit_nb.providers.devices import find_device


@pytest.mark.parametrize(
    ("said", "memory_gb", "name"),
    [
        ("NVIDIA GeForce RTX 4090", 24, "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", 80, "H100 SXM 80GB"),
        ("NVIDIA A100 80GB PCIe", 80, "A100 PCIe 80GB"),
        ("Tesla V100-PCIE-16GB", 16, "V100 PCIe 16GB"),
    ],
)
def test_a_known_device_has_the_memory_that_a_process_can_have(
    said: str, memory_gb: float, name: str
):
    assert find_device(said, memory_gb=memory_gb) == (name, find_accelerator(name).usable_gib)


def test_a_name_that_fits_several_is_not_made_one_of_them():
    assert find_device("H100", memory_gb=80) == ("H100", find_accelerator("H100 SXM").usable_gib)


def test_a_second_name_helps_where_the_first_does_not():
    assert find_device("gpu-17", "RTX 4090", memory_gb=24)[0] == "RTX 4090"


def test_an_unknown_device_keeps_its_name_and_the_memory_it_is_said_to_have():
    name, memory_gib = find_device("NVIDIA Rubin X", "", memory_gb=288)

    assert name == "NVIDIA Rubin X"
    assert memory_gib == pytest.approx(268.22, abs=0.01)


def test_a_known_name_with_other_memory_is_not_that_device():
    name, memory_gib = find_device("RTX 4090", memory_gb=48)

    assert (name, round(memory_gib, 1)) == ("RTX 4090", 44.7)
