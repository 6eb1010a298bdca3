"""providers/docker_engine.py: which engine is asked, and what is said where it cannot be."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conduit_nb.errors import ConduitError, CredentialsError, ProviderRefusedError
from conduit_nb.providers.docker import DockerProvider
from tests.forward_proxy import forward_proxy


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    for name in ("DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def choose(address: str, by: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Docker's settings name an engine, by a variable or by a context."""
    if by == "DOCKER_HOST":
        monkeypatch.setenv("DOCKER_HOST", address)
        return
    folder = home / ".docker"
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "mine", "Endpoints": {"docker": {"Host": address}}}))
    if by == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    else:
        (folder / "config.json").write_text('{"currentContext": "mine"}')


@contextmanager
def engine(answer: dict[str, object]) -> Iterator[tuple[str, list[str]]]:
    """Serve as much of Docker's API on TCP as a list of containers takes; tell what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(answer if self.path == "/version" else []).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


async def refused() -> ConduitError:
    with pytest.raises(ConduitError) as caught:
        await DockerProvider().list_nodes()
    return caught.value


@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("unix:///nowhere/docker.sock", "DOCKER_HOST"),
        ("unix:///nowhere/docker.sock", "DOCKER_CONTEXT"),
        ("unix:///nowhere/docker.sock", "config.json"),
        ("tcp://127.0.0.1:9", "DOCKER_HOST"),
        ("tcp://localhost:9", "DOCKER_CONTEXT"),
        ("127.0.0.1:9", "DOCKER_HOST"),
        ("http://127.0.0.1:9", "config.json"),
    ],
)
async def test_where_no_engine_answers_the_address_that_was_tried_is_named(
    address: str, by: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    choose(address, by, home, monkeypatch)

    error = await refused()

    assert error.code == "provider_unreachable"
    assert address in str(error)
    assert by in str(error)
    assert "docker context" in error.hint


@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("ssh://me@far.example", "DOCKER_HOST"),
        ("ssh://me@localhost", "config.json"),
        ("tcp://10.0.0.9:2375", "DOCKER_HOST"),
        ("tcp://docker:2375", "DOCKER_HOST"),
        ("far.example:2375", "DOCKER_HOST"),
        ("https://far.example:2376", "DOCKER_CONTEXT"),
        ("npipe:////./pipe/docker_engine", "DOCKER_CONTEXT"),
        ("fd://3", "DOCKER_HOST"),
    ],
)
async def test_an_engine_elsewhere_is_refused_with_the_reason(
    address: str, by: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    choose(address, by, home, monkeypatch)

    error = await refused()

    assert isinstance(error, ProviderRefusedError)
    assert address in str(error)
    assert by in str(error)
    assert "docker context use default" in error.hint
    assert "paramiko" not in str(error) + error.hint


async def test_a_password_in_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", "ssh://me:SECRET@far.example")

    assert "SECRET" not in str(await refused())


async def test_a_context_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")

    error = await refused()

    assert isinstance(error, CredentialsError)
    assert "'gone'" in str(error)
    assert "DOCKER_CONTEXT" in str(error)


@pytest.mark.parametrize("scheme", ["tcp://", "http://", ""])
async def test_an_engine_of_this_machine_on_tcp_is_asked_itself_whatever_proxy_is_set(
    scheme: str, monkeypatch: pytest.MonkeyPatch
):
    with engine({"ApiVersion": "1.44"}) as (address, asked), forward_proxy() as proxy:
        monkeypatch.setenv("DOCKER_HOST", f"{scheme}{address}")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)

        assert await DockerProvider().list_nodes() == []

    assert [path.partition("?")[0] for path in asked] == ["/version", "/v1.44/containers/json"]
    assert proxy.asked == []


@pytest.mark.parametrize("answer", [{}, {"hello": "world"}])
async def test_what_is_no_engine_is_told_to_be_none(
    answer: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    with engine(answer) as (address, _):
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{address}")
        error = await refused()

    assert error.code == "provider_unreachable"
    assert address in str(error)
    assert isinstance(error.__cause__, LookupError), "it was reached"
