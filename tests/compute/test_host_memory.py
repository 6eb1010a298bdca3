"""compute/host_memory.py: what may still be taken, also inside a container."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from conduit_nb.compute.host_memory import CGROUPS, Cgroup, free_memory_bytes, own_memory_bytes

MIB = 2**20


@pytest.fixture
def cgroup(tmp_path: Path) -> Cgroup:
    return Cgroup(
        limit=tmp_path / "limit",
        usage=tmp_path / "usage",
        statistics=tmp_path / "stat",
        inactive="inactive_file",
    )


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=8 * 1024 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


def test_without_a_limit_it_is_what_the_machine_has_free(cgroup: Cgroup):
    assert free_memory_bytes([cgroup]) == 8 * 1024 * MIB
    cgroup.limit.write_text("max\n")
    cgroup.usage.write_text(f"{500 * MIB}\n")
    assert free_memory_bytes([cgroup]) == 8 * 1024 * MIB


def test_a_containers_limit_bounds_it_less_what_is_used_there(cgroup: Cgroup):
    cgroup.limit.write_text(f"{1024 * MIB}\n")
    assert free_memory_bytes([cgroup]) == 1024 * MIB

    cgroup.usage.write_text(f"{600 * MIB}\n")
    assert free_memory_bytes([cgroup]) == 424 * MIB


def test_pages_of_files_that_nobody_reads_do_not_count_as_used(cgroup: Cgroup):
    cgroup.limit.write_text(f"{1024 * MIB}\n")
    cgroup.usage.write_text(f"{600 * MIB}\n")
    cgroup.statistics.write_text(f"anon 1\nactive_file 2\ninactive_file {200 * MIB}\n")

    assert free_memory_bytes([cgroup]) == 624 * MIB


def test_a_container_that_is_over_its_limit_has_nothing_free(cgroup: Cgroup):
    cgroup.limit.write_text(f"{100 * MIB}\n")
    cgroup.usage.write_text(f"{120 * MIB}\n")

    assert free_memory_bytes([cgroup]) == 0


def test_the_machine_bounds_a_generous_limit(cgroup: Cgroup):
    cgroup.limit.write_text(f"{2**63 - 4096}\n")  # what cgroup v1 says where there is none

    assert free_memory_bytes([cgroup]) == 8 * 1024 * MIB


def test_this_machine_is_asked_by_default():
    assert len(CGROUPS) == 2
    assert 0 < free_memory_bytes() <= 8 * 1024 * MIB


def test_own_memory_is_part_of_what_is_resident():
    assert 0 < own_memory_bytes() <= psutil.Process().memory_info().rss
