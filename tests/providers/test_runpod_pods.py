"""providers/runpod_pods.py: what is asked of Runpod, and what a pod is to us."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ProviderFailedError
from conduit_nb.providers.runpod_pods import create_body, disk_usd_per_hour, to_gb, to_node
from tests.providers.runpod_nodes import SECRETS, spec_of

CPU = ComputeOffering(
    provider="runpod",
    id="cpu5c-4",
    accelerator=None,
    memory_gib=8,
    usd_per_hour=0.14,
    vcpus=4,
    metadata={"cpu_id": "cpu5c", "cloud": "SECURE"},
)
POD = {
    "id": "abc",
    "name": "conduit-x",
    "status": "RUNNING",
    "createdAt": "2026-01-01T00:00:00Z",
    "ports": ["8000/http"],
    "cost": 0.5,
    "disk": 73,
}


def node_of(**change: Any) -> Any:
    return to_node({**POD, **change}, proxy_url="https://{id}-{port}.example")


def test_a_cpu_is_asked_for_by_its_flavour():
    body = create_body(spec_of(), SECRETS, CPU, api_url="u")

    assert body["cpu"] == {"id": "cpu5c", "vcpuCount": 4}
    assert "gpu" not in body
    assert "dataCenterIds" not in body


def test_the_guard_is_what_starts_and_is_told_how_to_end_the_pod():
    body = create_body(spec_of(), SECRETS, CPU, api_url="https://api.example/v2")

    assert shlex.split(body["args"])[:2] == ["python3", "-c"]
    config = json.loads(body["env"]["CONDUIT_GUARD"])
    assert config["end"] == {"kind": "runpod", "url": "https://api.example/v2"}
    assert config["port"] == 8000


def test_a_program_of_the_image_is_replaced():
    spec = replace(spec_of(), has_entrypoint=True)
    told = json.loads(create_body(spec, SECRETS, CPU, api_url="u")["args"])

    assert told["entrypoint"] == ["python3"]
    assert told["cmd"][0] == "-c"


def test_a_pod_costs_its_devices_and_its_disk_and_a_stopped_one_its_disk():
    assert node_of().usd_per_hour == pytest.approx(0.51)
    assert node_of(status="EXITED", cost=0.0).usd_per_hour == pytest.approx(0.02)
    assert node_of(status="ERROR", cost=0.0).status == "failed"
    assert node_of(status="TERMINATED").usd_per_hour == 0
    assert disk_usd_per_hour(730) == pytest.approx(0.1)


@pytest.mark.parametrize("change", [{"id": None, "name": None, "createdAt": None}, {"ports": 3}])
def test_a_pod_that_makes_no_sense_is_the_providers_fault(change: dict[str, Any]):
    with pytest.raises(ProviderFailedError):
        node_of(**change)


def test_a_state_that_is_new_to_us_counts_as_one_that_may_bill():
    assert node_of(status="HIBERNATING").status == "failed"


def test_gib_are_rounded_up_to_gb():
    assert (to_gb(20), to_gb(1)) == (22, 2)
