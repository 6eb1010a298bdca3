"""A real Jupyter server on a loopback port, with Conduit in it and echoing model servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer

from conduit_nb.session import Session
from tests.desk.far_provider import FarProvider, far_session

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


@pytest.fixture
def far() -> FarProvider:
    return FarProvider()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: FarProvider) -> Iterator[Session]:
    with far_session(tmp_path, monkeypatch, far) as session:
        yield session


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
