"""What goes wrong in the server, as HTTP answers: one shape for all, and no traceback outside.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from conduit_nb.errors import (
    ConduitError,
    DoesNotFitError,
    EndpointBusyError,
    ReplyBudgetError,
)
from conduit_nb.protocol import ErrorDetail, ErrorReply, Misfit

STATUS_OF = {
    "context_length": 400,
    "request_refused": 400,
    "reply_budget": 400,
    "argument": 400,
    "endpoint_auth": 401,
    "model_not_found": 404,
    "model": 422,
    "model_files": 422,
    "endpoint_busy": 429,
    "server_failed": 503,
    "deadline": 504,
    "storage": 507,
    "does_not_fit": 507,
}
TYPE_OF = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
CLIENT_LEFT = 499
RETRY_AFTER_S = "1"


class BodyTooLargeError(ConduitError):
    """A request's body is larger than the server reads."""

    code = "context_length"


class BodyTooSlowError(ConduitError):
    """A request's body did not come in time."""

    code = "deadline"


def error_reply(error: ConduitError) -> ErrorReply:
    """Return `error` as the wire says it: a client of ours makes the same error of it again."""
    detail = ErrorDetail(
        message=str(error),
        type=_type(status_of(error)),
        param=None,
        code=error.code,
        hint=error.hint,
    )
    if isinstance(error, DoesNotFitError):
        detail["conduit"] = Misfit(
            needed_gib=error.needed_gib,
            available_gib=error.available_gib,
            largest_model_len=error.largest_model_len,
            largest_concurrency=error.largest_concurrency,
        )
    if isinstance(error, ReplyBudgetError) and error.needed_tokens is not None:
        detail["needed_tokens"] = error.needed_tokens
    return ErrorReply(error=detail)


def status_of(error: ConduitError) -> int:
    """Return the HTTP status of an answer that is `error`."""
    if isinstance(error, BodyTooSlowError):
        return 408
    return 413 if isinstance(error, BodyTooLargeError) else STATUS_OF.get(error.code, 500)


def json_response(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with `content` as its JSON body."""
    return Response(
        pydantic_core.to_json(content), status, headers=headers, media_type="application/json"
    )


async def _conduit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConduitError)
    request.scope["conduit_log"]["error"] = error.code
    headers: dict[str, str] = {}
    if isinstance(error, EndpointBusyError):
        headers["retry-after"] = f"{error.retry_after_s:.0f}"
    if status_of(error) == 503:
        headers["retry-after"] = RETRY_AFTER_S
    if status_of(error) == 401:
        headers["www-authenticate"] = "Bearer"
    return json_response(error_reply(error), status_of(error), headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer for a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    reply = ErrorReply(
        error=ErrorDetail(
            message=f"{request.method} {request.scope['path']}: {error.detail}",
            type=_type(error.status_code),
            param=None,
            code="request_refused",
            hint="This server knows /v1/chat/completions, /v1/completions, /v1/models, /health"
            " and /metrics.",
        )
    )
    return json_response(reply, error.status_code, error.headers)


async def _client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # nobody reads it; the log does


async def _unforeseen(_request: Request, error: Exception) -> Response:
    """Answer for a mistake of ours; Starlette logs its traceback, which stays on this side."""
    reply = ErrorReply(
        error=ErrorDetail(
            message=f"The server failed inside ({type(error).__name__}).",
            type="server_error",
            param=None,
            code="server_failed",
            hint="The server's log has the details (%conduit logs).",
        )
    )
    return json_response(reply, 500)


def _type(status: int) -> str:
    default = "invalid_request_error" if status < 500 else "server_error"
    return TYPE_OF.get(status, default)


HANDLERS: dict[Any, Any] = {
    ConduitError: _conduit_error,
    HTTPException: _http_error,
    ClientDisconnect: _client_left,
    Exception: _unforeseen,
}
