"""providers/runpod_pods.py: what is asked of Runpod, and what a pod is to us."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ProviderFailedError
from conduit_nb.providers.runpod_pods import (
    by_server_clock,
    create_body,
    disk_usd_per_hour,
    to_gb,
    to_node,
)
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


@pytest.mark.parametrize(
    "change",
    [
        *({"id": None}, {"id": 7}, {"id": {"a": 1}}, {"id": ""}, {"id": "../x"}, {"id": "a?b"}),
        *({"name": None}, {"name": 3}, {"name": ["conduit-x"]}),
    ],
    ids=str,
)
def test_a_pod_that_nobody_could_address_is_the_providers_fault(change: dict[str, Any]):
    with pytest.raises(ProviderFailedError):
        node_of(**change)


@pytest.mark.parametrize("pod", [None, [], "abc", 3, {}, [{"id": "abc", "name": "n"}]], ids=str)
def test_what_is_no_pod_is_the_providers_fault(pod: object):
    with pytest.raises(ProviderFailedError):
        to_node(pod, proxy_url="https://{id}-{port}.example")


@pytest.mark.parametrize(
    "change",
    [
        *({"ports": 3}, {"ports": None}, {"ports": [7]}, {"ports": ["x/http"]}, {"ports": {}}),
        *({"createdAt": None}, {"createdAt": "yesterday"}, {"createdAt": 5}),
        *({"mounts": 1}, {"mounts": {"persistent": []}}, {"disk": "73"}, {"disk": float("inf")}),
    ],
    ids=str,
)
def test_a_pod_is_known_by_id_and_name_whatever_else_cannot_be_read(change: dict[str, Any]):
    node = node_of(**change)

    assert (node.id, node.name, node.status) == ("abc", "conduit-x", "running")
    assert node.url == "https://abc-8000.example"
    assert 0.5 <= (node.usd_per_hour or 0) < 0.6


@pytest.mark.parametrize("status", ["MIGRATING", "", None, 7, ["RUNNING"], {"a": 1}], ids=str)
def test_of_a_state_that_is_new_to_us_nothing_is_concluded(status: object):
    node = node_of(status=status)

    assert node.status == "unknown"
    assert node.detail
    assert node.usd_per_hour == pytest.approx(0.51)


@pytest.mark.parametrize(
    "cost",
    [0, 0.0, -1, float("nan"), float("inf"), -float("inf"), "0.5", None, True, [0.5], 10**400],
    ids=lambda cost: str(cost)[:9],
)
def test_a_price_that_can_be_none_makes_no_pod_free(cost: object):
    assert node_of(cost=cost).usd_per_hour is None


def test_deadlines_are_by_the_providers_clock_where_ours_differs():
    there = datetime(2026, 1, 1, tzinfo=UTC)
    terms = spec_of().guard
    assert terms is not None
    terms = replace(terms, as_of=there + timedelta(hours=2), lease_until=there + timedelta(hours=3))

    assert by_server_clock(terms, None) == terms
    moved = by_server_clock(terms, there)
    assert (moved.as_of, moved.lease_until) == (there, there + timedelta(hours=1))
    near = there + timedelta(hours=2, seconds=5)
    assert by_server_clock(terms, near) == terms, "a header has whole seconds"


def test_gib_are_rounded_up_to_gb():
    assert (to_gb(20), to_gb(1)) == (22, 2)
