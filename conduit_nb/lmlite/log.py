"""Log lines of the server: `time level event field=value …`, one line each, never with content."""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
import traceback
from types import TracebackType

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("conduit_nb.lmlite")
PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
# Errors of the machine; the messages of others may hold parts of a request.
SAFE_ERRORS = (OSError, MemoryError, RuntimeError, ImportError)
QUIET_PATHS = ("/health", "/metrics", "/v1/models")


_ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class PrivateFormatter(logging.Formatter):
    """Formats an error's traceback and kind; its message only where that holds no content."""

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802  # logging's name
        """Return the traceback of an error, after those of the errors that led to it."""
        tracebacks: list[str] = []
        error = ei[1]
        while error is not None:
            message = f": {error}" if type(error) in SAFE_ERRORS else ""
            frames = "".join(traceback.format_tb(error.__traceback__))
            tracebacks.append(
                f"Traceback (most recent call last):\n{frames}{type(error).__name__}{message}"
            )
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n\n".join(reversed(tracebacks))


def set_up_logging() -> None:
    """Send every log line of this process to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = PrivateFormatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    LOG.setLevel(logging.INFO)


def log_event(event: str, **fields: object) -> None:
    """Write one line; a value that holds more than a word is quoted, so that none can forge one."""
    shown = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
    LOG.info("%s %s", event, shown)


def _quoted(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text[:300])


class RequestLog:
    """Gives every request an id, and writes a line when it has been answered.

    Handlers add fields through `scope["conduit_log"]`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the application inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        requested_id = Headers(scope=scope).get("x-request-id", "")
        request_id = requested_id if REQUEST_ID.fullmatch(requested_id) else secrets.token_hex(12)
        fields: dict[str, object] = {}
        scope["conduit_log"] = fields
        scope["conduit_request_id"] = request_id
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        begun = time.monotonic()
        try:
            await self._app(scope, receive, note)
        finally:
            if scope["path"] not in QUIET_PATHS or status >= 400:
                log_event(
                    "request",
                    id=request_id,
                    path=scope["path"],
                    status=status or "none",
                    seconds=time.monotonic() - begun,
                    **fields,
                )
