"""providers/docker_gpus.py: which cards are allowed, and which of them a container gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conduit_nb.compute.detection import Detection, detect_devices, local_offerings
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import NoCapacityError
from conduit_nb.providers.docker_gpus import allowed_gpus, choose_gpus
from tests.compute.described_nvml import Card, DescribedNvml

H100, T4 = "NVIDIA H100 80GB HBM3", "Tesla T4"
SEEN = detect_devices(
    DescribedNvml(
        Card(H100, uuid="GPU-a", used_gib=1),
        Card(H100, uuid="GPU-b"),
        Card(H100, uuid="GPU-busy", used_gib=60),
        Card(T4, uuid="GPU-t", total_gib=15, capability=(7, 5)),
    )
)


def offered(name: str, seen: Detection = SEEN) -> ComputeOffering:
    """Return the offering of that card with the most memory."""
    alike = [one for one in local_offerings(seen) if one.accelerator == name]
    return max(alike, key=lambda one: one.memory_gib)


@pytest.mark.parametrize(
    ("named", "allowed"),
    [
        ("", ["GPU-a", "GPU-b", "GPU-busy", "GPU-t"]),
        ("0, 3", ["GPU-a", "GPU-t"]),
        ("GPU-b", ["GPU-b"]),
        ("9", []),
    ],
)
def test_all_are_allowed_or_those_that_are_named(
    named: str, allowed: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_DOCKER_GPUS", named)

    assert [one.uuid for one in allowed_gpus(SEEN)] == allowed


def test_the_freest_of_the_offered_kind_is_given():
    offering = offered(H100)

    assert choose_gpus(SEEN.devices, offering, 1, taken=set()) == ("GPU-b",)
    assert choose_gpus(SEEN.devices, offered(T4), 1, taken=set()) == ("GPU-t",)


def test_what_a_container_has_is_given_to_no_other():
    # Less memory than the first has left: so two of them are alike.
    offering = replace(offered(H100), memory_gib=70.0)

    assert choose_gpus(SEEN.devices, offering, 1, taken={"GPU-b"}) == ("GPU-a",)
    with pytest.raises(NoCapacityError, match=r"\b2\b.*70\.0 GiB.*\b2\b.*\b1\b") as caught:
        choose_gpus(SEEN.devices, offering, 2, taken={"GPU-b"})
    assert "CONDUIT_DOCKER_GPUS" in caught.value.hint


def test_a_card_that_has_been_filled_since_is_none():
    offering = replace(offered(H100), memory_gib=70.0)
    filled = [replace(one, free_bytes=0) for one in SEEN.devices]

    with pytest.raises(NoCapacityError, match=r"\b1\b.*70\.0 GiB.*\b0\b"):
        choose_gpus(filled, offering, 1, taken=set())
