"""uvicorn's HTTP/1.1 connection with our errors and timeouts. Knows uvicorn and h11."""

from __future__ import annotations

import asyncio

import h11
import pydantic_core
from uvicorn.protocols.http.h11_impl import H11Protocol

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.http_errors import error_reply


class Connection(H11Protocol):
    """uvicorn's, but invalid HTTP gets our kind of error; a connection that sends no request is
    closed after the keep-alive timeout, and one whose client reads nothing of its answer for
    `stall_timeout_s` is cut, so that it takes no place from others.
    """

    stall_timeout_s = 60.0
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin, and count the silence before the first request as well."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._unset_stalled()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Hold the answer up: its client has not taken what was sent last."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        self._unset_stalled()
        super().resume_writing()

    def _unset_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not an HTTP request with an error, and close."""
        error = RequestRefusedError(msg, hint="Send HTTP/1.1, its headers within 64 KiB.")
        body = pydantic_core.to_json(error_reply(error))
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason="Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
