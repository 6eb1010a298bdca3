"""Blocks that ask a web server: GET without a record, POST with a record as JSON.

What the server or the network does wrong is in the result; nothing of it is raised.
Layer 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx2

from conduit_nb import http_clients
from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.checks import require_positive
from conduit_nb.blocks.records import HttpResult
from conduit_nb.errors import ArgumentError

In = TypeVar("In", contravariant=True)

MAX_REDIRECTS = 10
KEPT_ACROSS_ORIGINS = frozenset({"accept", "content-type", "content-length", "user-agent"})


class HttpGetBlock(Block[None, HttpResult]):
    """GET `endpoint`; call it without a record. In a pipeline it can only be the first block."""

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_seconds: float = 30,
        max_bytes: int = 16 * 2**20,
        name: str | None = None,
    ) -> None:
        super().__init__(type(None), HttpResult, name=name)
        self._exchange = _Exchange("GET", endpoint, headers, timeout_seconds, max_bytes)

    async def _run(self, record: None, call: Call) -> HttpResult:  # noqa: ARG002  # takes nothing
        return await self._exchange.carry_out(None)


class HttpPostBlock(Block[In, HttpResult]):
    """POST a record as JSON to `endpoint`. It has effects."""

    def __init__(
        self,
        input_type: type[In],
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_seconds: float = 30,
        max_bytes: int = 16 * 2**20,
        name: str | None = None,
        trusted: bool = False,
    ) -> None:
        super().__init__(input_type, HttpResult, name=name, has_effects=True, trusted=trusted)
        self._exchange = _Exchange("POST", endpoint, headers, timeout_seconds, max_bytes)

    async def _run(self, record: In, call: Call) -> HttpResult:  # noqa: ARG002  # no tokens to tell
        return await self._exchange.carry_out(self.input_port.encode(record).encode())


class _Exchange:
    """One request as its author wanted it, carried out as often as needed. Keeps headers unseen."""

    def __init__(
        self,
        method: str,
        endpoint: str,
        headers: Mapping[str, str] | None,
        timeout_seconds: float,
        max_bytes: int,
    ) -> None:
        self._method = method
        self._url = _http_url(endpoint)
        self._headers = httpx2.Headers(_text_headers(headers or {}))
        self._timeout_s = require_positive("timeout_seconds", timeout_seconds)
        self._max_bytes = require_positive("max_bytes", max_bytes)

    async def carry_out(self, body: bytes | None) -> HttpResult:
        """Send the request and read the answer, both within the time and the size allowed."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                http_clients.async_client(str(self._url), timeout=self._timeout_s) as client,
            ):
                return await self._exchange(client, body)
        except (TimeoutError, httpx2.TimeoutException):
            return _no_answer(f"no whole answer within {self._timeout_s:g} s")
        except httpx2.TooManyRedirects:
            return _no_answer(f"more than {MAX_REDIRECTS} redirects")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _no_answer(f"{type(error).__name__}: {error}".rstrip(": "))

    async def _exchange(self, client: httpx2.AsyncClient, body: bytes | None) -> HttpResult:
        headers = httpx2.Headers({"content-type": "application/json"} if body is not None else {})
        headers.update(self._headers)
        request = client.build_request(self._method, self._url, content=body, headers=headers)
        for _ in range(MAX_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                following = response.next_request
                if following is None:
                    return await self._result(response)
            finally:
                await response.aclose()
            if _origin(following.url) != _origin(request.url):
                _forget_secrets(following)
            request = following
        raise httpx2.TooManyRedirects("too many redirects", request=request)

    async def _result(self, response: httpx2.Response) -> HttpResult:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_bytes:
                break
        whole = len(body) <= self._max_bytes
        status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
        cut = f"the answer is larger than max_bytes={self._max_bytes}; the rest was not read"
        reason = cut if not whole else None if response.is_success else status
        return HttpResult(
            success=response.is_success and whole,
            status_code=response.status_code,
            data=_decoded(bytes(body[: self._max_bytes]), response.charset_encoding),
            reason=reason,
        )


def _http_url(endpoint: str) -> httpx2.URL:
    try:
        url = httpx2.URL(endpoint)
    except (httpx2.InvalidURL, TypeError) as error:
        raise ArgumentError(
            f"endpoint={endpoint!r} is no URL: {error}",
            param="endpoint",
            hint="Write it like https://host/path.",
        ) from error
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise ArgumentError(
            f"endpoint={endpoint!r} is no web address.",
            param="endpoint",
            hint="Write it like https://host/path.",
        )
    return url


def _text_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        # The value may be a secret: the message names the header only.
        checked: tuple[Any, Any] = (name, value)
        if not all(isinstance(part, str) and part.isascii() for part in checked) or any(
            sign in part for part in checked for sign in "\r\n\0"
        ):
            raise ArgumentError(
                f"The header {name!r} is not one line of ASCII text.",
                param="headers",
                hint="Give headers as a dict of str to str.",
            )
    return dict(headers)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return (url.scheme, url.host, url.port)


def _forget_secrets(request: httpx2.Request) -> None:
    """Drop what the author meant for the first server only, API keys among it."""
    for name in list(request.headers):
        if name.lower() not in KEPT_ACROSS_ORIGINS and name.lower() != "host":
            del request.headers[name]


def _decoded(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except LookupError:  # a charset that Python does not know
        return body.decode("utf-8", errors="replace")


def _no_answer(reason: str) -> HttpResult:
    return HttpResult(success=False, status_code=None, data="", reason=reason)
