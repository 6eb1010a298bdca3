"""http_clients.py: whoever asks a server follows the environment's proxies and certificates."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conduit_nb.blocks.http import HttpGetBlock
from conduit_nb.client import Endpoint
from conduit_nb.deployments.lease import ask_guard, extend_lease
from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.http_clients import is_loopback
from conduit_nb.models.hub import find_model
from conduit_nb.models.safetensors_headers import HubHeaders
from conduit_nb.providers.gpuhunt import Gpuhunt
from conduit_nb.providers.rest import RestClient
from conduit_nb.providers.runpod import Runpod
from tests.forward_proxy import ForwardProxy, forward_proxy

Ask = Callable[[str], Awaitable[object]]


async def ask_endpoint(url: str) -> None:
    endpoint = Endpoint(url, key="k")
    try:
        await endpoint.models()
    finally:
        await endpoint.aclose()


async def ask_hub_headers(url: str) -> None:
    def ask() -> None:
        with HubHeaders("owner/model", endpoint=url) as hub:
            hub.config()

    await asyncio.to_thread(ask)


async def ask_hub_files(url: str) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", url)
        await asyncio.to_thread(find_model, "owner/model")


async def ask_price_list(url: str) -> None:
    await Gpuhunt(url, clouds=["aws"], cache_dir=lambda: Path(os.devnull)).offerings()


async def ask_block(url: str) -> None:
    await HttpGetBlock(url).run(None)


ASKS: dict[str, Ask] = {
    "an endpoint": ask_endpoint,
    "a provider": lambda url: RestClient(url, provider="p").get("/x", timeout_s=5),
    "Runpod": lambda url: Runpod(url, key="rpa_1").list_nodes(),
    "a price list": ask_price_list,
    "a guard": lambda url: ask_guard(url, "k"),
    "a longer lease": lambda url: extend_lease(url, "k", datetime.now(UTC)),
    "a model's headers": ask_hub_headers,
    "a model's files": ask_hub_files,
    "a block": ask_block,
}
MODEL = {"id": "owner/model", "sha": "0" * 40, "siblings": []}
every = pytest.mark.parametrize("who", ASKS)
PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def in_turn(*values: object) -> list[tuple[str, object]]:
    """Pair everybody with one of the values, and each value with somebody."""
    return [(who, values[turn % len(values)]) for turn, who in enumerate(ASKS)]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("CONDUIT_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy() as proxy:
        yield proxy


async def asked(who: str, url: str) -> ConduitError | None:
    """Let somebody ask a server that has no good answer; return the error."""
    try:
        await ASKS[who](url)
    except ConduitError as err:
        return err
    return None


@pytest.mark.parametrize(("who", "variable"), in_turn(*PROXIES))
async def test_a_server_elsewhere_is_asked_through_the_proxy(
    who: str, variable: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, proxy.url)

    await asked(who, "http://server.invalid:8000")

    assert {host for _, host in proxy.asked} == {"server.invalid"}


@every
async def test_a_host_that_needs_no_proxy_is_asked_itself(
    who: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "other.invalid,server.invalid")

    await asked(who, "http://server.invalid:8000")

    assert proxy.asked == []


@pytest.mark.parametrize(("who", "host"), in_turn("127.0.0.1", "localhost", "[::1]", "127.9.9.9"))
async def test_a_server_of_this_machine_is_asked_itself_whatever_is_set(
    who: str, host: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")

    error = await asked(who, f"http://{host}:9")

    assert proxy.asked == []
    assert not isinstance(error, ArgumentError)


async def test_a_lease_is_extended_through_the_proxy(monkeypatch: pytest.MonkeyPatch):
    answer: dict[str, object] = {"now": 1_800_000_000, "lease_until": 1_800_000_060}
    now = datetime.now(UTC)
    with server(answer) as address, forward_proxy(address) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        until = await extend_lease("http://pod.invalid", "k", now + timedelta(hours=1), now=now)

    assert until == now + timedelta(seconds=60)
    assert proxy.asked == [("POST", "pod.invalid")]


@pytest.mark.parametrize(
    ("who", "value"), in_turn("nonsense://user:SECRET@host", "http://user:SECRET@[::1:9")
)
async def test_a_proxy_that_cannot_be_is_an_error_that_names_its_variable(
    who: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", value)

    error = await asked(who, "http://server.invalid:8000")

    assert error is not None
    assert getattr(error, "param", "HTTP_PROXY") == "HTTP_PROXY"
    assert "HTTP_PROXY" in str(error)
    assert "SECRET" not in str(error) + error.hint


@contextmanager
def server(
    answer: dict[str, object],
    context: ssl.SSLContext | None = None,
    heard: list[str] | None = None,
) -> Generator[tuple[str, int]]:
    """Serve one JSON answer to everything, with TLS where there is a context."""
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if heard is not None:
                heard.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        if context is not None:
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "127.0.0.1", listening.server_port
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of server.invalid, signed by itself; its key lies beside it."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=server.invalid"),
            *("-addext", "subjectAltName=DNS:server.invalid"),
            *("-keyout", str(path.with_suffix(".key")), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("who", "variable"),
    [*in_turn(*CERTIFICATES), *((who, "nothing") for who in ASKS)],
)
async def test_a_certificate_that_a_variable_names_is_trusted_and_no_other(
    who: str, variable: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    monkeypatch.setenv(variable, str(certificate))
    heard: list[str] = []

    with server(MODEL, context, heard) as address, forward_proxy(address) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        await asked(who, "https://server.invalid")

    assert proxy.asked
    assert bool(heard) == (variable != "nothing")


@pytest.mark.parametrize("content", [None, b"no certificate"])
@pytest.mark.parametrize(("who", "variable"), in_turn("SSL_CERT_DIR", *CERTIFICATES))
async def test_certificates_that_cannot_be_are_an_error_that_names_the_variable(
    who: str,
    variable: str,
    content: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))

    error = await asked(who, "https://server.invalid")

    assert error is not None
    assert getattr(error, "param", variable) == variable
    assert variable in str(error)
    assert str(path) in str(error)
    assert variable in error.hint


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:8", True),
        ("http://127.8.9.10", True),
        ("https://localhost", True),
        ("http://LOCALHOST.", True),
        ("http://a.localhost", True),
        ("http://[::1]:8", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0.0.0.0:8", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://[2001:db8::1]", False),
    ],
)
def test_addresses_of_this_machine_are_told_from_others(url: str, is_here: bool):
    assert is_loopback(url) == is_here
