"""Answers requests for replies, from the body to the last byte, at either endpoint.

Knows HTTP and the pool of models; ApiRequest and ApiResponse know the format of an endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pydantic_core
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from conduit_nb.errors import (
    ConduitError,
    ContextLengthError,
    DeadlineError,
    ServerFailedError,
)
from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.api_request import ApiRequest, CompletionOutput
from conduit_nb.lmlite.auth import read_body
from conduit_nb.lmlite.http_errors import error_reply, json_response
from conduit_nb.lmlite.metrics import Metrics, ReplyTimes
from conduit_nb.lmlite.pool import ModelPool, stopping
from conduit_nb.lmlite.request import GenerationDelta, GenerationRequest, TextGrammar
from conduit_nb.lmlite.tool_calls import CallGrammar
from conduit_nb.protocol import Usage

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need


class Completions:
    """One endpoint. An ASGI application, so that one function holds a model, its replies and the
    connection for as long as each lasts.
    """

    def __init__(
        self,
        parse: Callable[[bytes], ApiRequest],
        pool: ModelPool,
        activity: Activity,
        metrics: Metrics,
        key: str,
    ) -> None:
        self._parse = parse
        self._pool = pool
        self._activity = activity
        self._metrics = metrics
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or give it up when its client is gone."""
        arrived = asyncio.get_running_loop().time()
        request = self._parse(await read_body(Request(scope, receive), self._key))
        scope["conduit_log"]["model"] = request.key.model_id
        if self._activity.is_stopping:
            raise stopping()
        with self._activity.request():
            work = self._respond(request, arrived, scope, receive, send)
            if not await _unless_gone(receive, work):
                scope["conduit_log"]["client"] = "left"

    async def _respond(
        self, request: ApiRequest, arrived: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the replies.

        A streamed response begins with the first text: what fails before has a status of its own,
        what fails later is an event of the stream, and `[DONE]` does not follow.
        """
        headers: dict[str, str] = {}
        if request.ignored:  # their names are the client's own text: none of it goes into the log
            names = (quote(name, safe="[]", errors="replace") for name in request.ignored)
            headers["x-conduit-ignored"] = ", ".join(names)
            scope["conduit_log"]["ignored"] = len(request.ignored)
        events = _Events(send, headers)
        times = ReplyTimes(self._metrics, request.key.model_id, arrived)
        replies = _Replies(request.replies)
        try:
            async with (
                _within(request.deadline_s, arrived),
                self._pool.engine(
                    request.key, replies=request.replies, max_model_len=request.max_model_len
                ) as engine,
            ):
                response = request.response(scope["conduit_request_id"], engine)
                generations = await _generations(engine, request)
                replies.prompt_tokens = sum(
                    len(one.prompt_tokens) for one in generations[:: request.n]
                )
                texts = [engine.generate(one) for one in generations]
                async with contextlib.aclosing(merged(texts)) as deltas:
                    async for index, delta in deltas:
                        times.note(index, delta.tokens)
                        output = replies.add(index, delta, keep=not request.stream)
                        if request.stream:
                            opening = response.opening(index) if replies.is_new(index) else None
                            await events.send(opening)
                            if output.text or output.logprobs or output.finish_reason:
                                for event in response.events(output):
                                    await events.send(event)
            usage = replies.usage()
        except ConduitError as err:
            if not events.have_begun:
                raise
            scope["conduit_log"]["error"] = err.code
            await events.fail(err)
            return
        scope["conduit_log"]["prompt_tokens"] = usage["prompt_tokens"]
        scope["conduit_log"]["completion_tokens"] = usage["completion_tokens"]
        if request.stream:
            await events.send(response.usage_event(usage) if request.include_usage else None)
            await events.end()
        else:
            http_response = json_response(response.whole(replies.whole(), usage), headers=headers)
            await http_response(scope, receive, send)


class _Replies:
    """What has been written so far of some replies."""

    def __init__(self, count: int) -> None:
        self.prompt_tokens = 0
        self._written_tokens = 0
        self._outputs: list[list[CompletionOutput]] = [[] for _ in range(count)]
        self._begun: set[int] = set()
        self._open = count

    def add(self, index: int, delta: GenerationDelta, *, keep: bool) -> CompletionOutput:
        """Count what was written of a reply, and return it; only what is kept is part of it."""
        output = CompletionOutput(
            index=index,
            text=delta.text,
            logprobs=delta.logprobs,
            confidence=delta.confidence,
            finish_reason=delta.finish_reason,
        )
        self._written_tokens += delta.tokens
        self._open -= delta.finish_reason is not None
        if keep:
            self._outputs[index].append(output)
        return output

    def is_new(self, index: int) -> bool:
        """Whether this is the first call for this reply."""
        is_new = index not in self._begun
        self._begun.add(index)
        return is_new

    def whole(self) -> list[CompletionOutput]:
        """Return the replies."""
        return [
            CompletionOutput(
                index=index,
                text="".join(output.text for output in outputs),
                logprobs=tuple(entry for output in outputs for entry in output.logprobs),
                confidence=outputs[-1].confidence,
                finish_reason=outputs[-1].finish_reason,
            )
            for index, outputs in enumerate(self._outputs)
        ]

    def usage(self) -> Usage:
        """Return what was read and written; each prompt counts once, whatever follows it."""
        if self._open:
            raise ServerFailedError(
                "The engine ended without a reason.",
                reason="ended",
                hint="Send the request again.",
            )
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self._written_tokens,
            total_tokens=self.prompt_tokens + self._written_tokens,
        )


class _Events:
    """A stream of events, which begins with the first of them."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = [(name.encode(), text.encode()) for name, text in headers.items()]
        self.have_begun = False

    async def send(self, content: Mapping[str, Any] | None, *, last: bool = False) -> None:
        """Send one event; None sends nothing."""
        if content is None:
            return
        if not self.have_begun:
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                *self._headers,
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            self.have_begun = True
        body = b"data: " + pydantic_core.to_json(content) + b"\n\n"
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def fail(self, error: ConduitError) -> None:
        """End a stream that has begun with an error."""
        await self.send(error_reply(error), last=True)

    async def end(self) -> None:
        """End a stream that has begun."""
        await self._send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def merged(
    replies: Sequence[AsyncGenerator[GenerationDelta, None]],
) -> AsyncGenerator[tuple[int, GenerationDelta], None]:
    """Yield the deltas of several replies as they come, each with its index.

    An error of one ends all; closing this closes them.
    """
    arrived: asyncio.Queue[tuple[int, GenerationDelta] | asyncio.Task[None]] = asyncio.Queue()

    async def read(index: int, deltas: AsyncGenerator[GenerationDelta, None]) -> None:
        async with contextlib.aclosing(deltas):
            async for delta in deltas:
                arrived.put_nowait((index, delta))

    tasks = [asyncio.create_task(read(*one)) for one in enumerate(replies)]
    for task in tasks:
        task.add_done_callback(arrived.put_nowait)
    try:
        running = len(tasks)
        while running:
            item = await arrived.get()
            if isinstance(item, tuple):
                yield item
            else:
                item.result()
                running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _generations(engine: Engine, request: ApiRequest) -> list[GenerationRequest]:
    """Return the engine's requests; tokenizes in a thread, so that the event loop goes on."""
    limit = engine.context_tokens
    if request.max_model_len is not None:
        if request.max_model_len > limit:
            raise ContextLengthError(
                f"max_model_len={request.max_model_len:,} is more than {request.key.model_id} "
                f"can do: {limit:,} tokens.",
                hint=f"Lower max_model_len to at most {limit:,}, or leave it out.",
            )
        limit = request.max_model_len
    grammar = request.grammar(engine)
    if grammar is not None:  # a schema that cannot be served is refused before anything is read
        await asyncio.to_thread(engine.check_grammar, grammar)
    prompts = await asyncio.to_thread(request.encode, engine)
    return [
        _generation(
            request,
            grammar,
            tuple(tokens),
            context_tokens=engine.context_tokens,
            limit=limit,
            number=number,
        )
        for tokens in prompts
        for number in range(request.n)
    ]


def _generation(
    request: ApiRequest,
    grammar: Mapping[str, Any] | TextGrammar | CallGrammar | None,
    tokens: tuple[int, ...],
    *,
    context_tokens: int,
    limit: int,
    number: int,
) -> GenerationRequest:
    """Return the request for reply `number` to a prompt; each draws by a seed of its own."""
    room = limit - len(tokens)
    if room < 1:
        raise ContextLengthError(
            f"This model's maximum context length is {context_tokens:,} tokens. The prompt has"
            f" {len(tokens):,} tokens; with the reply it must fit into {limit:,}.",
            hint="Shorten the input, or raise max_model_len where the model allows more.",
        )
    sampling = request.sampling
    if number and sampling.seed is not None:
        sampling = dataclasses.replace(sampling, seed=sampling.seed + number)
    return GenerationRequest(
        prompt_tokens=tokens,
        # max_tokens is an upper bound: a reply that the context cuts ends with "length".
        max_tokens=min(request.max_tokens or room, room),
        sampling=sampling,
        json_schema=grammar if isinstance(grammar, Mapping) else None,
        grammar=None if isinstance(grammar, Mapping) else grammar,
        confidence=request.confidence,
        batch_timeout_ms=request.batch_timeout_ms,
    )


@contextlib.asynccontextmanager
async def _within(deadline_s: float | None, arrived: float) -> AsyncGenerator[None, None]:
    """Raise DeadlineError where what runs inside is not done so long after the arrival."""
    when = None if deadline_s is None else arrived + deadline_s
    limit = asyncio.timeout_at(when)
    try:
        async with limit:
            yield
    except TimeoutError as err:
        if not limit.expired():
            raise
        raise DeadlineError(
            f"The reply was not finished within deadline_s={deadline_s:g}.",
            hint="Raise deadline_s, ask for fewer tokens, or send fewer requests at once.",
        ) from err


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
