"""Providers' web APIs: JSON over HTTP with the user's key, and every failure mapped to ours, once.

What can be asked again without harm is: after a 429 as long as the provider says, after a failure
with growing pauses. A reply that cannot be read does not tell what the call has done: it counts as
a call that may have arrived, whatever its status. A key is in no message, no repr and no log.
Layer 3.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import httpx2

from conduit_nb import http_clients
from conduit_nb.errors import (
    ProviderAuthError,
    ProviderBalanceError,
    ProviderBusyError,
    ProviderError,
    ProviderFailedError,
    ProviderKeyMissingError,
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
NO_CONTENT = 204
REQUEST_TIMEOUT = 408
EARLIEST_YEAR, LATEST_YEAR = 2020, 2200
"""Between them lies every time that a provider's clock can show."""
# Doing these twice is doing them once.
IDEMPOTENT: frozenset[Method] = frozenset({"GET", "PUT", "DELETE"})


@dataclass(slots=True)
class _Pool:
    """A client whose connections stay open, and how many blocks hold it."""

    client: httpx2.AsyncClient
    holders: int = 0


# By event loop and address: a connection belongs to the loop that has made it.
_POOLS: dict[tuple[asyncio.AbstractEventLoop, str], _Pool] = {}
# By address: what its last `Date` header said, and the monotonic clock at that moment.
_TIMES: dict[str, tuple[datetime, float]] = {}


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

    @asynccontextmanager
    async def kept_open(self) -> AsyncGenerator[None]:
        """Let all calls to this address within the block share their connections."""
        at = (asyncio.get_running_loop(), self.url)
        pool = _POOLS.setdefault(at, _Pool(self._new_client()))
        pool.holders += 1
        try:
            yield
        finally:
            pool.holders -= 1
            if not pool.holders:
                del _POOLS[at]
                await pool.client.aclose()

    def server_now(self) -> datetime | None:
        """Return the time at the provider by its last `Date` header, None before the first."""
        if self.url not in _TIMES:
            return None
        moment, then = _TIMES[self.url]
        return moment + timedelta(seconds=time.monotonic() - then)

    async def get(
        self, path: str, query: Query | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        """Return the JSON object at `path`; any other reply is a ProviderFailedError."""
        return self._object(await self.send("GET", path, query=query, timeout_s=timeout_s), "GET")

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        secret_texts: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any] | None:
        """Send `body` and return the JSON object of the reply, None for "no content".

        Any other reply is a ProviderFailedError whose `may_have_arrived` is set.
        """
        answer = await self.send(
            "POST", path, body=body, secret_texts=secret_texts, timeout_s=timeout_s
        )
        return None if answer.status == NO_CONTENT else self._object(answer, "POST")

    async def patch(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        secret_texts: Iterable[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        """Set what `body` says of what is at `path`, and return it, as `post` does.

        Setting the same values twice is harmless, so it is asked again after a failure.
        """
        answer = await self.send(
            "PATCH",
            path,
            body=body,
            secret_texts=secret_texts,
            timeout_s=timeout_s,
            is_idempotent=True,
        )
        return self._object(answer, "PATCH")

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
        is_idempotent: bool | None = None,
    ) -> Answer:
        """Send one request, again where that is harmless, and return the answer.

        `is_idempotent` says so of a POST or PATCH. What the answer says of `secret_texts` (and the
        key) is blanked out of errors. Raises the ProviderError that the last failure stands for.
        """
        can_repeat = method in IDEMPOTENT if is_idempotent is None else is_idempotent
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        for attempt in range(ATTEMPTS):
            try:
                with self._mapped(method, timeout_s):
                    async with asyncio.timeout_at(deadline), self._client() as client:
                        response = await client.request(
                            method,
                            path,
                            params=query,
                            content=_to_content(body),
                            headers=self._headers(),
                            timeout=_timeout(timeout_s),
                        )
                self._check(response, secret_texts)
                return Answer(
                    status=response.status_code, headers=response.headers, content=response.content
                )
            except ProviderError as err:
                pause_s = _pause_s(err, attempt, can_repeat=can_repeat)
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
                asyncio.timeout(timeout_s) as opening,
                self._client() as client,
                client.stream(
                    "GET",
                    path,
                    params=query,
                    headers={**self._headers(), **(headers or {})},
                    timeout=_timeout(timeout_s, is_endless=True),
                ) as response,
            ):
                if not response.is_success:
                    await response.aread()
                self._check(response, ())
                opening.reschedule(None)
                # The library says AsyncIterator of what is a generator.
                events = aiter(httpx2.EventSource(response, max_event_size=None))
                yield cast("AsyncGenerator[httpx2.ServerSentEvent]", events)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[httpx2.AsyncClient]:
        """Lend the client that `kept_open` holds for this event loop, else one for this call."""
        pool = _POOLS.get((asyncio.get_running_loop(), self.url))
        if pool is not None:
            yield pool.client
            return
        async with self._new_client() as client:
            yield client

    def _new_client(self) -> httpx2.AsyncClient:
        return http_clients.async_client(self.url, base_url=self.url)

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **self._authorization()}

    def _authorization(self) -> dict[str, str]:
        if self._key_name is None:
            return {}
        if self._key is None:
            raise ProviderKeyMissingError(
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
        is_stored = "age" in response.headers  # by a cache on the way: its date is of the past
        if (moment := _moment(response.headers.get("date"))) is not None and not is_stored:
            _TIMES[self.url] = (moment, time.monotonic())
        if response.is_success:
            return
        said = _detail(response.content)
        for secret in (self._key, *secret_texts):
            said = said.replace(secret, "…") if secret else said
        status = response.status_code
        error = self._error(status, said.rstrip(".")[:DETAIL_LIMIT])
        error.status = status
        # A redirect may follow what was done, and a gateway gives up what goes on behind it.
        is_unclear = status >= 500 or 300 <= status < 400 or status == REQUEST_TIMEOUT
        error.may_have_arrived = is_unclear and response.request.method != "GET"
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
                f"Unexpected redirect from {self.provider} (HTTP {status}).",
                hint=f"Check that {self.url} is the address of its API.",
            )
        if 400 <= status < 500:
            return ProviderRefusedError(
                told, hint="Change what is asked for, or take another offering."
            )
        return ProviderFailedError(
            told, hint=f"Try again later; check that {self.url} is the address of its API."
        )

    def _object(self, answer: Answer, method: Method) -> dict[str, Any]:
        """Return the JSON object that a reply holds; of any other nobody knows what it means."""
        try:
            body: object = json.loads(answer.content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and body:
            return cast("dict[str, Any]", body)
        raise self.unreadable(may_have_arrived=method != "GET")

    def unreadable(self, *, may_have_arrived: bool = False) -> ProviderFailedError:
        """Return the error for a reply of success whose content makes no sense."""
        error = ProviderFailedError(
            f"Unreadable reply from {self.provider}: not the JSON object that its API documents.",
            hint=f"Try again later; check that {self.url} is the address of its API.",
        )
        error.may_have_arrived = may_have_arrived
        return error

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
        except httpx2.SSEError as err:
            raise self.unreadable() from err
        except (httpx2.HTTPError, httpx2.StreamError) as err:
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


def _timeout(seconds: float, *, is_endless: bool = False) -> httpx2.Timeout:
    return httpx2.Timeout(None if is_endless else seconds, connect=min(CONNECT_TIMEOUT_S, seconds))


def _moment(date: str | None) -> datetime | None:
    """Read a `Date` header; one that no clock can show is none."""
    try:
        moment = email.utils.parsedate_to_datetime(date) if date else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment is None:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return moment if EARLIEST_YEAR <= moment.year <= LATEST_YEAR else None


def _pause_s(error: ProviderError, attempt: int, *, can_repeat: bool) -> float | None:
    """Return how long to wait before the next attempt, None where there must be none."""
    if attempt == ATTEMPTS - 1:
        return None
    if isinstance(error, ProviderBusyError):
        return error.retry_after_s
    if isinstance(error, ProviderUnreachableError) and attempt > 0:
        return None  # twice in a row is no accident, and somebody waits
    if error.retryable and (can_repeat or not error.may_have_arrived):
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
    errors = problem.get("errors")
    parts = [said, *(cast("list[object]", errors) if isinstance(errors, list) else [])]
    return " ".join("; ".join(part for part in parts if isinstance(part, str)).split())
