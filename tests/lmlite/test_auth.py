"""lmlite/auth.py: only who has the key is read, and never more than a body may have."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from conduit_nb.errors import EndpointAuthError
from conduit_nb.lmlite import auth
from conduit_nb.lmlite.auth import BODY_LIMIT_BYTES, DISCARD_LIMIT_BYTES, read_body, require_key
from conduit_nb.lmlite.http_errors import BodyTooLargeError, BodyTooSlowError, status_of

PIECE = b"x" * 2**20


class Body:
    """A request's body in pieces of 1 MiB, which counts how many were taken."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces
        self.taken = 0

    async def receive(self) -> dict[str, object]:
        self.taken += 1
        self.left -= 1
        return {"type": "http.request", "body": PIECE, "more_body": self.left > 0}


def request(body: Body, authorization: str = "Bearer k") -> Request:
    headers = [(b"authorization", authorization.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, body.receive)


async def test_a_body_of_the_limit_is_read_whole():
    pieces = BODY_LIMIT_BYTES // len(PIECE)

    assert await read_body(request(Body(pieces)), "k") == PIECE * pieces


async def test_a_larger_body_is_taken_to_its_end_and_refused():
    body = Body(20)

    with pytest.raises(BodyTooLargeError, match="20,971,520"):
        await read_body(request(body), "k")

    assert body.left == 0


@pytest.mark.parametrize(("key", "error"), [("k", BodyTooLargeError), ("other", EndpointAuthError)])
async def test_nobody_can_send_for_ever(key: str, error: type[Exception]):
    body = Body(10**6)

    with pytest.raises(error):
        await read_body(request(body), key)

    assert body.taken == DISCARD_LIMIT_BYTES // len(PIECE) + 1


@pytest.mark.parametrize("key", ["k", "other"])
async def test_nobody_can_hold_a_place_by_a_body_that_does_not_come(key: str, monkeypatch):
    monkeypatch.setattr(auth, "BODY_TIMEOUT_S", 0.05)
    headers = [(b"authorization", b"Bearer k")]

    async def never() -> dict[str, object]:
        return await asyncio.Future()

    with pytest.raises(BodyTooSlowError, match=r"0\.05 s") as refused:
        await read_body(Request({"type": "http", "method": "POST", "headers": headers}, never), key)

    assert status_of(refused.value) == 408


@pytest.mark.parametrize("sent", ["Bearer k", "bearer k", "BEARER  k "])
def test_the_word_before_the_key_may_be_written_in_any_way(sent: str):
    require_key(request(Body(1), sent), "k")


@pytest.mark.parametrize("sent", ["", "k", "Bearer", "Bearer kk", "Basic k"])
def test_anything_but_the_key_is_refused(sent: str):
    with pytest.raises(EndpointAuthError):
        require_key(request(Body(1), sent), "k")
