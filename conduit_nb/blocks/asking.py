"""One model, as a block may ask it: where it is, how many requests at once, when to ask again.

Knows requests and their retries. Knows no schemas' classes and no records.
Layer 3.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from conduit_nb.blocks.base import Call
from conduit_nb.client import Endpoint, model_options
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import (
    ArgumentError,
    EndpointBusyError,
    EndpointError,
    EndpointUnreachableError,
    ReplyError,
    ServerFailedError,
    TruncatedError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.models.hub import resolved_id
from conduit_nb.protocol import (
    ChatChunk,
    ChatRequest,
    Dialect,
    JsonSchemaSpec,
    Message,
    ResponseFormat,
    TensorRtFormat,
    Usage,
)

BUSY_ATTEMPTS = 6
BUSY_WAIT_S = 120.0
FAILED_WAIT_S = 0.5
BEYOND_OPENAI_STRICT = frozenset({"minLength", "maxLength", "propertyNames", "patternProperties"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked. `json_schema` bounds the answer; None lets it be any text."""

    messages: Sequence[Message]
    json_schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int | None = None
    confidence: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens is not None and not _is_whole(self.max_tokens, least=1):
            raise ArgumentError(
                f"max_tokens={self.max_tokens!r} is not a whole number of at least 1.",
                param="max_tokens",
                hint="Leave max_tokens out to get what the context leaves.",
            )
        if isinstance(self.temperature, bool) or not 0 <= self.temperature < float("inf"):
            raise ArgumentError(
                f"temperature={self.temperature!r} is not a number of at least 0.",
                param="temperature",
                hint="Use 0 for the likeliest answer each time.",
            )
        if self.seed is not None and not _is_whole(self.seed, least=0):
            raise ArgumentError(
                f"seed={self.seed!r} is not a whole number of at least 0.",
                param="seed",
                hint="Leave seed out where answers need not repeat.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model said, or a piece of it; of the pieces the last one has what is not text.

    `is_cut` says that a limit ended it; `confidence` is by JSON pointer.
    """

    text: str = ""
    is_cut: bool = False
    confidence: Mapping[str, float] = field(default_factory=dict[str, float])


class ModelAccess:
    """One configured model in a deployment, or at the URL of an OpenAI-compatible server."""

    def __init__(
        self,
        config: LmLiteModelConfig,
        *,
        target: DeploymentRequest | str | None,
        url: str | None,
        api_key_env: str | None,
        timeout_s: float,
    ) -> None:
        self.config = config
        self._target = target
        self._url = url
        self._api_key_env = api_key_env
        self._timeout_s = timeout_s
        self._own: Endpoint | None = None
        self._own_key: str | None = None
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )
        if url is not None:
            Endpoint(url)  # says now what is wrong with the address

    @property
    def target(self) -> DeploymentRequest | str | None:
        """What has to run for it, or the name of what runs; None where an endpoint was given."""
        return self._target if self._url is None else None

    async def ask(self, question: Question, call: Call) -> Said:
        """Return the whole answer.

        It is streamed all the same: so a long answer needs no long silence, which proxies cut.
        """
        async with self._place():
            tries = _Tries()
            while True:
                try:
                    async with aclosing(self._attempt(question, call, tries)) as pieces:
                        return joined([piece async for piece in pieces])
                except EndpointError as error:
                    await tries.wait_or_raise(error)

    async def stream(self, question: Question, call: Call) -> AsyncGenerator[Said]:
        """Yield the answer as it is written."""
        async with self._place():
            tries = _Tries()
            while True:
                has_begun = False
                try:
                    async with aclosing(self._attempt(question, call, tries)) as pieces:
                        async for piece in pieces:
                            has_begun = True
                            yield piece
                except EndpointError as error:
                    if has_begun:  # what was yielded cannot be taken back
                        raise
                    await tries.wait_or_raise(error)
                else:
                    return

    async def _attempt(self, question: Question, call: Call, tries: _Tries) -> AsyncGenerator[Said]:
        endpoint = await self._endpoint(call, fresh=tries.needs_fresh_endpoint)
        request = self._request(question, endpoint.dialect)
        has_said = is_cut = False
        confidence: Mapping[str, float] = {}
        chunks = cast(
            "AsyncGenerator[ChatChunk]", endpoint.stream(request, timeout_s=self._timeout_s)
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                usage = chunk.get("usage")
                if usage:
                    self._tell_usage(call, usage)
                for choice in chunk["choices"]:
                    is_cut = is_cut or choice["finish_reason"] == "length"
                    confidence = choice.get("conduit", {}).get("confidence", confidence)
                    text = choice["delta"].get("content") or ""
                    if text:
                        has_said = True
                        yield Said(text=text)
        if is_cut or confidence:
            yield Said(is_cut=is_cut, confidence=confidence)
        elif not has_said:
            raise ReplyError(
                f"{self.config.model_id} answered with nothing.",
                hint="Say more clearly what is wanted (guidance=), or try another model.",
            )

    def truncated(self, text: str, partial: object = None) -> TruncatedError:
        """Return the error for an answer that a limit cut; `partial` is what there is of it."""
        what = "error.text" if partial is None else 'error.partial, and on_length="keep" takes it'
        error = TruncatedError(
            f"The answer of {self.config.model_id} was cut by the token limit "
            f"after {len(text)} characters.",
            text=text,
            hint=f"Raise max_tokens or max_model_len, or ask for less; what there is: {what}.",
        )
        error.partial = partial
        return error

    async def _endpoint(self, call: Call, *, fresh: bool) -> Endpoint:
        if self._url is None:
            assert self._target is not None, "a model is at a URL or in a deployment"
            wanted = call.host.endpoint(self._target, fresh=fresh)
            if call.host.is_loop_thread():
                return await wanted
            # Awaited on a loop of the user's: what starts servers runs on the session's.
            return await asyncio.wrap_future(call.host.submit(wanted))
        key = self._key()
        if self._own is None or self._own_key != key:
            self._own, self._own_key = Endpoint(self._url, key=key), key
        return self._own

    def _key(self) -> str | None:
        if self._api_key_env is None:
            return None
        key = os.environ.get(self._api_key_env)
        if not key:
            raise ArgumentError(
                f"The environment variable {self._api_key_env} (api_key_env) is not set.",
                param="api_key_env",
                hint=f"Set {self._api_key_env} to the server's key, or leave api_key_env out.",
            )
        return key

    def _request(self, question: Question, dialect: Dialect) -> ChatRequest:
        request = ChatRequest(
            # A server that is not ours may have an @ in the names of its models.
            model=self.config.full_id if self._target is None else self.config.model_id,
            messages=list(question.messages),
            temperature=question.temperature,
        )
        if question.max_tokens is not None:
            request["max_tokens"] = question.max_tokens
        if question.seed is not None:
            request["seed"] = question.seed
        if question.json_schema is not None:
            request["response_format"] = _response_format(question, dialect)
        if dialect == "lmlite":
            request["model"] = resolved_id(self.config.model_id)
            request["conduit"] = model_options(self.config)
            if question.confidence:
                request["conduit"]["confidence"] = True
        elif question.confidence:
            raise ArgumentError(
                f"The server of {self.config.model_id} cannot tell how sure its answers are.",
                param="confidence",
                hint="confidence= needs a server of Conduit's own: leave it out, or leave out "
                "endpoint=.",
            )
        return request

    def _place(self) -> AbstractAsyncContextManager[object]:
        """Return what bounds how many requests run at once."""
        limit = self.config.max_model_concurrency
        if limit is None:
            return nullcontext()
        return self._places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(limit))

    def _tell_usage(self, call: Call, usage: Usage) -> None:
        call.tokens_used(
            model=self.config.model_id,
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
        )


def joined(pieces: Sequence[Said]) -> Said:
    """Return the pieces of an answer as one."""
    return Said(
        text="".join(piece.text for piece in pieces),
        is_cut=any(piece.is_cut for piece in pieces),
        confidence=pieces[-1].confidence if pieces else {},
    )


class _Tries:
    """How often one question was asked, and whether to ask again."""

    def __init__(self) -> None:
        self.needs_fresh_endpoint = False
        self._busy = 0
        self._waited_s = 0.0
        self._failed = 0

    async def wait_or_raise(self, error: EndpointError) -> None:
        """Wait until it makes sense to ask again, or raise `error` where it does not."""
        match error:
            case EndpointBusyError(retry_after_s=pause_s):
                self._busy += 1
                self._waited_s += pause_s
                if self._busy >= BUSY_ATTEMPTS or self._waited_s > BUSY_WAIT_S:
                    raise error
                await asyncio.sleep(pause_s)
            case EndpointUnreachableError() if not self.needs_fresh_endpoint:
                self.needs_fresh_endpoint = True
            case ServerFailedError() if not self._failed:
                self._failed += 1
                await asyncio.sleep(FAILED_WAIT_S)
            case _:
                raise error


def _response_format(question: Question, dialect: Dialect) -> ResponseFormat | TensorRtFormat:
    """Ask for a record in the words of the server."""
    spec = _spec(question, dialect)
    if dialect == "tensorrt":
        return TensorRtFormat(type="json", schema=spec["schema"])
    return ResponseFormat(type="json_schema", json_schema=spec)


def _spec(question: Question, dialect: Dialect) -> JsonSchemaSpec:
    assert question.json_schema is not None
    spec = JsonSchemaSpec(
        name=re.sub(r"[^A-Za-z0-9_-]+", "_", question.schema_name)[:64],
        schema=dict(question.json_schema),
    )
    if dialect != "lmlite":
        spec["schema"].pop("x-guidance", None)  # our grammar engine's own word
        spec["strict"] = _is_openai_strict(spec["schema"])
    return spec


def _is_openai_strict(schema: object) -> bool:
    """Say whether OpenAI's strict mode takes the schema: closed objects, every key required."""
    if isinstance(schema, list):
        return all(_is_openai_strict(part) for part in cast("list[object]", schema))
    if not isinstance(schema, dict):
        return True
    node = cast("dict[str, object]", schema)
    if node.get("type") == "object":
        properties = cast("dict[str, object]", node.get("properties") or {})
        required = cast("list[str]", node.get("required") or [])
        if node.get("additionalProperties") is not False or set(properties) != set(required):
            return False
    return not BEYOND_OPENAI_STRICT & node.keys() and all(
        _is_openai_strict(part) for part in node.values()
    )


def _is_whole(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
