"""lmlite/connection.py: connections that say nothing, or take nothing, over a socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

import uvicorn

from conduit_nb.lmlite.connection import Connection

CHUNK = b"x" * 100_000


class Hasty(Connection):
    """A connection that waits for nobody long."""

    stall_timeout_s = 0.3


class Talker:
    """An application that talks for as long as somebody listens, or says one word."""

    def __init__(self) -> None:
        self.sent = 0
        self.begun = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/endless":
            watch = asyncio.create_task(self._watch(receive))
            while not self.left.is_set():
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                self.sent += len(CHUNK)
                self.begun.set()
            await watch
        await send({"type": "http.response.body", "body": b"word"})

    async def _watch(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[tuple[str, int]]:
    """Serve `app` on a free port while the `async with` lasts; yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Hasty, lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        await task
        listener.close()


async def test_a_client_that_takes_nothing_is_cut_and_holds_up_nobody():
    talker = Talker()
    async with serving(talker) as address:
        stalled = socket.create_connection(address)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(talker.begun.wait(), 10)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        received = await asyncio.wait_for(reader.read(), 10)
        await asyncio.wait_for(talker.left.wait(), 10)

        writer.close()
        stalled.close()
    assert received.endswith(b"word\r\n0\r\n\r\n")
    assert talker.sent < 100 * len(CHUNK)  # what the system's buffers took, and no more


async def test_a_slow_client_is_not_cut():
    talker = Talker()
    async with serving(talker) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(8):  # together far above stall_timeout_s
            await reader.readexactly(2_000_000)
            await asyncio.sleep(0.1)
            assert not talker.left.is_set()
        writer.transport.abort()
        await asyncio.wait_for(talker.left.wait(), 10)


async def test_a_connection_that_says_nothing_is_closed_like_one_that_is_idle():
    async with serving(Talker(), timeout_keep_alive=0.2) as address:
        reader, writer = await asyncio.open_connection(*address)

        assert await asyncio.wait_for(reader.read(), 10) == b""

        writer.close()


@pytest.mark.parametrize(
    "garbage", [b"\0", b"hello", b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000, b"\x16\x03\x01"]
)
async def test_what_is_no_http_gets_an_error_in_json(garbage: bytes):
    async with serving(Talker()) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(garbage + b"\r\n\r\n")

        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")

        writer.close()
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "request_refused"
    assert str(len(body)).encode() in head
