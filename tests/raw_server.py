"""A server on a real socket that answers with exactly the bytes it is given, in those pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HANG_UP = b""


@dataclass
class RawServer:
    """What was asked, and what is answered: one list of pieces a request, the last one for ever.

    A piece is written and flushed by itself; `HANG_UP` closes the connection there; when `stays`
    is set, the server does not answer at all and waits for the client to go.
    """

    answers: Sequence[Sequence[bytes]] = ()
    stays: bool = False
    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def raw_server(*answers: Sequence[bytes], stays: bool = False) -> AsyncGenerator[RawServer]:
    server = RawServer(answers=answers, stays=stays)
    waiting: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        waiting.add(task)
        try:
            await _serve(server, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            server.left.set()
        finally:
            writer.close()
            waiting.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(waiting):
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _serve(
    server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        length = int(fields.get("content-length", 0))
        body = await reader.readexactly(length) if length else b"{}"
        server.heads.append(head)
        server.bodies.append(json.loads(body))
        server.asked.set()
        if server.stays:
            await reader.read(1)
            server.left.set()
            return
        number = min(len(server.heads), len(server.answers)) - 1
        for piece in server.answers[number]:
            if piece == HANG_UP:
                return
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)  # so that the client reads this piece by itself


def json_answer(body: object, *, status: int = 200, headers: str = "") -> list[bytes]:
    """Return the pieces of a JSON answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n{headers}\r\n"
    )
    return [head.encode() + content]


def stream_answer(*pieces: bytes, ends: bool = True) -> list[bytes]:
    """Return the pieces of an event stream, each a chunk of HTTP's own."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]
    return [head, *chunks, b"0\r\n\r\n" if ends else HANG_UP]


def events(*bodies: object) -> bytes:
    """Return the text of an event stream that holds these bodies, and its end."""
    lines = [f"data: {json.dumps(body, ensure_ascii=False)}\n\n" for body in bodies]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def cut(content: bytes, size: int) -> list[bytes]:
    """Cut `content` into pieces of `size` bytes."""
    return [content[at : at + size] for at in range(0, len(content), size)]
