"""Authentication, and the limits of a request's body. Knows HTTP and nothing of the content."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request

from conduit_nb.errors import EndpointAuthError
from conduit_nb.lmlite.http_errors import BodyTooLargeError, BodyTooSlowError

BODY_LIMIT_BYTES = 4 * 2**20
DISCARD_LIMIT_BYTES = 64 * 2**20
BODY_TIMEOUT_S = 60.0


async def read_body(request: Request, key: str) -> bytes:
    """Return the body of a request that has the key, is not too large and comes in time.

    What is refused is read to its end and thrown away first: a client that still sends would find
    a broken connection instead of the answer.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _read(request, key)
    except TimeoutError as err:
        raise BodyTooSlowError(
            f"The body of the request did not come within {BODY_TIMEOUT_S:g} seconds.",
            hint="Send as many bytes as content-length says.",
        ) from err


def require_key(request: Request, key: str) -> None:
    """Raise EndpointAuthError where the request does not carry the key."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared in constant time, so that the time of an answer reveals nothing about the key.
    right = hmac.compare_digest(given.strip().encode(), key.encode())
    if kind.lower() != "bearer" or not right:
        raise EndpointAuthError(
            "The key is missing or wrong.", hint="Send the header Authorization: Bearer KEY."
        )


async def _read(request: Request, key: str) -> bytes:
    try:
        require_key(request, key)
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
        sent = int(shown) if shown.isdigit() else size
        raise BodyTooLargeError(
            f"The prompt is too long: the request has {sent:,} bytes; "
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
