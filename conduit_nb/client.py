"""Endpoint: chat completions over HTTP, and the one place where HTTP's failures become ours.

Knows connections and their failures. Knows neither schemas nor how a server came to be. What goes
wrong is told without the request's content and without the key.
Layer 2.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, contextmanager
from typing import cast
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary, finalize

import httpx2

from conduit_nb import http_clients
from conduit_nb.errors import (
    ArgumentError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    RequestRefusedError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import (
    ChatChunk,
    ChatReply,
    ChatRequest,
    Dialect,
    Health,
    LoadRequest,
    ModelInfo,
    ModelOptions,
)
from conduit_nb.replies import (
    not_openai,
    to_chat_chunk,
    to_chat_reply,
    to_error,
    to_health,
    to_model_info,
    to_model_infos,
)

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 3.0  # below the 5 s after which uvicorn hangs up, so that no request meets that


class Endpoint:
    """Where models are served: a URL and the key that opens it.

    `url` may end in `/v1` or not. `dialect` says whether the server understands our additions.
    May be used from several event loops; each gets connections of its own.
    """

    def __init__(
        self, url: str, *, key: str | None = None, dialect: Dialect = "openai", name: str = ""
    ) -> None:
        self.url = _checked_url(url)
        self.dialect: Dialect = dialect
        self.name = name
        self.in_flight = 0
        self._key = key
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, dialect={self.dialect!r}, name={self.name!r})"

    async def chat(self, request: ChatRequest, *, timeout_s: float = 600) -> ChatReply:
        """Answer one request whole, within `timeout_s` seconds altogether.

        Raises the ConduitError that the server named, else the one that the status stands for.
        """
        body = self._body(request, is_streamed=False)
        with self._counted(), self._mapped(timeout_s):
            async with asyncio.timeout(timeout_s):
                response = await self._client().post(
                    "/v1/chat/completions", content=body, timeout=_timeout(None)
                )
        self._check(response, request)
        return to_chat_reply(response.content, server=self._shown)

    async def stream(
        self, request: ChatRequest, *, timeout_s: float = 600
    ) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it is written; `timeout_s` bounds each wait for the next chunk.

        Close the iterator (or cancel) to make the server stop.
        """
        body = self._body(request, is_streamed=True)
        with self._counted(), self._mapped(timeout_s):
            async with self._client().stream(
                "POST", "/v1/chat/completions", content=body, timeout=_timeout(timeout_s)
            ) as response:
                if not response.is_success:
                    await response.aread()
                self._check(response, request)
                async with aclosing(self._chunks(response, request)) as chunks:
                    async for chunk in chunks:
                        yield chunk

    async def models(self, *, timeout_s: float = 10) -> list[ModelInfo]:
        """Return what the server has, in its own order."""
        return to_model_infos(await self._get("/v1/models", timeout_s), server=self._shown)

    async def load_model(self, request: LoadRequest, *, timeout_s: float = 600) -> ModelInfo:
        """Load a model before it is asked for; a server of ours only.

        Raises DoesNotFitError where there is not the memory for it, and what loading raises.
        """
        body = json.dumps(request).encode()
        answer = await self._send("POST", "/v1/models/load", timeout_s, body)
        return to_model_info(answer, server=self._shown)

    async def unload_model(self, model_id: str, *, timeout_s: float = 60) -> None:
        """Free a model's memory; a server of ours only.

        Raises ModelNotFoundError where it is not loaded, EndpointBusyError where it is at work.
        """
        await self._send("DELETE", f"/v1/models/{quote(model_id, safe='')}", timeout_s)

    async def health(self, *, timeout_s: float = 10) -> Health:
        """Ask a server of ours who it is and whether it can take requests."""
        return to_health(await self._get("/health", timeout_s), server=self._shown)

    async def aclose(self) -> None:
        """Close the connections of this event loop; the endpoint can still be used."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    @property
    def _shown(self) -> str:
        return f"{self.name} ({self.url})" if self.name else self.url

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = http_clients.async_client(
                self.url,
                base_url=self.url,
                headers={"Content-Type": "application/json", **self._authorization()},
                limits=httpx2.Limits(
                    max_connections=None,
                    max_keepalive_connections=32,
                    keepalive_expiry=KEEP_ALIVE_S,
                ),
            )
            finalize(self, _close_on, loop, client).atexit = False
        return client

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _body(self, request: ChatRequest, *, is_streamed: bool) -> bytes:
        body = dict(request)
        if self.dialect != "lmlite":
            body.pop("conduit", None)
        body.pop("stream_options", None)
        body["stream"] = is_streamed
        if is_streamed:
            body["stream_options"] = {"include_usage": True}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            # `from None`: the foreign error holds the whole text.
            raise RequestRefusedError(
                "The request holds half of a surrogate pair, which is no text.",
                hint="Clean the text first: text.encode('utf-8', 'replace').decode().",
            ) from None

    async def _get(self, path: str, timeout_s: float) -> bytes:
        return await self._send("GET", path, timeout_s)

    async def _send(
        self, method: str, path: str, timeout_s: float, body: bytes | None = None
    ) -> bytes:
        with self._mapped(timeout_s):
            async with asyncio.timeout(timeout_s):
                response = await self._client().request(
                    method, path, content=body, timeout=_timeout(None)
                )
        self._check(response, None)
        return response.content

    def _check(self, response: httpx2.Response, request: ChatRequest | None) -> None:
        if not response.is_success:
            raise to_error(
                response.status_code,
                response.content,
                response.headers,
                server=self._shown,
                secret_texts=self._secret_texts(request),
            )

    async def _chunks(
        self, response: httpx2.Response, request: ChatRequest
    ) -> AsyncGenerator[ChatChunk]:
        has_ended = False
        # The library says AsyncIterator of what is a generator.
        events = cast(
            "AsyncGenerator[httpx2.ServerSentEvent]",
            aiter(httpx2.EventSource(response, max_event_size=None)),
        )
        async with aclosing(events):
            async for event in events:
                if event.data == "[DONE]":
                    return
                chunk = to_chat_chunk(
                    event.data, server=self._shown, secret_texts=self._secret_texts(request)
                )
                has_ended = has_ended or any(choice["finish_reason"] for choice in chunk["choices"])
                yield chunk
        if not has_ended:
            raise EndpointUnreachableError(
                f"{self._shown} broke off in the middle of its answer.",
                hint="Ask again; `%conduit logs` may say why the server ended.",
            )

    def _secret_texts(self, request: ChatRequest | None) -> list[str]:
        said = [message["content"] for message in request["messages"]] if request else []
        return [*([self._key] if self._key else []), *said]

    @contextmanager
    def _counted(self) -> Generator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def _mapped(self, timeout_s: float) -> Generator[None]:
        """Turn what the HTTP client raises into our errors: the one place for it."""
        try:
            yield
        except httpx2.ConnectTimeout as err:
            raise EndpointUnreachableError(
                f"{self._shown} took no connection within {CONNECT_TIMEOUT_S:g} s.",
                hint="Check the address, and that the server runs.",
            ) from err
        except (httpx2.TimeoutException, TimeoutError) as err:
            raise EndpointTimeoutError(
                f"{self._shown} did not answer within {timeout_s:g} s.",
                hint="Give a larger timeout_s, or ask for fewer tokens (max_tokens).",
            ) from err
        except (httpx2.SSEError, httpx2.DecodingError) as err:
            raise not_openai(self._shown) from err
        except httpx2.ConnectError as err:
            raise EndpointUnreachableError(
                f"Nothing takes connections at {self._shown}.",
                hint="Check the address, and that the server runs there.",
            ) from err
        except (httpx2.HTTPError, httpx2.StreamError) as err:
            raise EndpointUnreachableError(
                f"The connection to {self._shown} broke ({type(err).__name__}).",
                hint="Ask again; `%conduit logs` may say why the server ended.",
            ) from err
        except httpx2.InvalidURL as err:
            raise _bad_url(self.url) from err


def model_options(config: LmLiteModelConfig) -> ModelOptions:
    """Return what a request tells of how its model is to be loaded and bounded."""
    return ModelOptions(
        revision=config.revision,
        dtype=config.dtype,
        quantization=config.quantization,
        max_model_len=config.max_model_len,
        batch_timeout_ms=config.model_batch_execute_timeout_ms,
    )


def _close_on(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    """Close the connections of an endpoint that nobody has any more, on the loop they belong to."""
    if not (client.is_closed or loop.is_closed()):
        asyncio.run_coroutine_threadsafe(client.aclose(), loop)


def _checked_url(url: str) -> str:
    """Return `url` without a slash or `/v1` at its end; ArgumentError where it is none."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise _bad_url(url) from err
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise _bad_url(url)
    if "@" in parts.netloc:
        raise ArgumentError(
            f"The address of the server at {host} holds a user name or password.",
            param="endpoint",
            hint="Put the key into an environment variable and name it with api_key_env=.",
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _bad_url(url: str) -> ArgumentError:
    shown = url if "@" not in url else "(not shown, it holds an @)"
    return ArgumentError(
        f"{shown!r} is not the address of a server.",
        param="endpoint",
        hint="Give one like endpoint='http://127.0.0.1:11434/v1'.",
    )


def _timeout(read_s: float | None) -> httpx2.Timeout:
    return httpx2.Timeout(read_s, connect=CONNECT_TIMEOUT_S, pool=None)
