"""A real Jupyter server on a loopback port, with Conduit in it and echoing model servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer

from conduit_nb import session as session_module
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ProviderUnreachableError
from conduit_nb.providers.base import Listing, Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from conduit_nb.state.store import Store
from tests.fake_lmlite import FakeRuntime

TOKEN = "a-token-of-the-test"


@dataclass
class Panel:
    """What a panel is: a client with the server's token."""

    client: httpx2.AsyncClient
    base: str

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.client.get(f"{self.base}/{path}", **options)

    async def post(self, path: str, told: object = None, **options: Any) -> httpx2.Response:
        return await self.client.post(f"{self.base}/{path}", json=told or {}, **options)

    async def told(self, path: str) -> dict[str, Any]:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def done(self, answer: httpx2.Response, *, within_s: float = 60) -> dict[str, Any]:
        """Wait until what a 202 began has ended, and return how."""
        assert answer.status_code == 202, answer.text
        async with asyncio.timeout(within_s):
            while True:
                action = await self.told(f"actions/{answer.json()['id']}")
                if action["state"] != "running":
                    return action
                await asyncio.sleep(0.05)


class FarProvider(LocalProvider):
    """A provider whose nodes are only told of, at a price; it can be silent."""

    name = "far"

    def __init__(self) -> None:
        super().__init__(grace_s=1)
        self.has: list[Node] = []
        self.is_silent = False
        self.looks = 0
        self.is_asked = False
        self._goes_on = threading.Event()
        self._goes_on.set()

    async def list_nodes(self) -> list[Node]:
        self.looks += 1
        if self.is_silent:
            raise ProviderUnreachableError("It does not answer.")
        self.is_asked = True
        await asyncio.to_thread(self._goes_on.wait)
        self.is_asked = False
        return self.has

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Answer nobody before the block ends."""
        self._goes_on.clear()
        try:
            yield
        finally:
            self._goes_on.set()

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        self.has = []

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        return Listing(
            offerings=(
                ComputeOffering(
                    provider="far", id="far-l4", accelerator="L4", memory_gib=24, usd_per_hour=0.42
                ),
            ),
            problems=(ProviderUnreachableError("Half of it does not answer."),),
        )


@pytest.fixture
def far() -> FarProvider:
    return FarProvider()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: FarProvider) -> Iterator[Session]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    local = LocalProvider(grace_s=1)
    session = Session(
        make_runtime=lambda name: FakeRuntime(name=name),
        make_provider=lambda name: far if name == "far" else local,
        provider_names=lambda: ["local", "far"],
        make_sources=lambda: [far],
        hung_after_s=1.0,
    )
    monkeypatch.setattr(session_module, "_made", lambda: session)
    yield session
    far.is_silent = False
    session.stop("all")
    session.close()


def put_far_node(far: FarProvider, deployment_id: str) -> str:
    """Let a deployment have a node at the far provider, for $0.42 an hour; return its name."""
    store = Store()
    (near,) = store.nodes(deployment_id)
    name = f"{near.name[: -len('-0-1')]}-7-1"
    node = store.insert_node(
        replace(near, name=name, replica=7, provider="far", usd_per_hour=0.42, provider_id="f1")
    )
    store.update_node(node, charge="running", at=node.created_at, status="running")
    store.close()
    far.has = [Node(name=name, provider="far", status="running", url=near.url or "", id="f1")]
    return name


@pytest.fixture
async def panel(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Panel]:
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    root = tmp_path / "root"
    root.mkdir()
    app = ServerApp(
        base_url="/lab-of-somebody/",
        root_dir=str(root),
        open_browser=False,
        allow_root=True,
        jpserver_extensions={"conduit_nb.labserver": True},
    )
    monkeypatch.setattr(app, "init_signal", lambda: None)  # they are pytest's
    app.initialize(
        argv=[f"--IdentityProvider.token={TOKEN}"], find_extensions=False, new_httpserver=False
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        server = HTTPServer(app.web_app)
        server.add_socket(listening)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/lab-of-somebody"
        headers = {"Authorization": f"token {TOKEN}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
            yield Panel(client, f"{address}/conduit/api")
        server.stop()
        await server.close_all_connections()
        await app._cleanup()
