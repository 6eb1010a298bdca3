from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from typing import Any

import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.http import HttpGetBlock, HttpPostBlock
from conduit_nb.blocks.records import HttpResult
from conduit_nb.errors import ArgumentError, ValidationError
from tests.loop_host import LoopHost


@dataclass
class Order:
    item: str
    count: int


@dataclass
class Web:
    """A web server: what it was asked, and where else it sends its callers."""

    url: str = ""
    elsewhere: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


def handler_for(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            web.asked.append((self.command, self.path, headers, body))
            web.was_asked.set()
            getattr(self, "get_" + self.path.strip("/").split("/")[0])()

        def do_POST(self) -> None:
            self.do_GET()

        def get_hello(self) -> None:
            self.answer(200, b"Gr\xc3\xbc\xc3\x9fe")

        def get_latin(self) -> None:
            self.answer(200, b"Gr\xfc\xdfe", {"Content-Type": "text/plain; charset=iso-8859-1"})

        def get_klingon(self) -> None:
            self.answer(200, b"a\xffb", {"Content-Type": "text/plain; charset=klingon"})

        def get_missing(self) -> None:
            self.answer(404, b"no such page")

        def get_packed(self) -> None:
            self.answer(200, gzip.compress(b"0" * 5_000_000), {"Content-Encoding": "gzip"})

        def get_again(self) -> None:
            self.answer(302, b"", {"Location": "/hello"})

        def get_round(self) -> None:
            self.answer(302, b"", {"Location": "/round"})

        def get_away(self) -> None:
            self.answer(307, b"", {"Location": f"{web.elsewhere}/hello"})

        def get_nowhere(self) -> None:
            self.answer(302, b"", {"Location": "ftp://example.invalid/"})

        def get_broken(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.close_connection = True

        def get_slow(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            try:
                while not web.released.wait(0.05):  # a byte now and then: no read ever times out
                    self.wfile.write(b"x")
            except OSError:
                web.left.set()

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler_for(web)) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    web.url, web.elsewhere = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield web
    web.released.set()
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def test_get_is_called_without_a_record(host: LoopHost, web: Web):
    result = HttpGetBlock(f"{web.url}/hello", headers={"X-Mine": "yes"})()

    assert result == HttpResult(success=True, status_code=200, data="Grüße", reason=None)
    method, path, headers, _ = web.asked[0]
    assert (method, path, headers["x-mine"]) == ("GET", "/hello", "yes")


def test_get_takes_no_record(host: LoopHost, web: Web):
    with pytest.raises(ValidationError, match=r"HttpGetBlock.*None.*Order"):
        HttpGetBlock(f"{web.url}/hello")(Order("a", 1))  # type: ignore[call-overload]  # under test


def test_post_sends_the_record_as_json(host: LoopHost, web: Web):
    result = HttpPostBlock(Order, f"{web.url}/hello")(Order(item="naïve", count=2))

    assert result.success
    method, _, headers, body = web.asked[0]
    assert (method, headers["content-type"]) == ("POST", "application/json")
    assert json.loads(body) == {"item": "naïve", "count": 2}


def test_post_checks_the_record_before_it_is_sent(host: LoopHost, web: Web):
    order = Order(item="a", count=1)
    order.count = "two"  # type: ignore[assignment]  # the mistake under test

    with pytest.raises(ValidationError) as caught:
        HttpPostBlock(Order, f"{web.url}/hello")(order)

    assert [problem.path for problem in caught.value.problems] == ["$.count"]
    assert not web.asked


def test_own_headers_win_over_ours(host: LoopHost, web: Web):
    HttpPostBlock(Order, f"{web.url}/hello", {"Content-Type": "application/x"})(Order("a", 1))

    assert web.asked[0][2]["content-type"] == "application/x"


def test_a_status_is_a_result_and_no_exception(host: LoopHost, web: Web):
    result = HttpGetBlock(f"{web.url}/missing")()

    assert (result.success, result.status_code, result.data) == (False, 404, "no such page")
    assert result.reason == "HTTP 404 Not Found"


@pytest.mark.parametrize(("page", "text"), [("latin", "Grüße"), ("klingon", "a\ufffdb")])
def test_text_is_read_in_the_charset_that_the_server_names(
    host: LoopHost, web: Web, page: str, text: str
):
    assert HttpGetBlock(f"{web.url}/{page}")().data == text


def test_an_answer_that_unpacks_beyond_the_limit_is_cut_and_no_success(host: LoopHost, web: Web):
    result = HttpGetBlock(f"{web.url}/packed", max_bytes=1000)()

    assert (result.success, result.status_code, len(result.data)) == (False, 200, 1000)
    assert "max_bytes=1000" in (result.reason or "")


def test_redirects_are_followed_and_not_for_ever(host: LoopHost, web: Web):
    assert HttpGetBlock(f"{web.url}/again")().data == "Grüße"

    result = HttpGetBlock(f"{web.url}/round")()
    assert (result.success, result.status_code) == (False, None)
    assert "redirects" in (result.reason or "")


def test_a_redirect_to_another_server_does_not_take_our_headers_along(host: LoopHost, web: Web):
    headers = {"X-Api-Key": "secret", "Authorization": "Bearer secret"}

    assert HttpPostBlock(Order, f"{web.url}/away", headers)(Order("a", 1)).success

    first, second = web.asked
    assert first[2]["x-api-key"] == "secret"
    assert "secret" not in json.dumps(second[2])
    assert second[3] == first[3], "the body goes along"


def test_a_redirect_to_what_is_no_web_address_is_a_failure(host: LoopHost, web: Web):
    result = HttpGetBlock(f"{web.url}/nowhere")()

    assert not result.success
    assert result.reason


def test_a_connection_that_breaks_is_a_failure(host: LoopHost, web: Web):
    result = HttpGetBlock(f"{web.url}/broken")()

    assert (result.success, result.data) == (False, "")
    assert result.reason


def test_nobody_listening_is_a_failure(host: LoopHost):
    with closing(create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]

    result = HttpGetBlock(f"http://127.0.0.1:{port}/")()

    assert (result.success, result.status_code) == (False, None)
    assert result.reason


def test_the_timeout_bounds_the_whole_answer(host: LoopHost, web: Web):
    started = time.monotonic()

    result = HttpGetBlock(f"{web.url}/slow", timeout_seconds=0.4)()

    assert time.monotonic() - started < 10
    assert (result.success, result.status_code) == (False, None)
    assert "0.4 s" in (result.reason or "")


async def test_cancelling_closes_the_connection(host: LoopHost, web: Web):
    with use_host(host):
        task = asyncio.create_task(HttpGetBlock(f"{web.url}/slow").run(None))
        assert await asyncio.to_thread(web.was_asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await asyncio.to_thread(web.left.wait, 10)


@pytest.mark.parametrize("url", ["", "no url", "ftp://host/", "http://", "/path", "http://[", None])
def test_what_is_no_web_address_is_refused_when_the_block_is_made(url: str):
    with pytest.raises(ArgumentError) as caught:
        HttpGetBlock(url)
    assert caught.value.param == "endpoint"


@pytest.mark.parametrize("headers", [{"A": "x\r\nB: y"}, {"A": 5}, {"ü": "x"}, {"A": "€secret"}])
def test_headers_that_cannot_be_sent_are_refused_without_showing_them(headers: Any):
    with pytest.raises(ArgumentError) as caught:
        HttpGetBlock("http://127.0.0.1/", headers)

    assert caught.value.param == "headers"
    assert "secret" not in str(caught.value)


def test_headers_are_never_shown(host: LoopHost):
    block = HttpPostBlock(Order, "http://127.0.0.1/", {"Authorization": "secret"})

    assert "secret" not in repr(block) + repr(vars(block))
