"""Runpod's catalogue as offerings: asked of the local server, whose traffic is as specified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ProviderAuthError,
    ProviderBusyError,
    ProviderFailedError,
    ProviderUnreachableError,
)
from conduit_nb.providers.base import Listing
from conduit_nb.providers.rest import RestClient
from conduit_nb.providers.runpod import Runpod
from conduit_nb.testing.runpod_server import Fault, GpuType, Machine, RunpodServer, Stock
from conduit_nb.testing.runpod_server.stock import A100, H100, L40S, MI300X, RTX_4090
from tests.raw_server import json_answer, raw_server
from tests.runpod_specification import specified_runpod_server

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def cloud() -> Iterator[RunpodServer]:
    with specified_runpod_server() as server:
        yield server


async def list_all(cloud: RunpodServer) -> Listing:
    return await Runpod(cloud.url, key=cloud.key, now=lambda: NOW).offerings()


def found(listing: Listing, gpu: GpuType, **fields: object) -> list[ComputeOffering]:
    return [
        one
        for one in listing.offerings
        if one.metadata.get("gpu_id") == gpu.id
        and all(one.metadata.get(name) == value for name, value in fields.items())
    ]


async def test_each_count_up_to_the_ceiling_of_each_cloud_is_offered(cloud: RunpodServer):
    listing = await list_all(cloud)

    secure, community = (found(listing, RTX_4090, cloud=one) for one in ("SECURE", "COMMUNITY"))
    assert {one.count for one in secure} == set(range(1, 9))
    assert {one.count for one in community} == {1, 2}
    assert found(listing, H100, cloud="COMMUNITY") == []
    assert listing.problems == ()
    assert len({one.id for one in listing.offerings}) == len(listing.offerings)


async def test_a_price_is_that_of_all_devices_in_its_cloud(cloud: RunpodServer):
    listing = await list_all(cloud)

    prices = {(one.metadata["cloud"], one.count): one.usd_per_hour for one in found(listing, L40S)}
    assert prices == {
        ("SECURE", 1): 0.86,
        ("SECURE", 2): 1.72,
        ("SECURE", 3): 2.58,
        ("SECURE", 4): 3.44,
        ("COMMUNITY", 1): 0.79,
    }


async def test_stock_is_that_of_the_data_center_the_cloud_and_the_count(cloud: RunpodServer):
    listing = await list_all(cloud)

    stock = {
        (one.region, one.count): one.availability
        for one in found(listing, RTX_4090, cloud="SECURE")
        if one.count in (1, 4, 8)
    }
    assert stock == {
        ("US-KS-2", 1): "high",
        ("EU-RO-1", 1): "high",
        ("US-KS-2", 4): "medium",
        ("EU-RO-1", 4): "high",
        ("EU-RO-1", 8): "high",
    }


async def test_what_is_sold_out_everywhere_is_offered_as_such(cloud: RunpodServer):
    offered = found(await list_all(cloud), H100)

    assert [(one.region, one.availability) for one in offered] == [(None, "none")] * 8


async def test_memory_is_what_the_device_really_has(cloud: RunpodServer):
    listing = await list_all(cloud)

    assert {one.memory_gib for one in found(listing, RTX_4090)} == {23.52}
    assert {one.memory_gib for one in found(listing, A100)} == {79.14}
    assert {one.accelerator for one in found(listing, MI300X)} == {"MI300X"}


async def test_ages_terms_and_the_price_of_disk_are_said(cloud: RunpodServer):
    listing = await list_all(cloud)

    [one] = [one for one in found(listing, A100) if one.count == 8]
    assert one.price_as_of == one.availability_as_of == NOW
    assert (one.interruptible, one.enterprise, one.cuda) == (False, True, (12, 8))
    assert one.disk_usd_per_gib_month == pytest.approx(0.10 * 2**30 / 1e9)
    assert one.stopped_disk_usd_per_gib_month == pytest.approx(0.20 * 2**30 / 1e9)
    assert {one.enterprise for one in found(listing, RTX_4090, cloud="COMMUNITY")} == {False}
    assert {one.cuda for one in found(listing, MI300X)} == {None}


async def test_cpus_are_offered_by_powers_of_two(cloud: RunpodServer):
    cpus = [one for one in (await list_all(cloud)).offerings if one.accelerator is None]

    assert {one.vcpus for one in cpus} == {2, 4, 8, 16, 32}
    [one] = [one for one in cpus if one.vcpus == 8 and one.region == "EU-RO-1"]
    assert (one.count, one.usd_per_hour, one.availability) == (1, 0.28, "high")
    assert one.memory_gib == one.ram_gib == pytest.approx(16e9 / 2**30)


async def test_a_gpu_that_nobody_knows_is_offered_as_the_api_describes_it():
    new = GpuType(id="NVIDIA Rubin X", name="Rubin X", memory_gb=288, secure_usd=9.0)
    stock = Stock(gpus=[new], machines=[Machine(gpu_id=new.id, center="EU-RO-1", gpus=1)])
    with specified_runpod_server(stock=stock) as cloud:
        [one] = found(await list_all(cloud), new)

    assert one.accelerator == "NVIDIA Rubin X"
    assert one.memory_gib == pytest.approx(288e9 / 2**30)
    assert (one.hardware.accelerator, one.hardware.is_cpu) == (None, False)


async def test_an_entry_that_makes_no_sense_is_named_once_and_the_others_stay():
    free = GpuType(id="unknown", name="unknown", memory_gb=0, secure_usd=1.0)
    stock = Stock(
        gpus=[free, L40S],
        machines=[Machine(gpu_id=one.id, center="EU-RO-1", gpus=2) for one in (free, L40S)],
    )
    with specified_runpod_server(stock=stock) as cloud:
        listing = await list_all(cloud)

    assert len(found(listing, L40S)) == 2
    assert found(listing, free) == []
    [problem] = listing.problems
    assert problem.code == "provider_failed"
    assert "'unknown'" in str(problem)


async def test_each_cloud_and_count_is_asked_for_once(cloud: RunpodServer):
    await list_all(cloud)

    asked = [(one.path, *sorted(one.query.items())) for one in cloud.exchanges]
    assert len(asked) == len(set(asked)) == 2 + 8 + 2 + 5


async def test_a_busy_moment_is_waited_for(cloud: RunpodServer):
    cloud.spoil(Fault(answer=429, path="/catalog/gpus", retry_after_s=0, times=3))

    assert (await list_all(cloud)).offerings


async def test_a_long_wait_and_a_wrong_key_are_told(cloud: RunpodServer):
    with pytest.raises(ProviderAuthError) as caught:
        await Runpod(cloud.url, key="rpa_wrong").offerings()
    assert caught.value.status == 401

    # More than once: a request of the call above may arrive only now.
    cloud.spoil(Fault(answer=429, path="/catalog/cpus", retry_after_s=600, times=9))
    with pytest.raises(ProviderBusyError):
        await list_all(cloud)


async def test_without_a_key_it_says_which_variable_holds_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)

    with pytest.raises(ProviderAuthError) as raised:
        await Runpod("http://127.0.0.1:9/v2").offerings()

    assert "RUNPOD_API_KEY" in raised.value.hint


@pytest.mark.parametrize("body", [{}, [], {"gpus": {}}, "gpus"])
async def test_a_catalogue_that_is_none_is_a_failure(body: object):
    async with raw_server(json_answer(body)) as server:
        with pytest.raises(ProviderFailedError):
            await Runpod(server.url, key="k").offerings()


async def test_a_server_that_is_away_is_unreachable():
    async with raw_server(stays=True) as server:
        with pytest.raises(ProviderUnreachableError):
            await Runpod(server.url, key="k").offerings(timeout_s=0.3)


def test_neither_the_provider_nor_its_client_shows_the_key():
    api = RestClient("https://x", provider="runpod", key="rpa_1", key_name="RUNPOD_API_KEY")

    assert "rpa_1" not in f"{Runpod(key='rpa_1')!r} {api!r}"
