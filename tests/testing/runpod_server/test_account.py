"""Pods come and go as Runpod says, take devices of machines, and give them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx2
import pytest

from conduit_nb.testing.runpod_server import Behaviour, RunpodServer
from conduit_nb.testing.runpod_server.account import NO_CAPACITY
from conduit_nb.testing.runpod_server.stock import A100, RTX_4090
from conduit_nb.testing.runpod_server.wire import CreatePod
from tests.runpod_specification import specified_runpod_server
from tests.testing.runpod_server.conftest import POD, Clock, client_of

Create = Callable[..., dict[str, Any]]


@pytest.fixture
def cloud(clock: Clock) -> Iterator[RunpodServer]:
    slow = Behaviour(provisioning_s=60, starting_s=30)
    with specified_runpod_server(clock=clock, behaviour=slow) as server:
        yield server


def act(api: httpx2.Client, pod: dict[str, Any], action: str) -> httpx2.Response:
    return api.post(f"/pods/{pod['id']}/action", json={"action": action})


def get(api: httpx2.Client, pod: dict[str, Any]) -> dict[str, Any]:
    return api.get(f"/pods/{pod['id']}").json()


def free(cloud: RunpodServer, gpu_id: str = RTX_4090.id) -> int:
    return sum(one.free for one in cloud.account.stock.machines_of(gpu_id, "SECURE"))


def test_a_pod_is_provisioned_then_starts_then_runs(
    api: httpx2.Client, clock: Clock, create: Create
):
    pod = create()
    assert (pod["status"], pod["actions"]) == ("PROVISIONING", ["stop", "terminate"])

    clock.advance(60)
    assert get(api, pod)["status"] == "STARTING"
    assert get(api, pod)["runtime"] is None

    clock.advance(40)
    running = get(api, pod)
    assert (running["status"], running["actions"]) == ("RUNNING", ["stop", "restart", "terminate"])
    assert running["runtime"]["uptime"] == 10
    assert running["startedAt"] == "2026-11-23T12:01:30Z"
    assert running["cost"] == pytest.approx(2 * 0.69)


def test_a_pod_is_restored_under_the_id_that_it_had(cloud: RunpodServer, api: httpx2.Client):
    made = cloud.account.create(cast("CreatePod", POD), pod_id="0123456789abcd")

    assert made["id"] == "0123456789abcd"
    assert [pod["id"] for pod in api.get("/pods").json()["pods"]] == ["0123456789abcd"]
    assert get(api, {"id": "0123456789abcd"})["name"] == POD["name"]


def test_a_stopped_pod_gives_its_devices_back_and_starts_where_it_was(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create
):
    before = free(cloud)
    pod = create()
    assert free(cloud) == before - 2

    stopped = act(api, pod, "stop").json()
    assert (stopped["status"], stopped["cost"]) == ("EXITED", 0.0)
    assert free(cloud) == before

    assert act(api, pod, "start").json()["status"] == "STARTING"
    clock.advance(30)
    assert get(api, pod)["status"] == "RUNNING"
    assert get(api, pod)["dataCenterId"] == pod["dataCenterId"]


def test_a_stopped_pod_whose_machine_is_full_does_not_start(api: httpx2.Client, create: Create):
    pod = create(gpu={"id": A100.id, "count": 8})
    act(api, pod, "stop")
    create(gpu={"id": A100.id, "count": 1})

    answer = act(api, pod, "start")

    assert answer.status_code == 400
    assert answer.json()["detail"] != NO_CAPACITY, "elsewhere there is a machine"
    assert get(api, pod)["status"] == "EXITED"


@pytest.mark.parametrize("action", ["start", "restart"])
def test_an_action_that_the_state_does_not_allow_is_a_conflict(
    api: httpx2.Client, create: Create, action: str
):
    assert act(api, create(), action).status_code == 409


def test_a_restart_begins_the_uptime_anew(api: httpx2.Client, clock: Clock, create: Create):
    pod = create()
    clock.advance(500)
    get(api, pod)

    assert act(api, pod, "restart").json()["status"] == "STARTING"
    clock.advance(35)
    assert get(api, pod)["runtime"]["uptime"] == 5


@pytest.mark.parametrize("by_action", [True, False])
def test_a_terminated_pod_is_gone_and_pays_nothing(
    cloud: RunpodServer, api: httpx2.Client, create: Create, by_action: bool
):
    before, pod = free(cloud), create()

    answer = act(api, pod, "terminate") if by_action else api.delete(f"/pods/{pod['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"/pods/{pod['id']}").status_code == 404
    assert api.delete(f"/pods/{pod['id']}").status_code == 404
    assert api.get("/pods").json() == {"pods": []}
    assert free(cloud) == before
    assert cloud.account.billing_pods() == []


def test_a_terminated_pod_may_be_seen_for_a_while(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create
):
    cloud.behaviour.terminated_s = 60
    pod = create()
    api.delete(f"/pods/{pod['id']}")

    assert (get(api, pod)["status"], get(api, pod)["actions"]) == ("TERMINATED", [])
    assert act(api, pod, "terminate").status_code == 404
    clock.advance(60)
    assert api.get(f"/pods/{pod['id']}").status_code == 404


def test_a_list_that_lags_shows_neither_the_new_nor_the_end_of_the_old(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create
):
    def listed() -> list[tuple[str, str]]:
        return [(pod["name"], pod["status"]) for pod in api.get("/pods").json()["pods"]]

    cloud.behaviour.list_lag_s = 30
    pod = create()
    assert listed() == []
    clock.advance(30)
    assert listed() == [("one", "PROVISIONING")]
    api.delete(f"/pods/{pod['id']}")
    assert listed() == [("one", "PROVISIONING")]
    clock.advance(30)
    assert listed() == []


def test_what_is_sold_out_is_refused_though_the_catalogue_has_it(
    cloud: RunpodServer, api: httpx2.Client
):
    cloud.behaviour.sold_out.add(RTX_4090.id)

    answer = api.post("/pods", json=POD)

    assert answer.status_code == 400
    assert answer.json()["detail"] == NO_CAPACITY
    assert free(cloud) == 40


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"gpu": {"id": "NVIDIA H100 80GB HBM3"}}, 400),
        ({"gpu": {"id": "NVIDIA Nothing"}}, 400),
        ({"gpu": {"id": RTX_4090.id, "count": 9}}, 400),
        ({"gpu": {"id": RTX_4090.id, "minCudaVersion": "13.0"}}, 400),
        (
            {
                "gpu": {
                    "id": RTX_4090.id,
                    "minCudaVersion": "12.0",
                    "allowedCudaVersions": ["12.8"],
                }
            },
            400,
        ),
        ({"dataCenterIds": ["OC-AU-1"]}, 400),
        ({"cpu": {"id": "cpu5c", "vcpuCount": 4}}, 400),
        ({"gpu": None}, 422),
        ({"image": None}, 422),
        ({"ports": ["http"]}, 400),
        ({"templateId": "t"}, 404),
        ({"mounts": {"network": [{"volumeId": "v", "path": "/v"}]}}, 400),
        ({"mounts": {"persistent": {"size": 5, "path": "/v"}}}, 422),
        ({"gpuCount": 2}, 422),
        ({"disk": "20"}, 422),
    ],
)
def test_a_create_call_that_breaks_a_rule_makes_no_pod(
    cloud: RunpodServer, api: httpx2.Client, changes: dict[str, Any], status: int
):
    answer = api.post("/pods", json={**POD, **changes})

    assert answer.status_code == status
    assert api.get("/pods").json() == {"pods": []}
    assert cloud.account.billing_pods() == []
    assert free(cloud) == 40


def test_a_pod_is_placed_in_the_first_data_center_that_has_room(create: Create):
    pods = [
        create(gpu={"id": RTX_4090.id, "count": 4}, dataCenterIds=["US-KS-2", "EU-RO-1"])[
            "dataCenterId"
        ]
        for _ in range(3)
    ]

    assert pods == ["US-KS-2", "US-KS-2", "EU-RO-1"]


def test_a_cpu_pod_has_the_memory_of_its_type(api: httpx2.Client):
    body = {"name": "c", "image": "i", "cpu": {"id": "cpu5c", "vcpuCount": 4}}

    pod = api.post("/pods", json=body).json()

    assert pod["cpu"] == {"id": "cpu5c", "vcpuCount": 4, "memory": 8}
    assert pod["cost"] == pytest.approx(0.14)
    assert api.post("/pods", json={**body, "cloud": "COMMUNITY"}).status_code == 400
    assert (
        api.post("/pods", json={**body, "cpu": {"id": "cpu5c", "vcpuCount": 6}}).status_code == 400
    )


def test_some_pods_never_boot(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create
):
    cloud.behaviour.never_boots = "one"
    stuck, fine = create(), create(name="two")
    clock.advance(3600)

    assert get(api, stuck)["status"] == "STARTING"
    assert get(api, fine)["status"] == "RUNNING"
    assert cloud.account.ledger.usd(clock(), stuck["id"]) > 2 * 0.69


def test_without_a_balance_everything_stops_and_nothing_starts(
    cloud: RunpodServer, api: httpx2.Client, create: Create
):
    pod = create()

    cloud.account.run_out_of_money()

    assert get(api, pod)["status"] == "EXITED"
    assert act(api, pod, "start").status_code == 402
    assert api.post("/pods", json=POD).status_code == 402


def test_a_pod_that_vanishes_is_unknown(cloud: RunpodServer, api: httpx2.Client, create: Create):
    pod = create()

    cloud.vanish(pod["id"])

    assert api.get(f"/pods/{pod['id']}").status_code == 404


def test_settings_change_only_where_they_are_named(api: httpx2.Client, create: Create):
    pod = create(env={"A": "1"}, mounts={"persistent": {"size": 20, "path": "/w"}})

    def change(body: dict[str, Any]) -> httpx2.Response:
        return api.patch(f"/pods/{pod['id']}", json=body)

    assert change({"name": "other", "locked": True}).json() == {
        **pod,
        "name": "other",
        "locked": True,
    }
    assert act(api, pod, "stop").status_code == 409
    assert change({"mounts": {"network": []}}).status_code == 400
    assert change({"cloud": "SECURE"}).status_code == 422
    assert change({"mounts": {"persistent": {"size": 30, "path": "/w"}}}).status_code == 200


def test_two_clients_see_one_account(cloud: RunpodServer, api: httpx2.Client, create: Create):
    create()
    with client_of(cloud) as other:
        assert other.get("/pods").json() == api.get("/pods").json()
