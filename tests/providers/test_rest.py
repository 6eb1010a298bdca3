"""One client for providers' APIs: what is asked again, how failures are told, what never shows."""

from __future__ import annotations

import asyncio
import pickle
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

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
from conduit_nb.providers.rest import ATTEMPTS, RestClient
from tests.raw_server import HANG_UP, events, json_answer, raw_server, stream_answer

KEY = "rpa_0123456789"
WHY = "that is why"
"""What the provider says of a failure."""
GONE = [HANG_UP]


class Pauses:
    """Waits no time, and remembers how long it should have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client(url: str, *, pause: Pauses | None = None, key: str | None = KEY) -> RestClient:
    return RestClient(url, provider="cloud", key=key, key_name="CLOUD_KEY", pause=pause or Pauses())


def problem(status: int, *, headers: str = "", **more: object) -> list[bytes]:
    return json_answer(
        {"title": "x", "status": status, "detail": WHY, **more},
        status=status,
        headers=headers,
    )


async def test_a_request_carries_the_key_the_query_and_the_body():
    async with raw_server(json_answer({"a": 1})) as server:
        assert await client(server.url + "/v2/").get("/things", {"count": 2}) == {"a": 1}
        assert await client(server.url).post("/things", {"name": "n"}) == {"a": 1}

    assert server.heads[0].startswith("GET /v2/things?count=2 HTTP/1.1")
    assert f"authorization: Bearer {KEY}".lower() in server.heads[0].lower()
    assert server.bodies[1] == {"name": "n"}


async def test_an_answer_without_a_body_is_none():
    async with raw_server(json_answer(b"", status=204)) as server:
        assert await client(server.url).post("/things", {}) is None
        await client(server.url).delete("/things/1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRefusedError),
        (401, ProviderAuthError),
        (402, ProviderBalanceError),
        (403, ProviderAuthError),
        (404, ProviderRefusedError),
        (409, ProviderRefusedError),
        (422, ProviderRefusedError),
        (302, ProviderRefusedError),
        (408, ProviderRefusedError),
        (500, ProviderFailedError),
    ],
)
async def test_a_status_is_told_as_what_it_means(status: int, kind: type[ProviderError]):
    async with raw_server(problem(status)) as server:
        with pytest.raises(kind) as raised:
            await client(server.url).post("/things", {})

    error = raised.value
    assert (error.code, error.status) == (kind.code, status)
    assert (WHY in str(error)) is (status != 302), "a redirect is none of the API's"
    assert error.hint
    assert error.may_have_arrived is (status in (302, 408, 500))
    assert str(status) in str(error)
    assert len(server.heads) == 1


async def test_a_problem_tells_every_field_that_is_wrong():
    async with raw_server(problem(422, errors=["$.a: no", "$.b: no"])) as server:
        with pytest.raises(ProviderRefusedError, match=rf"{WHY}.*\$\.a: no.*\$\.b: no"):
            await client(server.url).get("/things")


async def test_a_busy_provider_is_asked_again_when_it_says():
    pause = Pauses()
    answers = [problem(429, headers="Retry-After: 7\r\n"), problem(429), json_answer({"a": 1})]
    async with raw_server(*answers) as server:
        assert await client(server.url, pause=pause).post("/things", {}) == {"a": 1}

    assert pause.seconds == [7.0, 1.0]


async def test_a_wait_that_is_longer_than_the_time_is_not_waited():
    pause = Pauses()
    async with raw_server(problem(429, headers="Retry-After: 60\r\n")) as server:
        with pytest.raises(ProviderBusyError) as raised:
            await client(server.url, pause=pause).get("/things", timeout_s=5)

    assert raised.value.retry_after_s == 60
    assert raised.value.retryable
    assert pause.seconds == []


async def test_what_is_harmless_is_asked_again_a_few_times_with_growing_pauses():
    pause = Pauses()
    async with raw_server(problem(503)) as server:
        with pytest.raises(ProviderFailedError):
            await client(server.url, pause=pause).get("/things")

    assert len(server.heads) == ATTEMPTS
    assert pause.seconds == [0.5, 1.0, 2.0]


async def test_what_may_have_been_done_is_not_asked_again():
    async with raw_server(GONE, json_answer({"a": 1})) as server:
        with pytest.raises(ProviderUnreachableError) as raised:
            await client(server.url).post("/things", {})

    assert isinstance(raised.value.__cause__, httpx2.RemoteProtocolError)
    assert raised.value.may_have_arrived
    assert len(server.heads) == 1


async def test_a_connection_that_breaks_while_reading_is_made_again():
    async with raw_server(GONE, json_answer({"a": 1})) as server:
        assert await client(server.url).get("/things") == {"a": 1}


async def test_where_nothing_listens_it_says_so_and_nothing_was_done():
    async with raw_server() as server:
        url = server.url

    pause = Pauses()
    with pytest.raises(ProviderUnreachableError, match=url) as raised:
        await client(url, pause=pause).post("/things", {})

    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    assert not raised.value.may_have_arrived
    assert pause.seconds == [0.5]


async def test_a_silent_provider_is_given_up_in_time():
    began = time.monotonic()
    async with raw_server(stays=True) as server:
        with pytest.raises(ProviderUnreachableError, match=r"\b0\.2 s\b") as raised:
            await client(server.url).get("/things", timeout_s=0.2)

    assert isinstance(raised.value.__cause__, TimeoutError | httpx2.TimeoutException)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("content", [b"<html>", b"{", b"[" * 100_000])
async def test_an_answer_that_is_no_json_is_a_failure(content: bytes):
    async with raw_server(json_answer(content)) as server:
        with pytest.raises(ProviderFailedError, match=r"\bJSON\b") as raised:
            await client(server.url).get("/things")

    assert raised.value.status is None, "it was one of success"


@pytest.mark.parametrize("content", [b"<html>", b"[1]", b'{"errors": [1]}', b"null"])
async def test_a_refusal_that_says_nothing_is_a_refusal_still(content: bytes):
    async with raw_server(json_answer(content, status=400)) as server:
        with pytest.raises(ProviderRefusedError, match=r"\bcloud\b.*\b400\b") as raised:
            await client(server.url).get("/things")

    assert raised.value.status == 400
    assert content.decode() not in str(raised.value)


async def test_neither_the_key_nor_a_secret_is_told_by_what_a_provider_echoes():
    echo = problem(400, errors=[f"{KEY} and hf_secret are not valid"])
    async with raw_server(echo) as server:
        with pytest.raises(ProviderRefusedError) as raised:
            await client(server.url).post("/things", {}, secret_texts=["hf_secret"])

    shown = f"{raised.value!r} {raised.value.hint} {client('http://x')!r}"
    assert KEY not in shown
    assert "hf_secret" not in shown


async def test_without_a_key_nothing_is_sent():
    async with raw_server(json_answer({})) as server:
        with pytest.raises(ProviderKeyMissingError, match=r"\bcloud\b") as raised:
            await client(server.url, key=None).get("/things")

    assert "CLOUD_KEY" in raised.value.hint
    assert server.heads == []


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "“quoted”"])
async def test_a_key_that_is_none_is_not_shown(key: str):
    with pytest.raises(ProviderAuthError) as raised:
        await client("http://127.0.0.1:9", key=key).get("/things")

    assert key not in f"{raised.value} {raised.value.hint}"


async def read_log(api: RestClient) -> list[str]:
    async with api.events("/logs", query={"tail": 5}) as stream:
        return [event.data async for event in stream]


async def test_events_come_one_by_one():
    async with raw_server(stream_answer(events({"line": 1}, {"line": 2}))) as server:
        lines = await read_log(client(server.url))

    assert lines == ['{"line": 1}', '{"line": 2}', "[DONE]"]
    assert "GET /logs?tail=5" in server.heads[0]


async def test_a_stream_that_is_refused_or_breaks_is_told():
    async with raw_server(problem(404)) as server:
        with pytest.raises(ProviderRefusedError, match=WHY):
            await read_log(client(server.url))

    async with raw_server(stream_answer(events({"line": 1})[:9], ends=False)) as server:
        with pytest.raises(ProviderUnreachableError) as raised:
            await read_log(client(server.url))

    assert isinstance(raised.value.__cause__, httpx2.RemoteProtocolError)


async def test_an_error_keeps_what_it_knows_between_processes():
    async with raw_server(problem(429, headers="Retry-After: 9\r\n")) as server:
        with pytest.raises(ProviderBusyError) as raised:
            await client(server.url).get("/things", timeout_s=1)

    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.status, again.retry_after_s) == (429, 9.0)


def test_one_client_serves_several_event_loops():
    async def ask() -> None:
        async with raw_server(json_answer({"a": 1})) as server:
            await client(server.url).get("/things")

    asyncio.run(ask())
    asyncio.run(ask())


UNREADABLE = {
    "HTML": b"<html><body>Just a moment</body></html>",
    "nothing": b"",
    "{}": b"{}",
    "null": b"null",
    "list": b'[{"id": "a"}]',
    "text": b'"OK"',
    "number": b"7",
    "half": b'{"id": "a',
    "other bytes": b"\xff\xfe\x00",
    "nested": b"[" * 50_000,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_success_that_cannot_be_read_may_have_arrived(status: int, body: bytes):
    async with raw_server(json_answer(body, status=status)) as server:
        api = client(server.url)
        with pytest.raises(ProviderFailedError) as asked:
            await api.get("/things")
        with pytest.raises(ProviderFailedError) as posted:
            await api.post("/things", {})
        with pytest.raises(ProviderFailedError) as patched:
            await api.patch("/things/1", {})

    assert not asked.value.may_have_arrived
    assert posted.value.may_have_arrived
    assert patched.value.may_have_arrived
    assert len(server.heads) == 3, "what may have arrived is not sent again"


async def test_what_sets_the_same_again_is_asked_again_after_a_failure():
    async with raw_server(problem(503), json_answer({"a": 1})) as server:
        assert await client(server.url).patch("/things/1", {"a": 1}) == {"a": 1}


async def test_connections_are_shared_within_a_block_and_closed_after_it():
    api_url = ""
    async with raw_server(json_answer({"a": 1})) as server:
        api_url = server.url
        async with client(api_url).kept_open(), client(api_url).kept_open():
            for _ in range(3):
                assert await client(api_url).get("/things") == {"a": 1}
        await asyncio.wait_for(server.left.wait(), 20)

    assert len(server.heads) == 3


async def test_the_time_at_the_provider_is_that_of_its_last_reply():
    date = "Date: Thu, 01 Jan 2026 12:00:00 GMT\r\n"
    async with raw_server(json_answer({"a": 1}, headers=date), problem(404)) as server:
        api = client(server.url)
        before = api.server_now()
        await api.get("/things")
        after = api.server_now()

    assert before is None
    assert after is not None
    assert timedelta(0) <= after - datetime(2026, 1, 1, 12, tzinfo=UTC) < timedelta(seconds=20)


@pytest.mark.parametrize("date", ["", "never", "Thu, 99 Jan 2026 12:00:00 GMT", "1e999"])
async def test_a_date_that_is_none_is_no_time(date: str):
    async with raw_server(json_answer({"a": 1}, headers=f"Date: {date}\r\n")) as server:
        api = client(server.url)
        await api.get("/things")

    assert api.server_now() is None
