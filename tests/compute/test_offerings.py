"""compute/offerings.py: what an offering says, and what it is taken for."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.offerings import OfferingTable, hardware_of
from conduit_nb.errors import ArgumentError
from tests.compute.made_plans import made_offering


def test_a_provider_may_be_written_as_its_name():
    assert ComputeProvider("local") is ComputeProvider.LOCAL
    assert f"{ComputeProvider.LOCAL}" == "local"


def test_a_name_that_is_none_of_ours_is_no_member():
    with pytest.raises(ValueError, match="lokal"):
        ComputeProvider("lokal")


def test_memory_counts_on_all_devices_of_all_nodes():
    offering = made_offering("L40S", 6.0, count=4, nodes=2)

    assert offering.total_gib == pytest.approx(8 * 44.39)
    assert offering.usd_per_gib_hour == pytest.approx(6 / (8 * 44.39))


def test_what_is_sold_is_never_more_than_a_device_has():
    assert made_offering("NVIDIA H100 80GB HBM3", memory_gib=80).hardware.memory_gib == 79.19
    assert made_offering("L4", memory_gib=10.5).hardware.memory_gib == 10.5


def test_of_accelerators_that_a_name_fits_the_slowest_is_assumed():
    assert hardware_of("H100", 80).accelerator == hardware_of("H100 PCIe", 80).accelerator
    assert hardware_of("A100", 40).accelerator != hardware_of("A100", 80).accelerator


def test_an_accelerator_that_nobody_knows_is_still_an_offering():
    hardware = made_offering("Abacus 9000", memory_gib=48).hardware

    assert hardware.accelerator is None
    assert not hardware.is_cpu
    assert hardware.memory_gib == 48


def test_a_cpu_has_no_accelerator():
    assert made_offering(None).hardware.is_cpu


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory_gib", 0),
        ("memory_gib", math.nan),
        ("memory_gib", math.inf),
        ("usd_per_hour", -0.1),
        ("usd_per_hour", math.nan),
        ("usd_per_hour", math.inf),
        ("count", 0),
        ("nodes", 0),
        ("availability", "plenty"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_it(field: str, value: object):
    with pytest.raises(ArgumentError, match=field) as raised:
        dataclasses.replace(made_offering(), **{field: value})

    assert raised.value.param == field
    assert raised.value.hint


def test_equal_hardware_and_terms_are_one_object():
    one, other = made_offering("L4", 1), made_offering("L4", 2, id="another")

    assert one.hardware is other.hardware
    assert one.terms is other.terms
    assert dataclasses.replace(one, count=2).hardware is not one.hardware


def test_an_offering_survives_pickling():
    offering = made_offering("L4", 1)

    assert pickle.loads(pickle.dumps(offering)) == offering


def test_a_table_keeps_everything_and_sorts_each_kind_by_price():
    dear, cheap, other = made_offering("L4", 2), made_offering("L4", 1), made_offering("T4", 3)

    table = OfferingTable([dear, cheap, other])

    assert list(table) == [dear, cheap, other]
    assert (len(table), table[2]) == (3, other)
    assert table.of(dear.hardware) == [cheap, dear]
