"""lmlite: clients that crowd, dawdle and vanish, models that are broken, a server that is killed.

Whatever one of them does: an error with a code, no page lost, the others undisturbed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

pytest.importorskip("torch")

from prometheus_client.parser import text_string_to_metric_families

from conduit_nb.lmlite.engine import PREFIX_CACHE_SHARE
from tests.lmlite.server_process import KEY, ServerProcess, chat_body, server_process
from tests.lmlite.test_server import ENDLESS, error_of, until_free

CROWD = 1_000
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process("--threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def model(tiny_model) -> Path:
    """Return a tiny model whose replies can take long."""
    return tiny_model(context_tokens=8192)


@pytest.fixture(autouse=True)
def unharmed(server: ServerProcess, model: Path) -> Iterator[None]:
    """After a test the same engine writes the same text, and no page is lost.

    An idle engine checks its pages, and would end with a traceback.
    """
    before = server.chat(model, max_tokens=8).json()["choices"]
    yield
    assert server.chat(model, max_tokens=8).json()["choices"] == before
    until_free(server, model, within_s=10)
    pages = figures(server, model)
    assert pages["conduit_kv_pages_used"] <= pages["conduit_kv_pages"] / PREFIX_CACHE_SHARE
    assert "Traceback" not in server.log


def figures(server: ServerProcess, model: Path) -> dict[str, float]:
    """Return the server's figures of a model."""
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("model") == str(model)
    }


def raw_request(body: dict[str, Any]) -> bytes:
    """Return a chat request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def address_of(server: ServerProcess) -> tuple[str, int]:
    url = urlsplit(server.url)
    assert url.hostname
    assert url.port
    return url.hostname, url.port


async def ask(server: ServerProcess, request: bytes) -> bytes:
    """Send a request over a connection of its own; return all that comes back."""
    reader, writer = await asyncio.open_connection(*address_of(server))
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


# Crowds


async def test_a_thousand_silent_connections_hold_up_nobody(server, model):
    silent = [await asyncio.open_connection(*address_of(server)) for _ in range(CROWD)]

    reply = await ask(server, raw_request(chat_body(model, max_tokens=2)))

    for _, writer in silent:
        writer.transport.abort()
    assert reply.startswith(b"HTTP/1.1 200")


async def test_a_thousand_requests_at_once_get_a_reply_or_a_retry_time(server, model):
    request = raw_request(chat_body(model, max_tokens=1))

    replies = await asyncio.gather(*(ask(server, request) for _ in range(CROWD)))

    kinds = {reply.partition(b"\r\n")[0] for reply in replies}
    assert kinds <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 429 Too Many Requests"}
    for reply in replies:
        assert json.loads(reply.partition(b"\r\n\r\n")[2])
        assert reply.startswith(b"HTTP/1.1 200") or b"\r\nretry-after: " in reply
    assert sum(reply.startswith(b"HTTP/1.1 200") for reply in replies) >= 512


async def test_clients_that_vanish_leave_nothing_behind_and_disturb_nobody(server, model):
    expected = server.chat(model, "stay", max_tokens=40).json()["choices"]
    endless = chat_body(model, response_format=ENDLESS)

    async def vanish(number: int) -> None:
        request = raw_request({**endless, "stream": number % 2 == 0, "n": 1 + number % 3})
        reader, writer = await asyncio.open_connection(*address_of(server))
        if number % 5 == 0:  # in the middle of its own words
            writer.write(request[: len(request) - 9])
        else:
            writer.write(request)
            if number % 2 == 0:
                await reader.readuntil(b"data: ")
        await writer.drain()
        writer.transport.abort()

    staying = ask(server, raw_request(chat_body(model, "stay", max_tokens=40)))
    reply, *_ = await asyncio.gather(staying, *(vanish(number) for number in range(20)))

    assert json.loads(reply.partition(b"\r\n\r\n")[2])["choices"] == expected


def test_a_client_that_reads_nothing_costs_the_others_nothing(server, model):
    body = chat_body(model, stream=True, response_format=ENDLESS, logprobs=True, top_logprobs=20)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(address_of(server))
        stalled.sendall(raw_request(body))
        assert stalled.recv(12) == b"HTTP/1.1 200"

        for _ in range(3):
            assert server.chat(model, max_tokens=4).status_code == 200


# Broken models


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8:40] = b"\xff" * 32
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize(
    "damage", [cut, garble, Path.unlink, lambda path: path.write_bytes(b""), "{}", "[]", "null"]
)
def test_a_broken_folder_is_an_error_of_that_model_alone(
    server, tiny_model_folder, tmp_path, name: str, damage: Callable[[Path], Any] | str
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    path = folder / name
    path.write_text(damage) if isinstance(damage, str) else damage(path)

    response = server.chat(folder)

    assert response.status_code == 422, response.text
    assert error_of(response)["code"] in ("model", "model_files")
    assert error_of(response)["hint"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", "["),
        ("tokenizer_config.json", "[]"),
        ("generation_config.json", "{"),
        ("generation_config.json", '{"eos_token_id": "x"}'),
        ("chat_template.jinja", "{% for %}"),
        ("chat_template.jinja", "{{ messages[99].content.nothing }}"),
        ("special_tokens_map.json", "nothing"),
        ("model.safetensors.index.json", "{}"),
    ],
)
def test_a_broken_file_next_to_the_model_is_no_mistake_of_the_server(
    server, tiny_model_folder, tmp_path, name: str, content: str
):
    """Some of these files are not needed; what is, is named."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / name).write_text(content)

    response = server.chat(folder, max_tokens=2)

    assert response.status_code in (200, 400, 422), response.text
    if response.status_code != 200:
        assert error_of(response)["code"] in ("model", "model_files", "request_refused")


# No content in errors and logs


def test_whatever_goes_wrong_no_word_of_a_request_comes_into_the_log(server, model):
    secret = "sesame-opens-4711"
    chat = chat_body(model, secret, max_tokens=4)
    schema = {"properties": {secret: {"pattern": f"({secret}"}}}
    bodies: list[dict[str, Any]] = [
        chat,
        {**chat, "stream": True, "stop": secret},
        {**chat, secret: secret},
        {**chat, "messages": secret},
        {**chat, "messages": [{"role": secret, "content": secret}]},
        {**chat, "seed": secret},
        chat_body(model, secret * 10_000),
        {**chat, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        {**chat, "user": secret, "conduit": {"deadline_s": 0.001}},
    ]

    ids = [server.client.post(CHAT, json=one).headers["x-request-id"] for one in bodies]
    server.client.post(CHAT, content=f'{{"{secret}'.encode())
    server.client.get("/v1/nowhere", params={"q": secret})

    for one in ids:
        assert "status=" in server.line_with(one)
    assert secret not in server.log


# The end of the server


def test_killed_under_load_it_leaves_errors_and_a_free_port(model):
    with server_process("--threads", "1") as server:
        server.chat(model, max_tokens=1)
        port = address_of(server)[1]
        failures: list[type[Exception]] = []

        def ask_for_long() -> None:
            with pytest.raises(httpx2.TransportError) as failed:
                httpx2.post(
                    server.url + CHAT,
                    headers={"Authorization": f"Bearer {KEY}"},
                    json=chat_body(model, response_format=ENDLESS),
                    timeout=60,
                )
            failures.append(failed.type)

        threads = [threading.Thread(target=ask_for_long) for _ in range(8)]
        for thread in threads:
            thread.start()
        until_running(server, model)
        os.kill(server.process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(30)

        assert server.end() == -signal.SIGKILL
    assert len(failures) == 8
    with server_process("--threads", "1", "--port", str(port)) as next_one:
        assert address_of(next_one)[1] == port
        assert next_one.chat(model, max_tokens=1).status_code == 200


def test_told_to_stop_under_load_it_answers_everybody_and_ends_in_time(model):
    with server_process("--threads", "1", "--drain-s", "0.5") as server:
        server.chat(model, max_tokens=1)
        answers: list[httpx2.Response] = []

        def ask_for_long(number: int) -> None:
            answers.append(
                httpx2.post(
                    server.url + CHAT,
                    headers={"Authorization": f"Bearer {KEY}"},
                    json=chat_body(model, response_format=ENDLESS, stream=number % 2 == 0),
                    timeout=60,
                )
            )

        threads = [threading.Thread(target=ask_for_long, args=[number]) for number in range(40)]
        for thread in threads:
            thread.start()
        while server.loaded(model)["running"] + server.loaded(model)["waiting"] < len(threads):
            pass
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)

        assert server.end() == 0
    assert len(answers) == len(threads)
    for answer in answers:
        last = answer.text.strip().rpartition("\n\n")[2].removeprefix("data: ")
        assert json.loads(last)["error"]["code"] == "server_failed"
        assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
    assert "Traceback" not in server.log


def until_running(server: ServerProcess, model: Path) -> None:
    """Return when the server writes replies of `model`."""
    ends = time.monotonic() + 30
    while not server.loaded(model)["running"]:
        assert time.monotonic() < ends
