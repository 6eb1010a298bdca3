"""Who may call what, how refusals look, and logs as streams of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from conduit_nb.testing.runpod_server import RunpodServer
from conduit_nb.testing.runpod_server.app import LOG_POLL_S
from tests.testing.runpod_server.conftest import Clock, client_of

Create = Callable[..., dict[str, Any]]


def events(api: httpx2.Client, pod_id: str, **options: Any) -> list[dict[str, str]]:
    """Return a log's events of a pod that is gone, so that the stream ends."""
    answer = api.get(f"/pods/{pod_id}/logs", **options)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, str]] = []
    for event in answer.text.split("\n\n")[:-1]:
        first, second = event.split("\n")
        line = json.loads(second.removeprefix("data: "))
        found.append({"id": first.removeprefix("id: "), **line})
    return found


@pytest.fixture
def ended(cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create) -> str:
    """The id of a pod that has run, has written, and is terminated, but not forgotten."""
    cloud.behaviour.terminated_s = 600
    pod = create()
    for number in range(3):
        clock.advance(10)
        api.get(f"/pods/{pod['id']}")
        cloud.account.find(pod["id"]).write("container", f"line {number}", clock())
    api.delete(f"/pods/{pod['id']}")
    return pod["id"]


@pytest.mark.parametrize("header", [None, "Basic x", "Bearer", "Bearer nobodys"])
def test_without_a_valid_key_nothing_is_told(cloud: RunpodServer, header: str | None):
    headers = {} if header is None else {"Authorization": header}

    answer = httpx2.get(f"{cloud.url}/pods", headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Unauthorized"


def test_a_problem_says_status_and_what_is_wrong_with_each_field(api: httpx2.Client):
    answer = api.post("/pods", json={"disk": 0, "gpu": {"id": "x", "count": 0}})

    problem = answer.json()
    assert problem["status"] == answer.status_code == 422
    assert [error.split(":")[0] for error in problem["errors"]] == [
        "$.name",
        "$.disk",
        "$.gpu.count",
    ]


def test_what_is_not_there_is_a_problem_as_well(api: httpx2.Client):
    assert api.get("/pods/nobody").json()["status"] == 404
    assert api.put("/pods").json()["status"] == 405
    assert api.get("/nothing").json()["status"] == 404
    assert api.post("/pods", content=b"{").json()["status"] == 400


def test_the_key_of_a_pod_opens_that_pod_alone(
    cloud: RunpodServer, api: httpx2.Client, create: Create
):
    mine, other = create(), create(name="two")
    key = cloud.account.find(mine["id"]).key
    with client_of(cloud, key) as pod:
        assert pod.get(f"/pods/{mine['id']}").status_code == 200
        assert pod.get(f"/pods/{other['id']}").status_code == 403
        assert pod.delete(f"/pods/{other['id']}").status_code == 403
        assert pod.get("/pods").status_code == 403
        assert pod.post("/pods", json={}).status_code == 403

        cloud.behaviour.pod_keys_may_terminate = False
        assert pod.delete(f"/pods/{mine['id']}").status_code == 403

        cloud.behaviour.pod_keys_may_terminate = True
        assert pod.delete(f"/pods/{mine['id']}").status_code == 204
        assert pod.get(f"/pods/{mine['id']}").status_code == 401


def test_logs_tell_both_sources_in_order(api: httpx2.Client, ended: str):
    lines = [(line["source"], line["line"]) for line in events(api, ended)]

    assert lines == [
        ("system", "The pod is PROVISIONING."),
        ("system", "The pod is STARTING."),
        ("system", "The pod is RUNNING."),
        ("container", "line 0"),
        ("container", "line 1"),
        ("container", "line 2"),
        ("system", "The pod is TERMINATED."),
    ]


def test_logs_can_be_of_one_source_and_of_their_tail_only(api: httpx2.Client, ended: str):
    own = events(api, ended, params={"source": "container"})
    assert [line["line"] for line in own] == ["line 0", "line 1", "line 2"]

    assert [line["line"] for line in events(api, ended, params={"tail": 2})] == [
        "line 2",
        "The pod is TERMINATED.",
    ]
    assert events(api, ended, params={"tail": 0}) == []


def test_logs_go_on_where_a_reader_left_them(api: httpx2.Client, ended: str):
    seen = events(api, ended)[4]

    after = events(api, ended, headers={"Last-Event-ID": seen["id"]}, params={"tail": 0})
    assert [line["line"] for line in after] == ["line 2", "The pod is TERMINATED."]

    since = events(api, ended, params={"since": seen["ts"]})
    assert [line["line"] for line in since] == ["line 1", "line 2", "The pod is TERMINATED."]


@pytest.mark.parametrize(
    "query", [{"tail": "5001"}, {"tail": "-1"}, {"source": "x"}, {"since": "x"}]
)
def test_a_log_that_cannot_be_meant_is_refused(
    api: httpx2.Client, ended: str, query: dict[str, str]
):
    assert api.get(f"/pods/{ended}/logs", params=query).status_code == 422


def test_a_log_is_followed_while_the_pod_lives(
    cloud: RunpodServer, api: httpx2.Client, clock: Clock, create: Create
):
    pod = create()
    with api.stream("GET", f"/pods/{pod['id']}/logs") as answer:
        lines = answer.iter_lines()
        assert "PROVISIONING" in next(line for line in lines if line.startswith("data"))
        cloud.account.find(pod["id"]).write("container", "written later", clock())
        assert "written later" in next(line for line in lines if "later" in line)
        cloud.vanish(pod["id"])
        assert any("TERMINATED" in line for line in lines)
    assert LOG_POLL_S < 1
