"""What went over the wire: every request to the API and its answer; and the faults in between.

Layer 6.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit_nb.testing.runpod_server.faults import Fault

PREFIX = "/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer; `status` is None where the connection was dropped."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    status: int | None
    answer_headers: Mapping[str, str] = field(repr=False)
    answer: bytes


class Wire:
    """Stands before the API: keeps what passes, and spoils what a fault fits.

    The newest exchange is the last; `hang_ups` closes the connection of a request, `date` is what
    the `Date` headers say.
    """

    def __init__(
        self, app: ASGIApp, faults: list[Fault], hang_ups: HangUps, date: Callable[[], datetime]
    ) -> None:
        self._date = date
        self.exchanges: list[Exchange] = []
        self._app = app
        self._faults = faults
        self._lock = threading.Lock()
        self._hang_ups = hang_ups

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        fault = self._next_fault(scope["method"], scope["path"].removeprefix(PREFIX))
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                moment = format_datetime(self._date(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", moment)]}
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # Before the client has it, so that who has the answer finds the exchange.
                self.exchanges.append(_to_exchange(scope, body, sent))
            await send(message)

        try:
            if fault is None:
                await self._app(scope, _replay(body, receive), keep)
            else:
                told: list[Message] = []
                if fault.takes_effect or fault.falsify is not None:
                    await self._app(scope, _replay(body, receive), _to(told))
                await self._spoil(fault, told, scope, receive, keep)
        finally:
            if not sent or sent[-1].get("more_body"):
                self.exchanges.append(_to_exchange(scope, body, sent))

    def _next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.fits(method, path):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    async def _spoil(
        self, fault: Fault, told: list[Message], scope: Scope, receive: Receive, send: Send
    ) -> None:
        if fault.falsify is not None:
            await _send_false(fault.falsify, told, send)
            return
        if isinstance(fault.answer, int):
            await _send_problem(fault, fault.answer, send)
            return
        if fault.answer == "drop":
            self._hang_ups.drop(scope)
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()


class HangUps:
    """The open connections, by the address of the client, so that one can be dropped.

    `accepted` is how many there have been.
    """

    def __init__(self) -> None:
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}
        self.accepted = 0

    def drop(self, scope: Scope) -> None:
        """Close the connection of that request at once."""
        host, port = scope["client"]
        self.transports[(host, port)].abort()


def _to(messages: list[Message]) -> Send:
    """Return what takes an answer that its client is not to see."""

    async def keep(message: Message) -> None:
        messages.append(message)

    return keep


async def _send_false(falsify: Callable[[bytes], bytes], told: list[Message], send: Send) -> None:
    """Send a true answer with another body."""
    start = next(one for one in told if one["type"] == "http.response.start")
    body = b"".join(one.get("body", b"") for one in told if one["type"] == "http.response.body")
    kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
    false = falsify(body)
    # "No content" allows no body, and a client that gets one has lost the connection.
    status = 200 if start["status"] == HTTPStatus.NO_CONTENT else start["status"]
    headers = [*kept, (b"content-length", str(len(false)).encode())]
    await send({**start, "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": false})


async def _whole(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, then what really comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


async def _send_problem(fault: Fault, status: int, send: Send) -> None:
    problem = {"title": "Spoiled", "status": status, "detail": fault.detail}
    body, kind = json.dumps(problem).encode(), "application/problem+json"
    if fault.content is not None:
        body, kind = fault.content, fault.content_type
    headers = [(b"content-type", kind.encode())]
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", str(fault.retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _to_exchange(scope: Scope, body: bytes, sent: list[Message]) -> Exchange:
    start = next((one for one in sent if one["type"] == "http.response.start"), None)
    pieces = [one.get("body", b"") for one in sent if one["type"] == "http.response.body"]
    return Exchange(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
        headers=_to_headers(scope["headers"]),
        body=body,
        status=start["status"] if start else None,
        answer_headers=_to_headers(start["headers"] if start else []),
        answer=b"".join(pieces),
    )


def _to_headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
