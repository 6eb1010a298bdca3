"""What a server's answer says: foreign JSON read into our wire types, and errors into ours.

Takes what it knows, ignores the rest, and never passes on what a server echoes of a request.
Knows no HTTP client.
Layer 1.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    ContextLengthError,
    DeadlineError,
    DoesNotFitError,
    EndpointAuthError,
    EndpointBusyError,
    EndpointError,
    MissingExtraError,
    ModelError,
    ModelFilesError,
    ModelNotFoundError,
    NotFoundReason,
    ReplyBudgetError,
    RequestRefusedError,
    ServerFailedError,
    ServerFailure,
    StorageError,
)
from conduit_nb.protocol import (
    ChatChunk,
    ChatReply,
    Choice,
    ChunkChoice,
    Delta,
    FinishReason,
    Health,
    Message,
    Misfit,
    ModelInfo,
    ReplyDetails,
    Usage,
)

ERROR_TEXT_LIMIT = 500
LONGEST_PARAM = 100

# What servers put into `error.code`: our own, and those of OpenAI that say more than a status.
KIND_OF_CODE: Mapping[str, type[ConduitError]] = {
    kind.code: kind
    for kind in (
        ArgumentError,
        ContextLengthError,
        DeadlineError,
        EndpointAuthError,
        EndpointBusyError,
        MissingExtraError,
        ModelError,
        ModelFilesError,
        ModelNotFoundError,
        ReplyBudgetError,
        RequestRefusedError,
        ServerFailedError,
        StorageError,
    )
} | {
    "context_length_exceeded": ContextLengthError,
    "invalid_api_key": EndpointAuthError,
    "rate_limit_exceeded": EndpointBusyError,
}

HINTS: Mapping[type[ConduitError], str] = {
    ArgumentError: "Check the arguments of the block.",
    ContextLengthError: "Shorten the input, or raise max_model_len.",
    DeadlineError: "Give the request more time (deadline_s), or ask for fewer tokens.",
    EndpointAuthError: "Check the key: api_key_env= names the variable that holds it.",
    EndpointBusyError: "Ask for less at once (max_model_concurrency).",
    MissingExtraError: "Install what the server lacks, where the server runs.",
    ModelError: "Choose another model, or another runtime.",
    ModelFilesError: "Use another model, or repair its files.",
    ModelNotFoundError: "Check model_id; `%conduit models` lists what can be had from here.",
    ReplyBudgetError: "Raise max_tokens, or ask for a smaller record.",
    RequestRefusedError: "Check that the server knows the model and takes response_format.",
    ServerFailedError: "Ask again; `%conduit logs` may say more.",
    StorageError: "Make room, or set CONDUIT_CACHE_DIR to a folder with more.",
}


def to_chat_reply(text: bytes, *, server: str) -> ChatReply:
    """Read the body of an answer; ServerFailedError where it is none."""
    reply = _object(text, server)
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise not_openai(server)
    return ChatReply(
        id=_text(reply.get("id")),
        object="chat.completion",
        created=_int(reply.get("created")),
        model=_text(reply.get("model")),
        choices=[_to_choice(choice, server) for choice in cast("list[object]", choices)],
        usage=_to_usage(reply.get("usage")),
    )


def to_chat_chunk(text: str, *, server: str, secret_texts: Iterable[str]) -> ChatChunk:
    """Read one event of a streamed answer; raise the error that it tells instead."""
    chunk = _object(text, server)
    if chunk.get("error"):
        error = to_error(500, text.encode(), {}, server=server, secret_texts=secret_texts)
        if isinstance(error, EndpointError):
            error.status = None  # the answer began as a good one
        raise error
    choices: object = chunk.get("choices") or []
    if not isinstance(choices, list):
        raise not_openai(server)
    result = ChatChunk(
        id=_text(chunk.get("id")),
        object="chat.completion.chunk",
        created=_int(chunk.get("created")),
        model=_text(chunk.get("model")),
        choices=[_to_chunk_choice(choice) for choice in cast("list[object]", choices)],
    )
    if isinstance(chunk.get("usage"), dict):
        result["usage"] = _to_usage(chunk["usage"])
    return result


def to_model_infos(text: bytes, *, server: str) -> list[ModelInfo]:
    """Read the body of GET /v1/models."""
    entries = _object(text, server).get("data")
    if not isinstance(entries, list):
        raise not_openai(server)
    return [
        _to_model_info(cast("dict[str, Any]", entry))
        for entry in cast("list[object]", entries)
        if isinstance(entry, dict) and "id" in entry
    ]


def to_model_info(text: bytes, *, server: str) -> ModelInfo:
    """Read the body of the answer to POST /v1/models/load."""
    entry = _object(text, server)
    if "id" not in entry:
        raise not_openai(server)
    return _to_model_info(entry)


def to_health(text: bytes, *, server: str) -> Health:
    """Read the body of GET /health of a server of ours."""
    body = _object(text, server)
    status, models, idle_s = body.get("status"), body.get("models"), body.get("idle_s")
    if status not in ("ok", "stopping"):
        raise ServerFailedError(
            f"{server} does not tell its health as a server of Conduit does.",
            hint="Something else may listen on that port; `%conduit ps` shows what is ours.",
        )
    states = cast("dict[str, object]", models) if isinstance(models, dict) else {}
    return Health(
        status=status,
        version=_text(body.get("version")),
        device=_text(body.get("device")),
        idle_s=float(idle_s) if isinstance(idle_s, int | float) else 0.0,
        models={name: _text(state) for name, state in states.items()},
    )


def to_error(
    status: int,
    text: bytes,
    headers: Mapping[str, str],
    *,
    server: str,
    secret_texts: Iterable[str],
) -> ConduitError:
    """Return the error that an answer tells: by the code in its body, else by its status.

    What the answer repeats of `secret_texts` (the key, the request's messages) is blanked out.
    """
    said, code, hint, fields = _error_detail(text)
    said = _without(said, secret_texts)[:ERROR_TEXT_LIMIT]
    told = f"{server}: {said}" if said else f"{server} answered with status {status}."
    if code == DoesNotFitError.code and (numbers := _misfit(text)):
        return DoesNotFitError(told, **numbers, hint=_without(hint, secret_texts))
    kind = KIND_OF_CODE.get(code or "") or _kind_of_status(status)
    hint = _without(hint, secret_texts) or HINTS.get(kind, "")
    if 300 <= status < 400:
        told = f"{server} sends its callers elsewhere (status {status})."
        hint = "Give the address of the API itself as endpoint=."
    if issubclass(kind, EndpointBusyError):
        wait_s = retry_after_s(headers.get("retry-after"))
        error: ConduitError = kind(told, retry_after_s=wait_s, hint=hint)
    else:
        error = kind(told, hint=hint)
    if isinstance(error, EndpointError):
        error.status = status
    reason, needed_tokens = fields.get("reason"), fields.get("needed_tokens")
    if isinstance(error, RequestRefusedError | ArgumentError):
        error.param = _without(_text(fields.get("param")), secret_texts)[:LONGEST_PARAM] or None
    if isinstance(error, ReplyBudgetError) and isinstance(needed_tokens, int):
        error.needed_tokens = needed_tokens
    if isinstance(error, ModelNotFoundError) and reason in get_args(NotFoundReason):
        error.reason = cast("NotFoundReason", reason)
    if isinstance(error, ServerFailedError) and reason in get_args(ServerFailure):
        error.reason = cast("ServerFailure", reason)
    return error


def not_openai(server: str) -> ServerFailedError:
    """Return the error for an answer that is no OpenAI reply at all."""
    return ServerFailedError(
        f"{server} answered with something that is no OpenAI reply.",
        hint="Check that endpoint= is the address of an OpenAI-compatible API.",
    )


def retry_after_s(value: str | None) -> float:
    """Read Retry-After, in seconds or as a date; a second where it is missing or wrong."""
    if value is None:
        return 1.0
    if value.strip().isdecimal():
        return min(float(value), 3600.0)
    try:
        moment = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(moment) - time.time() if moment is not None else 1.0
    except (ValueError, OverflowError):
        return 1.0
    return min(max(seconds, 0.0), 3600.0)


def _object(text: bytes | str, server: str) -> dict[str, Any]:
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise not_openai(server) from err
    if not isinstance(body, dict):
        raise not_openai(server)
    return cast("dict[str, Any]", body)


def _to_choice(body: object, server: str) -> Choice:
    choice = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        raise not_openai(server)
    content = cast("dict[str, object]", message).get("content")
    result = Choice(
        index=_int(choice.get("index")),
        message=Message(role="assistant", content=_text(content)),
        finish_reason=_to_finish_reason(choice.get("finish_reason")),
    )
    if details := _to_details(choice.get("conduit")):
        result["conduit"] = details
    return result


def _to_chunk_choice(body: object) -> ChunkChoice:
    choice = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    delta = choice.get("delta")
    content = cast("dict[str, object]", delta).get("content") if isinstance(delta, dict) else None
    result = ChunkChoice(
        index=_int(choice.get("index")),
        delta=Delta(content=content) if isinstance(content, str) else Delta(),
        finish_reason=_to_finish_reason(choice.get("finish_reason")),
    )
    if details := _to_details(choice.get("conduit")):
        result["conduit"] = details
    return result


def _to_details(value: object) -> ReplyDetails:
    told = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    figures = told.get("confidence")
    if not isinstance(figures, dict):
        return ReplyDetails()
    return ReplyDetails(
        confidence={
            pointer: float(figure)
            for pointer, figure in cast("dict[str, object]", figures).items()
            if isinstance(figure, int | float)
        }
    )


def _to_finish_reason(value: object) -> FinishReason | None:
    if value is None:
        return None
    return "length" if value == "length" else "stop"


def _to_usage(value: object) -> Usage:
    """Read the token counts; a server that tells none has zeros."""
    counts = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    prompt, completion = _int(counts.get("prompt_tokens")), _int(counts.get("completion_tokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_int(counts.get("total_tokens")) or prompt + completion,
    )


def _to_model_info(entry: dict[str, Any]) -> ModelInfo:
    info = ModelInfo(
        id=_text(entry["id"]),
        object="model",
        created=_int(entry.get("created")),
        owned_by=_text(entry.get("owned_by")),
    )
    if isinstance(entry.get("conduit"), dict):
        info["conduit"] = entry["conduit"]
    return info


def _kind_of_status(status: int) -> type[ConduitError]:
    if status in (401, 403):
        return EndpointAuthError
    if status == 429:
        return EndpointBusyError
    return ServerFailedError if status >= 500 else RequestRefusedError


def _error_detail(text: bytes) -> tuple[str, str | None, str, Mapping[str, object]]:
    """Return message, code, hint and all fields of an error, in the forms that servers use."""
    try:
        detail: object = json.loads(text)
    except (ValueError, RecursionError):
        return "", None, "", {}
    if isinstance(detail, dict):
        fields = cast("dict[str, object]", detail)
        detail = fields.get("error") or fields.get("detail") or fields
    if isinstance(detail, str):
        return detail, None, "", {}
    fields = cast("dict[str, object]", detail) if isinstance(detail, dict) else {}
    code, hint = fields.get("code"), _text(fields.get("hint"))
    return (
        _text(fields.get("message")).removesuffix(hint).rstrip(),
        code if isinstance(code, str) else None,
        hint,
        fields,
    )


def _misfit(text: bytes) -> Misfit | None:
    """Return the numbers of a model that does not fit; None where a server tells others."""
    detail = cast("dict[str, Any]", json.loads(text)).get("error")
    said: object = cast("dict[str, Any]", detail).get("conduit") if isinstance(detail, dict) else 0
    if not isinstance(said, dict):
        return None
    numbers = cast("dict[str, object]", said)
    needed, available = numbers.get("needed_gib"), numbers.get("available_gib")
    if not isinstance(needed, int | float) or not isinstance(available, int | float):
        return None
    length, rows = numbers.get("largest_model_len"), numbers.get("largest_concurrency")
    return Misfit(
        needed_gib=float(needed),
        available_gib=float(available),
        largest_model_len=length if isinstance(length, int) else None,
        largest_concurrency=rows if isinstance(rows, int) else None,
    )


def _without(said: str, secret_texts: Iterable[str]) -> str:
    for secret in secret_texts:
        for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            if len(form) > 3:
                said = said.replace(form, "…")
    return said


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
