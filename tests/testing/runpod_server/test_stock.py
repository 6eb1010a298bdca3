"""Stock is counted by what could start now."""

from __future__ import annotations

import pytest

from conduit_nb.testing.runpod_server.stock import Machine, Stock, level, meets_cuda


def machines(*free: int) -> list[Machine]:
    return [Machine(gpu_id="g", center="c", gpus=8, used=8 - one) for one in free]


@pytest.mark.parametrize(
    ("free", "count", "expected"),
    [
        ([], 1, "NONE"),
        ([0, 0], 1, "NONE"),
        ([1], 1, "LOW"),
        ([1, 1], 1, "MEDIUM"),
        ([3, 1], 1, "HIGH"),
        ([3, 3], 4, "NONE"),
        ([4, 3], 4, "LOW"),
        ([8, 8], 4, "HIGH"),
    ],
)
def test_a_level_is_how_many_pods_of_that_size_could_start(
    free: list[int], count: int, expected: str
):
    assert level(machines(*free), count) == expected


@pytest.mark.parametrize(
    ("cuda", "exactly", "at_least", "expected"),
    [
        ("12.8", [], None, True),
        (None, [], None, True),
        (None, [], "12.0", False),
        ("12.8", ["12.8"], None, True),
        ("12.8", ["12.6"], None, False),
        ("12.11", [], "12.2", True),
        ("12.1", [], "12.2", False),
        ("12.8", [], "12", True),
    ],
)
def test_cuda_versions_are_compared_as_numbers(
    cuda: str | None, exactly: list[str], at_least: str | None, expected: bool
):
    machine = Machine(gpu_id="g", center="c", gpus=1, cuda=cuda)

    assert meets_cuda(machine, exactly=exactly, at_least=at_least) is expected


def test_each_stock_has_machines_of_its_own():
    first, second = Stock(), Stock()
    first.machines[0].used = 1

    assert second.machines[0].used == 0


def test_every_machine_holds_a_known_type_in_a_known_place():
    stock = Stock()

    assert all(stock.gpu(machine.gpu_id) for machine in stock.machines)
    assert all(stock.center(machine.center) for machine in stock.machines)
