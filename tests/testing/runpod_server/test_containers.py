"""Real processes as pods: started, told their secrets, restarted, reached, ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest

from conduit_nb.testing.runpod_server import Container, Processes, RunpodServer
from conduit_nb.testing.runpod_server.containers import resolve_secrets
from tests import waiting
from tests.runpod_specification import specified_runpod_server
from tests.testing.runpod_server.conftest import POD, client_of

SERVER = """
import os, sys, json
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        pod = os.environ["RUNPOD_POD_ID"]
        self.reply(json.dumps({"path": self.path, "pid": os.getpid(), "pod": pod}))
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if body == "exit":
            os._exit(3)
        self.reply(body.upper())
    def reply(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass
print("token", os.environ.get("TOKEN"), flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def command(container: Container, ports: Mapping[int, int]) -> list[str]:
    assert container.image == "somebody/image:1"
    return [sys.executable, "-c", SERVER, str(ports[8000])]


@pytest.fixture
def cloud() -> Iterator[RunpodServer]:
    with specified_runpod_server(
        start_container=Processes(command), secrets={"hf": "hf_secret"}
    ) as server:
        yield server


async def answering(cloud: RunpodServer, pod_id: str, path: str = "/") -> dict[str, Any]:
    url = cloud.proxy_url.format(id=pod_id, port=8000) + path

    async def ask() -> dict[str, Any] | None:
        answer = httpx2.get(url, trust_env=False, verify=False)
        return answer.json() if answer.status_code == 200 else None

    found = await waiting.until(ask)
    assert found is not None
    return found


async def test_a_container_answers_through_the_proxy_and_knows_its_pod(
    cloud: RunpodServer, api: httpx2.Client
):
    pod = api.post("/pods", json=POD).json()

    answer = await answering(cloud, pod["id"], "/v1/x%3Fy?a=1&a=2")

    assert (answer["path"], answer["pod"]) == ("/v1/x%3Fy?a=1&a=2", pod["id"])
    url = cloud.proxy_url.format(id=pod["id"], port=8000)
    assert httpx2.post(url, content="Hello", trust_env=False, verify=False).text == "HELLO"


async def test_a_container_that_exits_is_started_again(cloud: RunpodServer, api: httpx2.Client):
    pod = api.post("/pods", json=POD).json()
    first = await answering(cloud, pod["id"])
    url = cloud.proxy_url.format(id=pod["id"], port=8000)
    assert httpx2.post(url, content="exit", trust_env=False, verify=False).status_code == 502

    second = await answering(cloud, pod["id"])

    assert second["pid"] != first["pid"]
    assert cloud.account.find(pod["id"]).restarts == 1
    assert api.get(f"/pods/{pod['id']}").json()["status"] == "RUNNING"


async def test_a_container_has_the_value_of_a_secret_and_the_api_its_reference(
    cloud: RunpodServer, api: httpx2.Client
):
    reference = {"TOKEN": "{{ RUNPOD_SECRET_hf }}"}
    pod = api.post("/pods", json={**POD, "env": reference}).json()
    await answering(cloud, pod["id"])

    assert pod["env"] == reference
    lines = [line.text for line in cloud.account.log_lines(pod["id"], 0)]
    assert "token hf_secret" in lines


async def test_a_pod_that_ends_ends_its_process(cloud: RunpodServer, api: httpx2.Client):
    pod = api.post("/pods", json=POD).json()
    await answering(cloud, pod["id"])
    handle = cloud.account.find(pod["id"]).container
    assert handle is not None

    api.post(f"/pods/{pod['id']}/action", json={"action": "stop"})

    async def ended() -> bool:
        return handle.exit_code() is not None

    assert await waiting.until(ended)
    url = cloud.proxy_url.format(id=pod["id"], port=8000)
    assert httpx2.get(url, trust_env=False, verify=False).status_code == 404


def test_a_container_that_cannot_be_started_makes_the_pod_an_error():
    def broken(container: Container, ports: Mapping[int, int]) -> list[str]:
        return ["/no/such/program"]

    with specified_runpod_server(start_container=Processes(broken)) as cloud:
        with client_of(cloud) as api:
            pod = api.post("/pods", json=POD).json()
            seen = api.get(f"/pods/{pod['id']}").json()

        assert (seen["status"], seen["actions"]) == ("ERROR", ["start", "terminate"])
        assert all(machine.used in (0, 8) for machine in cloud.account.stock.machines)


def test_a_reference_to_a_secret_that_is_not_there_stays():
    env = {"A": "{{RUNPOD_SECRET_a}}-{{ RUNPOD_SECRET_b }}", "B": "plain"}

    assert resolve_secrets(env, {"a": "1"}) == {"A": "1-{{ RUNPOD_SECRET_b }}", "B": "plain"}


def test_what_a_container_is_told_is_not_shown():
    container = Container(
        pod_id="p",
        name="n",
        image="i",
        args="",
        env={"TOKEN": "hf_secret"},
        ports=(),
        log=lambda _: None,
    )

    assert "hf_secret" not in repr(container)
