"""Errors as HTTP responses: one shape for all, and no traceback leaves the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DoesNotFitError,
    EndpointBusyError,
    ModelNotFoundError,
    ReplyBudgetError,
    RequestRefusedError,
    ServerFailedError,
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
# OpenAI's names for what our errors are called differently: its clients decide by these.
WIRE_CODE_OF = {
    "context_length": "context_length_exceeded",
    "endpoint_auth": "invalid_api_key",
    "endpoint_busy": "rate_limit_exceeded",
}
# The field that is at fault, where the kind of the error says it.
PARAM_OF = {"context_length": "messages", "model_not_found": "model", "model_files": "model"}
SERVED = (
    "This server offers /v1/chat/completions, /v1/completions, /v1/models, /health and /metrics."
)
# Paths of OpenAI, vLLM, Anthropic and Ollama that clients try, and what they would do.
NOT_OFFERED = {
    "/v1/responses": "the Responses API",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
    "/v1/audio": "speech and transcription",
    "/v1/images": "images",
    "/v1/videos": "videos",
    "/v1/files": "files",
    "/v1/uploads": "uploads",
    "/v1/batches": "batch jobs",
    "/v1/fine_tuning": "fine-tuning",
    "/v1/assistants": "assistants",
    "/v1/threads": "threads",
    "/v1/conversations": "conversations",
    "/v1/containers": "containers",
    "/v1/evals": "evaluations",
    "/v1/realtime": "realtime sessions",
    "/v1/vector_stores": "vector stores",
    "/v1/rerank": "reranking",
    "/v1/score": "scoring",
    "/v1/classify": "classification",
    "/v1/messages": "the Anthropic API",
    "/v1/edits": "edits",
    "/v1/engines": "engines",
    "/api": "the Ollama API",
    "/rerank": "reranking",
    "/score": "scoring",
    "/pooling": "pooling",
    "/tokenize": "tokenization",
    "/detokenize": "tokenization",
}
CURES = {
    "the Responses API": "Use chat completions (/v1/chat/completions) instead.",
    "the Anthropic API": "Use an OpenAI client with /v1/chat/completions instead.",
    "the Ollama API": "Use an OpenAI client with /v1/chat/completions instead.",
}
CLIENT_LEFT = 499
RETRY_AFTER_S = "1"


class BodyTooLargeError(ConduitError):
    """A request's body is larger than the server reads."""

    code = "context_length"


class BodyTooSlowError(ConduitError):
    """A request's body did not come in time."""

    code = "deadline"


def error_reply(error: ConduitError) -> ErrorReply:
    """Return `error` in the wire format, of which a client of ours makes the same error again.

    The message ends with the hint, as other clients show nothing but that.
    """
    has_param = isinstance(error, RequestRefusedError | ArgumentError)
    detail = ErrorDetail(
        message=f"{error} {error.hint}".rstrip(),
        type=_type(status_of(error)),
        param=error.param if has_param else PARAM_OF.get(error.code),
        code=WIRE_CODE_OF.get(error.code, error.code),
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
    if isinstance(error, ModelNotFoundError | ServerFailedError) and error.reason is not None:
        detail["reason"] = error.reason
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
    """Return the error for a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    path: str = request.scope["path"]
    message, hint = f"{request.method} {path}: {error.detail}.", SERVED
    if error.status_code == 404:
        missing = _not_offered(path)
        if missing:
            message = f"{request.method} {path}: this server does not offer {missing}."
            hint = f"{CURES[missing]} {SERVED}" if missing in CURES else SERVED
        elif path in ("/chat/completions", "/completions", "/models"):
            hint = f"The path is /v1{path}: end the client's base_url in /v1."
        elif path.startswith("/v1/v1/"):
            hint = f"The path is {path[3:]}: the client's base_url has /v1 twice."
    reply = ErrorReply(
        error=ErrorDetail(
            message=message,
            type=_type(error.status_code),
            param=None,
            code="request_refused",
            hint=hint,
        )
    )
    return json_response(reply, error.status_code, error.headers)


def _not_offered(path: str) -> str | None:
    """Return what a path of another API would do; None where it is not known."""
    for given in (path, f"/v1{path}"):
        for known, what in NOT_OFFERED.items():
            if given == known or given.startswith(f"{known}/"):
                return what
    return None


async def _client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # nobody reads it; the log does


async def _unforeseen(_request: Request, error: Exception) -> Response:
    """Return the error for a bug of ours; Starlette logs its traceback, which is not sent."""
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
