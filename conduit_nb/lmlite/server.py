"""The HTTP face of a pool of models: OpenAI's chat completions, and who is there.

Knows HTTP and the wire types; not how models are loaded, nor how text is made.
Layer 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import pydantic_core
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from conduit_nb.errors import (
    ConduitError,
    ContextLengthError,
    EndpointAuthError,
    ServerFailedError,
)
from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.chat import ChatCall, chat_chunk, chat_reply, parse_chat, usage_chunk
from conduit_nb.lmlite.http_errors import (
    HANDLERS,
    BodyTooLargeError,
    error_reply,
    json_response,
)
from conduit_nb.lmlite.log import RequestLog
from conduit_nb.lmlite.pool import ModelPool
from conduit_nb.lmlite.request import GenerationDelta, GenerationRequest
from conduit_nb.models.hub import available_offline
from conduit_nb.protocol import (
    Delta,
    Health,
    ModelInfo,
    ModelList,
    Usage,
)

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

BODY_LIMIT_BYTES = 4 * 2**20
DISCARD_LIMIT_BYTES = 64 * 2**20


def make_app(pool: ModelPool, activity: Activity, *, key: str, version: str) -> Starlette:
    """Return the server's application; `key` is the bearer token that requests must carry."""
    about = _About(pool, activity, key, version)
    return Starlette(
        routes=[
            Route("/health", about.health, methods=["GET"]),
            Route("/v1/models", about.models, methods=["GET"]),
            Route("/v1/chat/completions", _Chat(pool, activity, key), methods=["POST"]),
        ],
        middleware=[Middleware(RequestLog)],
        exception_handlers=HANDLERS,
    )


class _About:
    """Answers about the server itself."""

    def __init__(self, pool: ModelPool, activity: Activity, key: str, version: str) -> None:
        self._pool = pool
        self._activity = activity
        self._key = key
        self._version = version

    async def health(self, request: Request) -> Response:
        """Say that the server lives; who has the key learns more."""
        status = "stopping" if self._activity.is_stopping else "ok"
        if "authorization" not in request.headers:
            return json_response({"status": status})
        _require_key(request, self._key)
        models = {
            model["id"]: model["conduit"]["state"]
            for model in self._pool.models()
            if "conduit" in model
        }
        return json_response(
            Health(
                status=status,
                version=self._version,
                device=self._pool.device,
                idle_s=round(self._activity.idle_s, 3),
                models=models,
            )
        )

    async def models(self, request: Request) -> Response:
        """List what is loaded, and what could be without a network."""
        _require_key(request, self._key)
        listed = self._pool.models()
        known = {model["id"] for model in listed}
        others = [
            ModelInfo(id=name, object="model", created=0, owned_by="conduit")
            for name in await asyncio.to_thread(available_offline)
            if name not in known
        ]
        return json_response(ModelList(object="list", data=[*listed, *others]))


class _Chat:
    """Answers chat completions. An ASGI application, so that one piece of code holds a model,
    its reply and the connection for as long as each lasts.
    """

    def __init__(self, pool: ModelPool, activity: Activity, key: str) -> None:
        self._pool = pool
        self._activity = activity
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or give it up when its client is gone."""
        request = Request(scope, receive)
        body = await _read_body(request, self._key)
        call = parse_chat(body)
        scope["conduit_log"]["model"] = call.key.model_id
        if self._activity.is_stopping:
            raise ServerFailedError("The server is stopping.", hint="Send the request again.")
        with self._activity.request():
            if not await _unless_gone(receive, self._answer(call, scope, receive, send)):
                scope["conduit_log"]["client"] = "left"

    async def _answer(self, call: ChatCall, scope: Scope, receive: Receive, send: Send) -> None:
        reply_id = f"chatcmpl-{scope['conduit_request_id']}"
        async with self._pool.engine(call.key) as engine:
            generation = await _generation(engine, call)
            async with contextlib.aclosing(engine.generate(generation)) as deltas:
                prompt_tokens = len(generation.prompt_tokens)
                if call.stream:
                    await _stream(call, reply_id, prompt_tokens, deltas, scope, send)
                else:
                    response = await _whole(call, reply_id, prompt_tokens, deltas, scope)
                    await response(scope, receive, send)


async def _generation(engine: Engine, call: ChatCall) -> GenerationRequest:
    """Return what the engine is to do; tokenises in a thread, so that others go on meanwhile."""
    limit = engine.context_tokens
    if call.max_model_len is not None:
        if call.max_model_len > limit:
            raise ContextLengthError(
                f"max_model_len={call.max_model_len:,} is more than {call.key.model_id} "
                f"can do: {limit:,} tokens.",
                hint=f"Lower max_model_len to at most {limit:,}, or leave it out.",
            )
        limit = call.max_model_len
    tokens = await asyncio.to_thread(engine.encode_chat, call.messages)
    room = limit - len(tokens)
    if room < 1:
        raise ContextLengthError(
            f"The prompt has {len(tokens):,} tokens; with the reply it must fit into {limit:,}.",
            hint="Shorten the input, or raise max_model_len where the model allows more.",
        )
    if call.json_schema is not None:
        await asyncio.to_thread(engine.check_grammar, call.json_schema)
    return GenerationRequest(
        prompt_tokens=tuple(tokens),
        # What is asked for is an upper bound: a reply that the context cuts says "length".
        max_tokens=min(call.max_tokens or room, room),
        sampling=call.sampling,
        json_schema=call.json_schema,
        batch_timeout_ms=call.batch_timeout_ms,
    )


async def _whole(
    call: ChatCall,
    reply_id: str,
    prompt_tokens: int,
    deltas: AsyncGenerator[GenerationDelta, None],
    scope: Scope,
) -> Response:
    """Return the reply when it is finished."""
    texts: list[str] = []
    written = 0
    async for delta in deltas:
        texts.append(delta.text)
        written += delta.tokens
        if delta.finish_reason is not None:
            usage = _usage(scope, prompt_tokens, written)
            return json_response(
                chat_reply(reply_id, call.key.model_id, "".join(texts), delta.finish_reason, usage)
            )
    raise _unfinished()


def _unfinished() -> ServerFailedError:
    return ServerFailedError("The engine ended without a reason.", hint="Send the request again.")


async def _stream(
    call: ChatCall,
    reply_id: str,
    prompt_tokens: int,
    deltas: AsyncGenerator[GenerationDelta, None],
    scope: Scope,
    send: Send,
) -> None:
    """Send the reply as it is written.

    The answer begins with the first text: what fails before has a status of its own, what fails
    later is an event of the stream, and `[DONE]` does not follow.
    """
    model = call.key.model_id
    written = 0
    begun = False
    try:
        async for delta in deltas:
            if not begun:
                begun = True
                await _start_events(send)
                await _send_event(
                    send, chat_chunk(reply_id, model, Delta(role="assistant", content=""))
                )
            written += delta.tokens
            if delta.text:
                await _send_event(send, chat_chunk(reply_id, model, Delta(content=delta.text)))
            if delta.finish_reason is not None:
                await _send_event(send, chat_chunk(reply_id, model, Delta(), delta.finish_reason))
    except ConduitError as err:
        if not begun:
            raise
        scope["conduit_log"]["error"] = err.code
        await _send_event(send, error_reply(err), last=True)
        return
    if not begun:
        raise _unfinished()
    usage = _usage(scope, prompt_tokens, written)
    if call.include_usage:
        await _send_event(send, usage_chunk(reply_id, model, usage))
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _start_events(send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_event(send: Send, content: Mapping[str, Any], *, last: bool = False) -> None:
    body = b"data: " + pydantic_core.to_json(content) + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": not last})


def _usage(scope: Scope, prompt_tokens: int, completion_tokens: int) -> Usage:
    scope["conduit_log"]["prompt_tokens"] = prompt_tokens
    scope["conduit_log"]["completion_tokens"] = completion_tokens
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


async def _read_body(request: Request, key: str) -> bytes:
    """Return the body of a request that has the key and is not too large.

    What is refused is read to its end and thrown away first: a client that still sends would find
    a broken connection instead of the answer.
    """
    try:
        _require_key(request, key)
    except EndpointAuthError:
        await _discard(request)
        raise
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT_BYTES:
            chunks.append(chunk)
        elif size > DISCARD_LIMIT_BYTES:
            break
    if size > BODY_LIMIT_BYTES:
        shown = request.headers.get("content-length", "")
        raise BodyTooLargeError(
            f"The request has {int(shown) if shown.isdigit() else size:,} bytes; "
            f"this server reads at most {BODY_LIMIT_BYTES:,}.",
            hint="Shorten the input: no model here reads that much at once.",
        )
    return b"".join(chunks)


async def _discard(request: Request) -> None:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > DISCARD_LIMIT_BYTES:
            return


def _require_key(request: Request, key: str) -> None:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared in constant time, so that the time of an answer tells nothing of the key.
    right = hmac.compare_digest(given.strip().encode(), key.encode())
    if kind.lower() != "bearer" or not right:
        raise EndpointAuthError(
            "The key is missing or wrong.", hint="Send the header Authorization: Bearer KEY."
        )


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; cancel it and return False when the client closes the connection first."""
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
