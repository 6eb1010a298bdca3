"""The catalogue shows types always, and stock where product, count and cloud are said."""

from __future__ import annotations

import httpx2
import pytest

from conduit_nb.testing.runpod_server import RunpodServer
from conduit_nb.testing.runpod_server.stock import RTX_4090

STOCK = {"include": "AVAILABILITY", "product": "POD"}


def gpu(api: httpx2.Client, gpu_id: str = RTX_4090.id, **query: object) -> dict:
    found = api.get("/catalog/gpus", params=query).json()["gpus"]
    return next(one for one in found if one["id"] == gpu_id)


def test_without_stock_a_type_has_prices_and_ceilings_only(api: httpx2.Client):
    found = gpu(api)

    assert found["price"] == {"secure": 0.69, "community": 0.34}
    assert found["maxCount"] == {"secure": 8, "community": 2}
    assert "availability" not in found


def test_stock_depends_on_the_count_and_the_cloud(api: httpx2.Client):
    assert gpu(api, **STOCK)["availability"] == "HIGH"
    assert gpu(api, **STOCK, cloud="COMMUNITY")["availability"] == "MEDIUM"
    assert gpu(api, **STOCK, cloud="COMMUNITY", count=2)["availability"] == "LOW"
    assert gpu(api, **STOCK, cloud="COMMUNITY", count=4)["availability"] == "NONE"


def test_data_centers_and_cuda_versions_are_those_that_have_it(api: httpx2.Client):
    found = gpu(api, **STOCK, count=8)

    assert [center["id"] for center in found["dataCenters"]] == ["EU-RO-1"]
    assert found["cudaVersions"] == [{"version": "12.8", "available": True}]


def test_what_is_sold_out_everywhere_lists_no_data_center(api: httpx2.Client):
    found = gpu(api, "NVIDIA H100 80GB HBM3", **STOCK)

    assert found["availability"] == "NONE"
    assert "dataCenters" not in found
    assert found["cudaVersions"] == [{"version": "12.8", "available": False}]


def test_countries_and_cuda_narrow_the_stock(api: httpx2.Client):
    europe = gpu(api, **STOCK, countryCodes="RO")
    assert [center["id"] for center in europe["dataCenters"]] == ["EU-RO-1"]

    old = gpu(api, **STOCK, cloud="COMMUNITY", minCudaVersion="12.8")
    assert old["availability"] == "NONE"

    listed = api.get("/catalog/gpus", params={**STOCK, "countryCodes": "AU"}).json()["gpus"]
    assert listed == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"include": "AVAILABILITY"}, 400),
        ({"product": "POD"}, 400),
        ({"count": 2}, 400),
        ({"cloud": "SECURE"}, 400),
        ({**STOCK, "cudaVersions": "12.8", "minCudaVersion": "12"}, 400),
        ({**STOCK, "cloud": "secure"}, 422),
        ({**STOCK, "count": 0}, 422),
        ({**STOCK, "countryCodes": "ro"}, 422),
        ({**STOCK, "cudaVersions": "12"}, 422),
        ({"include": "STOCK", "product": "POD"}, 422),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(
    api: httpx2.Client, query: dict[str, str], status: int
):
    assert api.get("/catalog/gpus", params=query).status_code == status


def test_one_type_is_found_by_its_id(api: httpx2.Client):
    assert api.get(f"/catalog/gpus/{RTX_4090.id}").json()["name"] == "RTX 4090"
    assert api.get("/catalog/gpus/Nobody").status_code == 404
    assert api.get("/catalog/cpus/cpu5c").json()["vcpu"] == {"min": 2, "max": 32}
    assert api.get("/catalog/cpus/cpu0").status_code == 404
    assert api.get("/catalog/datacenters/EU-RO-1").json()["region"] == "EUROPE"
    assert api.get("/catalog/datacenters/EU-XX-9").status_code == 404


def test_cpus_are_rented_by_powers_of_two(api: httpx2.Client):
    def level(vcpus: int) -> httpx2.Response:
        return api.get("/catalog/cpus", params={**STOCK, "vcpuCount": vcpus})

    assert level(32).json()["cpus"][0]["availability"] == "HIGH"
    assert level(64).json()["cpus"][0]["availability"] == "NONE"
    assert level(6).status_code == 400


def test_data_centers_are_filtered_and_tell_their_stock(cloud: RunpodServer, api: httpx2.Client):
    query = {"compliance": "SOC_2_TYPE_2", "include": "GPU_AVAILABILITY,CPU_AVAILABILITY"}
    [center] = api.get("/catalog/datacenters", params=query).json()["dataCenters"]

    assert center["id"] == "US-KS-2"
    assert {"id": RTX_4090.id, "name": "RTX 4090", "availability": "HIGH"} in center[
        "gpuAvailability"
    ]
    assert center["cpuAvailability"]
    assert not api.get("/catalog/datacenters?regions=ASIA").json()["dataCenters"]
    assert len(api.get("/catalog/datacenters").json()["dataCenters"]) == 3
