"""Providers' web APIs: JSON over HTTP with the user's key, and every failure mapped to ours, once.

What can be asked again without harm is: after a 429 as long as the provider says, after a failure
with growing pauses. A key is in no message, no repr and no log.
Layer 3.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import httpx2

from conduit_nb import http_clients
from conduit_nb.errors import (
    ProviderAuthError,
    ProviderBalanceError,
    ProviderBusyError,
    ProviderError,
    ProviderFailedError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from conduit_nb.replies import retry_after_s

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
Query = Mapping[str, str | int]

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5
DETAIL_LIMIT = 500
# Doing these twice is doing them once.
IDEMPOTENT: frozenset[Method] = frozenset({"GET", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answered with success."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class RestClient:
    """One provider's API at `url`, opened by `key`; `key_name` is the variable or file that has it.

    `key_cure` says what to do where there is none: by default, to set that variable.
    Every call ends within its `timeout_s`, pauses included. May be used from any event loop.
    `pause` is how to wait.
    """

    def __init__(
        self,
        url: str,
        *,
        provider: str,
        key: str | None = None,
        key_name: str | None = None,
        key_cure: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.provider = provider
        self._key = key
        self._key_name = key_name
        self._key_cure = key_cure or f"Set {key_name} in the environment."
        self._pause = pause

    def __repr__(self) -> str:
        return f"RestClient({self.url!r}, provider={self.provider!r})"

    async def get(
        self, path: str, query: Query | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> Any:
        """Return what is at `path`, as JSON."""
        return self._json(await self.send("GET", path, query=query, timeout_s=timeout_s))

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        secret_texts: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """Send `body` and return the answer, as JSON (None where it has none)."""
        return self._json(
            await self.send("POST", path, body=body, secret_texts=secret_texts, timeout_s=timeout_s)
        )

    async def patch(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        secret_texts: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        """Change what is at `path` to what `body` says, and return it as it is now, as JSON."""
        return self._json(
            await self.send(
                "PATCH", path, body=body, secret_texts=secret_texts, timeout_s=timeout_s
            )
        )

    async def delete(self, path: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Delete what is at `path`."""
        await self.send("DELETE", path, timeout_s=timeout_s)

    async def send(
        self,
        method: Method,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        secret_texts: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Send one request, again where that is harmless, and return the answer.

        What it says of `secret_texts` (and the key) is blanked out of errors. Raises the
        ProviderError that the last failure stands for.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        for attempt in range(ATTEMPTS):
            try:
                with self._mapped(method, timeout_s):
                    async with asyncio.timeout_at(deadline), self._client(timeout_s) as client:
                        response = await client.request(
                            method, path, params=query, content=_to_content(body)
                        )
                self._check(response, secret_texts)
                return Answer(
                    status=response.status_code, headers=response.headers, content=response.content
                )
            except ProviderError as err:
                pause_s = _pause_s(err, method, attempt)
                if pause_s is None or loop.time() + pause_s >= deadline:
                    raise
            await self._pause(pause_s)
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def events(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AsyncGenerator[AsyncGenerator[httpx2.ServerSentEvent]]:
        """Open the stream of events at `path`; `timeout_s` bounds its opening, not its silence."""
        with self._mapped("GET", timeout_s):
            async with (
                self._client(timeout_s, read_s=None) as client,
                client.stream("GET", path, params=query, headers=headers) as response,
            ):
                if not response.is_success:
                    await response.aread()
                self._check(response, ())
                # The library says AsyncIterator of what is a generator.
                events = aiter(httpx2.EventSource(response, max_event_size=None))
                yield cast("AsyncGenerator[httpx2.ServerSentEvent]", events)

    def _client(self, timeout_s: float, *, read_s: float | None = TIMEOUT_S) -> httpx2.AsyncClient:
        return http_clients.async_client(
            self.url,
            base_url=self.url,
            headers={"Content-Type": "application/json", **self._authorization()},
            timeout=httpx2.Timeout(
                timeout_s if read_s is not None else None,
                connect=min(CONNECT_TIMEOUT_S, timeout_s),
            ),
        )

    def _authorization(self) -> dict[str, str]:
        if self._key_name is None:
            return {}
        if self._key is None:
            raise ProviderAuthError(
                f"There is no key for {self.provider}.",
                hint=self._key_cure,
            )
        if not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            raise ProviderAuthError(
                f"The key for {self.provider} holds characters that no key has.",
                hint=f"Check {self._key_name}: spaces, line ends, quotes of another alphabet.",
            )
        return {"Authorization": f"Bearer {self._key}"}

    def _check(self, response: httpx2.Response, secret_texts: Iterable[str]) -> None:
        if response.is_success:
            return
        said = _detail(response.content)
        for secret in (self._key, *secret_texts):
            said = said.replace(secret, "…") if secret else said
        status = response.status_code
        error = self._error(status, said.rstrip(".")[:DETAIL_LIMIT])
        error.status = status
        error.may_have_arrived = status >= 500 and response.request.method != "GET"
        if status == 429:
            error.retry_after_s = retry_after_s(response.headers.get("retry-after"))
        raise error

    def _error(self, status: int, said: str) -> ProviderError:
        """Return the error that a status stands for."""
        told = f"{self.provider}: {said or 'no reason given'} (status {status})."
        key_name = self._key_name or "the key"
        if status == 401:
            return ProviderAuthError(
                told, hint=f"Check {key_name}: it is wrong or no longer valid."
            )
        if status == 402:
            return ProviderBalanceError(told, hint=f"Add money to the account at {self.provider}.")
        if status == 403:
            return ProviderAuthError(
                told, hint=f"{key_name} may not do this; give it the permission."
            )
        if status == 429:
            return ProviderBusyError(told, hint="Ask less often, or wait as long as it says.")
        if 300 <= status < 400:
            return ProviderRefusedError(
                f"{self.provider} sends its callers elsewhere (status {status}).",
                hint=f"Check that {self.url} is the address of its API.",
            )
        if 400 <= status < 500:
            return ProviderRefusedError(
                told, hint="Change what is asked for, or take another offering."
            )
        return ProviderFailedError(
            told, hint=f"Try again later; check that {self.url} is the address of its API."
        )

    def _json(self, answer: Answer) -> Any:
        if not answer.content:
            return None
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as err:
            raise ProviderFailedError(
                f"{self.provider} answered with something that is no JSON.",
                hint=f"Check that {self.url} is the address of its API.",
            ) from err

    @contextmanager
    def _mapped(self, method: Method, timeout_s: float) -> Generator[None]:
        """Turn what the HTTP client raises into our errors: the one place for it."""
        try:
            yield
        except (httpx2.ConnectTimeout, httpx2.ConnectError) as err:
            raise self._unreachable(f"{self.provider} takes no connection at {self.url}.") from err
        except (httpx2.TimeoutException, TimeoutError) as err:
            raise self._unreachable(
                f"{self.provider} did not answer within {timeout_s:g} s.", method
            ) from err
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.SSEError) as err:
            raise self._unreachable(
                f"The connection to {self.provider} broke ({type(err).__name__}).", method
            ) from err
        except httpx2.InvalidURL as err:
            raise ProviderRefusedError(
                f"{self.url!r} is no address of {self.provider}.", hint="Check the address."
            ) from err

    def _unreachable(self, message: str, arrived: Method = "GET") -> ProviderUnreachableError:
        error = ProviderUnreachableError(
            message, hint=f"Check the network, and that {self.url} is the address of its API."
        )
        error.may_have_arrived = arrived != "GET"
        return error


def _pause_s(error: ProviderError, method: Method, attempt: int) -> float | None:
    """Return how long to wait before the next attempt, None where there must be none."""
    if attempt == ATTEMPTS - 1:
        return None
    if isinstance(error, ProviderBusyError):
        return error.retry_after_s
    if isinstance(error, ProviderUnreachableError) and attempt > 0:
        return None  # twice in a row is no accident, and somebody waits
    if error.retryable and (method in IDEMPOTENT or not error.may_have_arrived):
        return FIRST_PAUSE_S * 2**attempt
    return None


def _to_content(body: Mapping[str, object] | None) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _detail(content: bytes) -> str:
    """Return what a problem (RFC 9457) or another usual form of error says, on one line."""
    try:
        body: object = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    problem = cast("dict[str, object]", body)
    said = next(
        (problem[name] for name in ("detail", "message", "error", "title") if problem.get(name)), ""
    )
    parts = [said, *cast("list[object]", problem.get("errors") or [])]
    return " ".join("; ".join(part for part in parts if isinstance(part, str)).split())
