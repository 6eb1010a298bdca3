"""lmlite/devices.py: what there is, and how much of it models may take. CUDA is described."""

from __future__ import annotations

import psutil
import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.compute.overheads import overheads_of
from conduit_nb.errors import ArgumentError
from conduit_nb.lmlite import devices as devices_module
from conduit_nb.lmlite.devices import BUDGET_SHARE, Devices, release_unused

GIB = 2**30


class DescribedCuda:
    """As much of torch.cuda as is used: two cards, with what others and we hold of them."""

    def __init__(self) -> None:
        self.free = [20 * GIB, 8 * GIB]
        self.reserved = [0, 4 * GIB]
        self.emptied = 0

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return len(self.free)

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return self.free[device.index], 24 * GIB

    def memory_reserved(self, device: torch.device) -> int:
        return self.reserved[device.index]

    def empty_cache(self) -> None:
        self.emptied += 1


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> DescribedCuda:
    described = DescribedCuda()
    monkeypatch.setattr(torch, "cuda", described)
    return described


@pytest.mark.usefixtures("cuda")
def test_all_cards_are_taken_where_none_is_named():
    devices = Devices(None)

    assert devices.kind == "cuda"
    assert devices.names == ("cuda:0", "cuda:1")


def test_the_budget_of_a_card_is_a_share_of_what_is_free_and_what_we_hold(cuda: DescribedCuda):
    budgets = Devices(None).budgets()
    assert budgets == {
        "cuda:0": int(BUDGET_SHARE["cuda"] * 20 * GIB),
        "cuda:1": int(BUDGET_SHARE["cuda"] * 12 * GIB),
    }

    cuda.free[0] -= 10 * GIB  # another program came
    assert Devices(None).budgets()["cuda:0"] == int(BUDGET_SHARE["cuda"] * 10 * GIB)


@pytest.mark.usefixtures("cuda")
def test_a_budget_that_is_named_is_that_of_each_card():
    assert set(Devices(None, memory_gib=10).budgets().values()) == {10 * GIB}


@pytest.mark.usefixtures("cuda")
def test_a_budget_above_what_a_card_has_is_refused():
    with pytest.raises(ArgumentError, match=r"memory_gib=25\b.*\bcuda:0\b.*24\.0 GiB") as caught:
        Devices(None, memory_gib=25)

    assert caught.value.param == "memory_gib"


def test_the_processor_lends_a_share_of_what_is_free_less_what_the_process_takes(monkeypatch):
    monkeypatch.setattr(devices_module, "free_memory_bytes", lambda: 10 * GIB)
    monkeypatch.setattr(devices_module, "own_memory_bytes", lambda: 2 * GIB)
    base = overheads_of("lmlite").runtime_bytes

    assert Devices("cpu").budgets() == {"cpu": int(BUDGET_SHARE["cpu"] * 12 * GIB) - base}
    assert Devices("cpu", memory_gib=3).budgets() == {"cpu": 3 * GIB - base}
    assert Devices("cpu", memory_gib=0.1).budgets() == {"cpu": 0}


def test_this_machine_has_a_budget():
    (budget,) = Devices("cpu").budgets().values()

    assert 0 <= budget < psutil.virtual_memory().total


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError, match="device='warp'") as caught:
        Devices("warp")

    assert caught.value.param == "device"


def test_cards_give_back_what_torch_keeps_for_later(cuda: DescribedCuda):
    release_unused(["cpu"])
    assert cuda.emptied == 0
    release_unused(["cuda:0", "cuda:1"])
    assert cuda.emptied == 1
