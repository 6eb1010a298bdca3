"""guard.py: the node ends at its lease, when idle, unbooted or unpaid, whoever is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from conduit_nb import guard
from conduit_nb.guard import Config, Life
from conduit_nb.testing.runpod_server import Behaviour, RunpodServer
from conduit_nb.testing.runpod_server.pods import Pod
from conduit_nb.testing.runpod_server.wire import CreatePod
from tests import waiting
from tests.runpod_specification import specified_runpod_server

KEY = "k-0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SERVER = str(Path(__file__).parent / "echo_server.py")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


def config(**change: Any) -> Config:
    given: dict[str, Any] = {
        "command": [sys.executable, SERVER, "--port", "{port}"],
        "host": "127.0.0.1",
        "port": 0,
        "idle_s": 100.0,
        "boot_until": 50.0,
        "lease_until": 1000.0,
    }
    return Config(**{**given, **change})


class TestLife:
    def test_a_node_lives_while_nothing_speaks_against_it(self):
        life = Life(config(), 0.0)
        life.is_ready = True

        assert life.why_end(99.0) is None

    def test_it_ends_so_long_after_its_last_sign_of_life(self):
        life = Life(config(), 0.0)
        life.is_ready = True
        life.sign(60.0)

        assert life.why_end(159.0) is None
        assert "100 s" in (life.why_end(160.0) or "")

    def test_a_request_that_is_answered_for_long_is_a_sign_of_life(self):
        life = Life(config(), 0.0)
        life.is_ready = True
        life.in_flight = 1

        assert life.why_end(900.0) is None

    def test_it_ends_at_its_lease_even_in_the_middle_of_a_request(self):
        life = Life(config(), 0.0)
        life.is_ready, life.in_flight = True, 1

        assert "lease" in (life.why_end(1000.0) or "")

    def test_an_extension_moves_the_lease_and_is_a_sign_of_life(self):
        life = Life(config(), 0.0)
        life.is_ready = True

        assert life.extend(2000.0, 950.0) == 2000.0
        assert life.why_end(1049.0) is None

    def test_no_extension_goes_beyond_the_money(self):
        life = Life(config(not_after=1500.0), 0.0)
        life.is_ready = True

        assert life.extend(9000.0, 10.0) == 1500.0
        life.sign(1499.0)
        assert life.why_end(1499.5) is None
        assert "money" in (life.why_end(1500.0) or "")

    def test_a_server_that_does_not_boot_in_time_ends_the_node(self):
        life = Life(config(), 0.0)

        assert life.why_end(49.0) is None
        assert "ready in time" in (life.why_end(50.0) or "")

    def test_one_that_boots_is_not_idle_meanwhile(self):
        life = Life(config(idle_s=1.0), 0.0)

        assert life.why_end(40.0) is None

    @pytest.mark.parametrize("moment", [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 9.0])
    def test_a_lease_that_ends_at_no_later_moment_is_refused(self, moment: float):
        life = Life(config(), 0.0)

        with pytest.raises(ValueError, match="future"):
            life.extend(moment, 10.0)

        assert life.lease_until == 1000.0


class Running:
    """A guard as a process, and how to ask it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx2.Client(
            base_url=self.url,
            headers={"Connection": "close"},  # as the guard has it
            trust_env=False,
            timeout=20,
            verify=False,
        )

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.get(path, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx2.Response:
        return self.client.post(path, json=body, **options)

    def told(self) -> dict[str, Any]:
        return self.get("/conduit/guard", headers=HEADERS).json()

    def children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def wait_ready(self) -> None:
        waiting.until_true(self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        try:
            return self.told()["state"] == "ready"
        except httpx2.HTTPError:
            return False


@contextmanager
def guarded(
    *flags: str, environment: dict[str, str] | None = None, **change: Any
) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    now = time.time()
    given = {
        "command": [sys.executable, SERVER, "--port", "{port}", *flags],
        "port": port,
        "boot_until": now + 60,
        "lease_until": now + 600,
        "grace_s": 2.0,
    }
    process = subprocess.Popen(
        [sys.executable, guard.__file__],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "CONDUIT_API_KEY": KEY,
            "CONDUIT_GUARD": json.dumps(asdict(config(**{**given, **change}))),
            **(environment or {}),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    node = Running(process, port)
    try:
        yield node
    finally:
        node.client.close()
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """Serve one guard for all tests that leave it as it is."""
    with guarded(not_after=time.time() + 5000) as node:
        node.wait_ready()
        yield node


def exchange(node: Running, data: bytes) -> bytes:
    """Send exactly these bytes, and return what comes back until the guard closes."""
    with socket.create_connection(("127.0.0.1", int(node.url.rpartition(":")[2]))) as client:
        client.settimeout(20)
        client.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionError):  # it has closed with bytes left unread
            while piece := client.recv(65_536):
                received += piece
        return received


OPEN = b"GET /health HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
ALLOWED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (
    KEY.encode()
)


@pytest.mark.parametrize(
    "data",
    {
        "bare LF ends the head": b"GET /health HTTP/1.1\r\nHost: x\n\n" + HIDDEN,
        "all lines end with LF": b"GET /health HTTP/1.1\nHost: x\n\n" + HIDDEN,
        "bare CR in a header": OPEN + b"A: b\rContent-Length: 9\r\n\r\n" + HIDDEN,
        "NUL in a header": OPEN + b"A: b\0c\r\n\r\n",
        "NUL in a name": OPEN + b"A\0: b\r\n\r\n",
        "NUL in the path": b"GET /health\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        "control character": OPEN + b"A: \x0b1\r\n\r\n",
        "folded header": OPEN + b"A: b\r\n c\r\n\r\n",
        "header that begins with a tab": OPEN + b"\tContent-Length: 5\r\n\r\n",
        "space before the colon": OPEN + b"Content-Length : 5\r\n\r\n",
        "header without a name": OPEN + b": 5\r\n\r\n",
        "header without a colon": OPEN + b"Content-Length\r\n\r\n",
        "two lengths": OPEN + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "the same length twice": OPEN + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\n",
        "list of lengths": OPEN + b"Content-Length: 0, 5\r\n\r\n",
        "signed length": OPEN + b"Content-Length: +5\r\n\r\n",
        "negative length": OPEN + b"Content-Length: -1\r\n\r\n",
        "length in hexadecimal": OPEN + b"Content-Length: 0x5\r\n\r\n",
        "length with an underscore": OPEN + b"Content-Length: 1_0\r\n\r\n",
        "length in other digits": OPEN + b"Content-Length: \xb2\r\n\r\n",
        "empty length": OPEN + b"Content-Length:\r\n\r\n",
        "length and chunks": OPEN + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "two codings": OPEN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        "list of codings": OPEN + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        "unknown coding": OPEN + b"Transfer-Encoding: xchunked\r\n\r\n",
        "coding with a parameter": OPEN + b"Transfer-Encoding: chunked;q=1\r\n\r\n",
        "chunks in HTTP/1.0": b"GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "two hosts": OPEN + b"Host: y\r\n\r\n",
        "two keys": ALLOWED + b"Authorization: Bearer x\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no version": b"GET /health\r\n\r\n",
        "two spaces": b"GET  /health HTTP/1.1\r\n\r\n",
        "tab for a space": b"GET\t/health HTTP/1.1\r\n\r\n",
        "address for a path": b"GET http://x/health HTTP/1.1\r\n\r\n",
        "empty first line": b"\r\n" + OPEN + b"\r\n",
        "method that is no word": b"G(T /health HTTP/1.1\r\n\r\n",
        "endless head": OPEN + b"A: " + b"x" * 70_000 + b"\r\n\r\n",
        "many headers": OPEN + b"A: b\r\n" * 20_000 + b"\r\n",
        "chunk with a bare LF": ALLOWED + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        "chunk with a sign": ALLOWED + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "chunk in 0x": ALLOWED + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        "chunk that is too long": ALLOWED
        + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    }.items(),
    ids=lambda pair: pair[0],
)
def test_what_two_servers_might_read_differently_is_refused(
    shared: Running, data: tuple[str, bytes]
):
    before = shared.told()["requests"]

    received = exchange(shared, data[1])

    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert shared.told()["requests"] - before <= int(data[1].startswith(ALLOWED))


@pytest.mark.parametrize("head", [OPEN, ALLOWED], ids=["health", "with the key"])
def test_one_connection_has_one_request(shared: Running, head: bytes):
    body = json.dumps(CHAT).encode() if head is ALLOWED else b""
    length = b"Content-Length: %d\r\n\r\n" % len(body)

    received = exchange(shared, head + length + body + HIDDEN)

    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_the_health_that_anybody_may_ask_passes_nothing_on(shared: Running):
    assert shared.post("/health", {}).status_code == 401
    assert shared.get("/health?deep=1", headers={"X-Anything": "a"}).status_code == 200
    assert shared.get("/health/../v1/models").status_code == 401
    assert shared.get("//health").status_code == 401


def test_a_body_in_chunks_reaches_the_server(shared: Running):
    def pieces() -> Iterator[bytes]:
        text = json.dumps(CHAT).encode()
        yield from (text[:7], text[7:])

    answer = shared.client.post("/v1/chat/completions", content=pieces(), headers=HEADERS)

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].endswith("hi")


@pytest.mark.parametrize(
    "wish",
    [
        *('{"lease_until": NaN}', '{"lease_until": Infinity}', '{"lease_until": -Infinity}'),
        *('{"lease_until": -1}', '{"lease_until": 0}', '{"lease_until": 1000}'),
        *('{"lease_until": true}', '{"lease_until": "9999999999"}', '{"lease_until": null}'),
        *('{"lease_until": [1]}', '{"lease_until": 1%s}' % ("0" * 400), '{"lease_until": 1e999}'),
        *('{"lease_s": NaN}', '{"lease_s": -5}', '{"lease_s": 0}', '{"lease_s": 1e999}'),
        *('{"lease_s": 50, "not_after_s": NaN}', '{"lease_s": 50, "not_after_s": "1"}'),
        *("{}", "[]", "null", "3", "{", "", "[" * 30_000),
    ],
)
def test_a_lease_that_is_no_moment_in_the_future_is_refused(shared: Running, wish: str):
    before = shared.told()

    answer = shared.client.post("/conduit/guard/extend", content=wish, headers=HEADERS)

    assert answer.status_code == 400
    after = shared.told()
    assert (after["lease_until"], after["not_after"]) == (
        before["lease_until"],
        before["not_after"],
    )


def test_a_lease_can_be_told_as_a_span_and_money_only_become_less():
    limit = time.time() + 5000
    with guarded(not_after=limit) as node:
        node.wait_ready()
        by_span = node.post("/conduit/guard/extend", {"lease_s": 700}, headers=HEADERS).json()
        less = node.post(
            "/conduit/guard/extend", {"lease_s": 700, "not_after_s": 90}, headers=HEADERS
        ).json()
        more = node.post(
            "/conduit/guard/extend", {"lease_s": 700, "not_after_s": 9000}, headers=HEADERS
        ).json()

    assert by_span["lease_until"] - by_span["now"] == pytest.approx(700)
    assert by_span["not_after"] == limit
    assert less["lease_until"] == less["not_after"] == pytest.approx(less["now"] + 90)
    assert more["not_after"] == less["not_after"]


def test_requests_with_the_key_reach_the_server_and_are_counted():
    with guarded() as node:
        node.wait_ready()
        answer = node.post("/v1/chat/completions", CHAT, headers=HEADERS)
        told = node.told()

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"].endswith("hi")
    assert (told["requests"], told["in_flight"]) == (1, 0)


def test_without_the_key_nothing_is_answered_but_the_servers_health():
    with guarded() as node:
        node.wait_ready()
        for path in ("/v1/models", "/conduit/guard", "/metrics"):
            assert node.get(path).status_code == 401
            assert node.get(path, headers={"Authorization": "Bearer x"}).status_code == 401
        assert node.post("/v1/chat/completions", CHAT).status_code == 401
        assert node.get("/health").status_code == 200
        assert node.told()["requests"] == 0


def test_looking_is_no_sign_of_life():
    with guarded() as node:
        node.wait_ready()
        before = node.told()
        node.get("/health")
        node.get("/v1/models", headers=HEADERS)
        after = node.told()

    assert after["requests"] == 0
    assert after["idle_s"] >= before["idle_s"]


def test_an_answer_is_streamed_as_it_is_written():
    with guarded() as node:
        node.wait_ready()
        with httpx2.stream(
            "POST",
            f"{node.url}/v1/chat/completions",
            json={**CHAT, "stream": True},
            headers=HEADERS,
            trust_env=False,
        ) as answer:
            events = [line for line in answer.iter_lines() if line.startswith("data: ")]

    assert events[-1] == "data: [DONE]"
    assert len(events) > 2


def test_a_client_that_leaves_ends_its_request():
    with guarded() as node:
        node.wait_ready()
        with socket.create_connection(("127.0.0.1", int(node.url.rpartition(":")[2]))) as client:
            body = json.dumps({**CHAT, "model": "slow"}).encode()
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                + f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            waiting.until_true(lambda: node.told()["in_flight"] == 1)
        waiting.until_true(lambda: node.told()["in_flight"] == 0)


def test_an_extension_is_bounded_and_wants_a_number():
    now = time.time()
    with guarded(not_after=now + 700) as node:
        node.wait_ready()
        extend = "/conduit/guard/extend"
        moved = node.post(extend, {"lease_until": now + 650}, headers=HEADERS).json()
        bounded = node.post(extend, {"lease_until": now + 9999}, headers=HEADERS).json()
        refused = node.post(extend, {"lease_until": "soon"}, headers=HEADERS)

    assert moved["lease_until"] == pytest.approx(now + 650)
    assert bounded["lease_until"] == pytest.approx(now + 700)
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"idle_s": 0.5}, "nobody has asked"),
        ({"lease_s": 2.0}, "lease is over"),
        ({"paid_s": 2.0}, "money is spent"),
    ],
    ids=["idle", "lease", "money"],
)
def test_the_node_and_everything_on_it_ends_by_itself(change: dict[str, float], why: str):
    now = time.time()
    moments = {"lease_s": "lease_until", "paid_s": "not_after"}
    given = {
        moments.get(name, name): now + s if name in moments else s for name, s in change.items()
    }
    with guarded("--spawns", **given) as node:
        waiting.until_true(lambda: len(node.children()) >= 1)
        children = node.children()
        _, said = node.process.communicate(timeout=60)

        assert why in said
        assert node.process.returncode == 0
        assert not [child for child in children if child.is_running() and _is_alive(child)]


def test_a_server_that_never_listens_ends_the_node_at_the_boot_deadline():
    with guarded("--never-listens", boot_until=time.time() + 1.5) as node:
        _, said = node.process.communicate(timeout=60)

    assert "not ready in time" in said


def test_a_node_that_its_host_starts_again_after_its_lease_starts_nothing():
    with guarded(lease_until=time.time() - 1) as node:
        _, said = node.process.communicate(timeout=60)

    assert "lease is over; nothing is started" in said
    assert node.process.returncode == 0


def test_the_servers_end_is_the_guards_with_the_same_code():
    with guarded("--dies", "7") as node:
        _, said = node.process.communicate(timeout=60)

    assert node.process.returncode == 7
    assert "ended with code 7" in said


def test_a_connection_that_is_open_at_the_end_leaves_no_traceback_over_the_last_words():
    with guarded() as node:
        node.wait_ready()
        connections = psutil.Process(node.process.pid).net_connections
        port = int(node.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)):  # it says nothing
            waiting.until_true(
                lambda: any(one.raddr and one.laddr.port == port for one in connections())
            )
            node.process.send_signal(signal.SIGTERM)
            _, said = node.process.communicate(timeout=60)

    assert "Traceback" not in said


def test_told_to_stop_it_gives_the_server_time_and_then_none():
    with guarded("--ignores-sigterm") as node:
        node.wait_ready()
        children = node.children()
        node.process.send_signal(signal.SIGTERM)
        node.process.communicate(timeout=60)

    assert node.process.returncode == 128 + signal.SIGKILL
    assert not [child for child in children if child.is_running() and _is_alive(child)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_guard_that_is_killed_takes_the_server_with_it():
    with guarded() as node:
        node.wait_ready()
        (child,) = node.children()
        node.process.kill()
        node.process.wait()

        waiting.until_true(lambda: not _is_alive(child))


def test_the_servers_environment_has_the_key_and_nothing_of_the_guards(tmp_path: Path):
    seen = tmp_path / "environment"
    write = f"import os,json;open({str(seen)!r},'w').write(json.dumps(dict(os.environ)))"
    with guarded(
        command=[sys.executable, "-c", write], environment={"RUNPOD_API_KEY": "pod-key"}
    ) as node:
        node.process.communicate(timeout=60)

    environment = json.loads(seen.read_text())
    assert environment["CONDUIT_API_KEY"] == KEY
    assert not {"CONDUIT_GUARD", "RUNPOD_API_KEY"} & environment.keys()


def test_a_reference_to_a_secret_that_is_not_there_is_left_out_and_told(tmp_path: Path):
    seen = tmp_path / "environment"
    write = f"import os,json;open({str(seen)!r},'w').write(json.dumps(dict(os.environ)))"
    with guarded(
        command=[sys.executable, "-c", write],
        environment={"HF_TOKEN": "{{ RUNPOD_SECRET_hf_token }}", "OTHER": "{{ x }}"},
    ) as node:
        _, said = node.process.communicate(timeout=60)

    environment = json.loads(seen.read_text())
    assert "HF_TOKEN" not in environment
    assert environment["OTHER"] == "{{ x }}"
    assert "no secret named hf_token" in said


def test_secrets_come_as_files_too(tmp_path: Path):
    (tmp_path / "CONDUIT_API_KEY").write_text(f"{KEY}\n")
    (tmp_path / "not a name").write_text("x")

    assert guard._read_secrets(str(tmp_path)) == {"CONDUIT_API_KEY": KEY}  # the file's own seam
    assert guard._read_secrets(str(tmp_path / "none")) == {}  # the same


@pytest.mark.parametrize(
    ("environment", "code"),
    [({"CONDUIT_GUARD": "{"}, 2), ({"CONDUIT_GUARD": "[]"}, 2), ({"CONDUIT_API_KEY": ""}, 2)],
    ids=["no JSON", "no config", "no key"],
)
def test_what_cannot_be_guarded_is_not_started(environment: dict[str, str], code: int):
    with guarded(environment=environment) as node:
        _, said = node.process.communicate(timeout=60)

    assert node.process.returncode == code
    assert KEY not in said
    assert said.startswith("guard: ")


def test_a_port_that_is_taken_is_told_by_its_own_code():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        guarded(port=taken.getsockname()[1]) as node,
    ):
        node.process.communicate(timeout=60)

    assert node.process.returncode == 98


def test_a_pod_is_ended_with_its_own_key_whatever_proxy_is_set():
    with specified_runpod_server() as cloud:
        wire = cloud.account.create(
            CreatePod(name="n", image="i", gpu={"id": "NVIDIA L40S", "count": 1}, cloud="SECURE")
        )
        pod = cloud.account.find(wire["id"])
        with guarded(
            idle_s=0.3,
            end={"kind": "runpod", "url": cloud.url},
            environment={
                "RUNPOD_POD_ID": pod.id,
                "RUNPOD_API_KEY": pod.key,
                "HTTP_PROXY": "http://127.0.0.1:9",
            },
        ) as node:
            waiting.until_true(lambda: pod.status == "TERMINATED")
            node.process.send_signal(signal.SIGTERM)  # as Runpod does then
            _, said = node.process.communicate(timeout=60)

    assert pod.key not in said
    assert "nobody has asked" in said


@contextmanager
def rented_guard(*flags: str, **change: Any) -> Iterator[tuple[Running, Pod, RunpodServer]]:
    """Run a guard that ends its node by Runpod's API, as in a pod."""
    behaviour = Behaviour(date_ahead_s=change.pop("date_ahead_s", 0.0))
    with specified_runpod_server(behaviour=behaviour) as cloud:
        wire = cloud.account.create(
            CreatePod(name="n", image="i", gpu={"id": "NVIDIA L40S", "count": 1}, cloud="SECURE")
        )
        pod = cloud.account.find(wire["id"])
        with guarded(
            *flags,
            end={"kind": "runpod", "url": cloud.url},
            environment={"RUNPOD_POD_ID": pod.id, "RUNPOD_API_KEY": pod.key},
            **change,
        ) as node:
            yield node, pod, cloud


def test_a_rented_node_whose_server_has_exited_tells_why_and_then_ends():
    with rented_guard("--dies", "3", lease_until=time.time() + 4) as (node, pod, _):

        def has_failed() -> bool:
            with contextlib.suppress(httpx2.HTTPError):
                return node.told()["state"] == "failed"
            return False

        waiting.until_true(has_failed)
        told = node.told()
        refused = node.get("/v1/models", headers=HEADERS)
        assert pod.status != "TERMINATED"
        waiting.until_true(lambda: pod.status == "TERMINATED")
        ended_after_s = time.time() - told["lease_until"]

    assert told["exit_code"] == 3
    assert any("no such device" in line for line in told["log"])
    assert refused.status_code == 503
    assert ended_after_s == pytest.approx(0, abs=5), "it never outlives its lease"


def test_a_rented_node_whose_server_has_exited_is_not_kept_for_long():
    with rented_guard("--dies", "3", failed_keep_s=0.2) as (_, pod, _):
        waiting.until_true(lambda: pod.status == "TERMINATED")


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_deadlines_by_the_providers_clock_hold_where_the_nodes_own_is_wrong(ahead_s: float):
    there = time.time() + ahead_s
    moments = {"boot_until": there + 60, "lease_until": there + 600, "not_after": there + 900}
    with rented_guard(date_ahead_s=ahead_s, as_of=there, **moments) as (node, _, _):
        node.wait_ready()
        told = node.told()

    assert told["lease_until"] - told["now"] == pytest.approx(600, abs=20)
    assert told["not_after"] - told["now"] == pytest.approx(900, abs=20)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nDate: Fri, 31 Dec 99999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
    ],
)
def test_a_time_that_the_provider_cannot_mean_moves_no_deadline(reply: bytes):
    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(reply)

    now = time.time()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        with guarded(
            as_of=now,
            boot_until=now + 60,
            lease_until=now + 600,
            end={"kind": "runpod", "url": f"http://127.0.0.1:{listening.getsockname()[1]}"},
            environment={"RUNPOD_POD_ID": "pod", "RUNPOD_API_KEY": "key"},
        ) as node:
            node.wait_ready()
            told = node.told()
        thread.join()

    assert told["lease_until"] - told["now"] == pytest.approx(600, abs=20)


def test_deadlines_that_were_made_in_the_future_are_spans_from_now():
    there = time.time() + 7200
    with guarded(as_of=there, boot_until=there + 60, lease_until=there + 600) as node:
        node.wait_ready()
        told = node.told()

    assert told["lease_until"] - told["now"] == pytest.approx(600, abs=20)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
