"""lmlite/__main__.py: how the server starts, and all the ways in which it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from typing import Any

import httpx2
import pytest

pytest.importorskip("torch")

from conduit_nb.lmlite.__main__ import main
from tests.lmlite.server_process import KEY, chat_body, server_process, start
from tests.lmlite.test_server import ENDLESS


def test_a_port_in_use_is_exit_code_98_and_one_line_before_torch_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 98
    assert output.count("\n") == 1
    assert re.search(rf"\b{port}\b.*\b127\.0\.0\.1\b.* --port\b", output)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_it_does_not_serve_other_machines(host, monkeypatch, capsys):
    monkeypatch.setenv("CONDUIT_API_KEY", "k")

    assert main(["--port", "0", "--host", host]) == 2
    assert re.search(rf"--host {host} .*\bTLS\b", capsys.readouterr().err, re.DOTALL)


def test_it_does_not_start_without_a_key(monkeypatch, capsys):
    monkeypatch.delenv("CONDUIT_API_KEY", raising=False)

    assert main(["--port", "0"]) == 2
    assert "CONDUIT_API_KEY" in capsys.readouterr().err


def test_it_does_not_start_on_a_device_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("CONDUIT_API_KEY", "k")

    assert main(["--port", "0", "--device", "warp"]) == 2
    assert "device='warp'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--port", "99999"], ["--port", "x"], ["--port", "0", "--idle-s", "0"], []],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setenv("CONDUIT_API_KEY", "k")

    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_it_ends_by_itself_when_only_health_checks_come():
    with server_process("--idle-s", "1") as server:
        while True:
            try:
                server.client.get("/health")
                server.client.get("/v1/models")
            except httpx2.TransportError:
                break

        assert server.end() == 0
        assert "stopping reason=idle" in server.log


def test_on_sigterm_running_requests_are_finished_and_new_ones_refused(tiny_model):
    folder = tiny_model(context_tokens=8192)
    with server_process("--drain-s", "60", "--threads", "1", is_forked=False) as server:
        server.chat(folder, max_tokens=1)
        lines = _stream(server, folder, max_tokens=1500)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        refused = _until_refused(server, folder)
        rest = list(lines)

        assert server.end() == 0
    assert rest[-2] == "data: [DONE]"
    assert refused["code"] == "server_failed"
    assert refused["reason"] == "stopping"
    assert "stopped unfinished=0" in server.log


def test_on_sigterm_what_takes_too_long_fails_with_a_clear_error(tiny_model):
    folder = tiny_model(context_tokens=8192)
    with server_process("--drain-s", "0.2", "--threads", "1") as server:
        server.chat(folder, max_tokens=1)
        replies: list[Any] = []
        whole = threading.Thread(
            target=lambda: replies.append(server.chat(folder, response_format=ENDLESS))
        )
        whole.start()
        lines = _stream(server, folder)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
        whole.join(60)

        assert server.end() == 0
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "server_failed"
    assert replies[0].status_code == 503
    assert replies[0].json()["error"]["code"] == "server_failed"


def test_a_request_too_many_is_refused_with_a_retry_time(tiny_model):
    folder = tiny_model(context_tokens=8192)
    arguments = ("--max-concurrency", "1", "--max-waiting", "0", "--threads", "1")
    with server_process(*arguments) as server:
        server.chat(folder, max_tokens=1)
        lines = _stream(server, folder)
        next(lines)

        refused = server.chat(folder)
        lines.close()

    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) > 0


def _stream(server: Any, folder: Any, **fields: Any) -> Any:
    """Yield the lines of a reply that takes long."""
    with httpx2.stream(
        "POST",
        server.url + "/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        json=chat_body(folder, stream=True, response_format=ENDLESS, **fields),
        timeout=60,
    ) as response:
        yield from response.iter_lines()


def _until_refused(server: Any, folder: Any) -> dict[str, Any]:
    while True:
        response = server.chat(folder, max_tokens=1)
        if response.status_code == 503:
            assert int(response.headers["retry-after"]) > 0
            return response.json()["error"]
        assert response.status_code == 200
