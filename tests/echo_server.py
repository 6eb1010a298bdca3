"""A model server with LmLite's command line and wire format, and no model: it echoes.

With `--answers TEXT` it answers that to everything.

Standard library only, so that it starts in a moment, in any container with a Python.
Flags make it misbehave:
`--dies CODE`, `--never-listens`, `--ignores-sigterm`, `--spawns` (a child in a session of its own).
A request whose model is "slow" is not answered; "loading" is shown as being loaded meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar
from urllib.parse import unquote

LAST_WORDS = "no such device"
"""What it prints before it dies."""


def _version() -> str:
    try:
        return version("conduit-nb")
    except PackageNotFoundError:
        return "0"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    last_request = time.monotonic()
    slow_requests = 0
    loaded: ClassVar[list[str]] = []
    answer: ClassVar[str | None] = None

    def do_GET(self) -> None:
        if self.path == "/health":
            models = {"loading": "loading"} if Handler.slow_requests else {}
            self._answer(
                200,
                {
                    "status": "ok",
                    "version": _version(),
                    "device": "cpu",
                    "idle_s": time.monotonic() - Handler.last_request,
                    "models": models,
                },
            )
        elif self._is_allowed():
            self._answer(200, {"object": "list", "data": self._models()})

    def do_POST(self) -> None:
        Handler.last_request = time.monotonic()
        body = json.loads(self._read_body())
        if not self._is_allowed():
            return
        print(f"request for {body['model']}", flush=True)
        if self.path == "/v1/models/load":
            Handler.loaded.append(body["model"])
            self._answer(200, self._models()[-1])
            return
        if body["model"] in ("slow", "loading"):
            Handler.slow_requests += 1
            threading.Event().wait()
        text = Handler.answer or f"{os.getpid()}: {body['messages'][-1]['content']}"
        if body.get("stream"):
            self._stream(text)
            return
        self._answer(
            200,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            },
        )

    def _read_body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _stream(self, text: str) -> None:
        """Send a word at a time; the connection's end is the answer's."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        choices: list[dict[str, Any]] = [
            {"index": 0, "delta": {"content": word + " "}, "finish_reason": None}
            for word in text.split()
        ]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        for choice in choices:
            self.wfile.write(f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode())
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        last = {**head, "choices": [], "usage": usage}
        self.wfile.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())

    def do_DELETE(self) -> None:
        model = unquote(self.path.removeprefix("/v1/models/"))
        if self._is_allowed() and model in Handler.loaded:
            Handler.loaded.remove(model)
            self._answer(200, {"id": model, "object": "model", "deleted": True})

    def _models(self) -> list[dict[str, Any]]:
        model = {
            "state": "loading" if Handler.slow_requests else "ready",
            "revision": None,
            "dtype": "float32",
            "device": "cpu",
            "context_tokens": 2048,
            "running": Handler.slow_requests,
            "waiting": 0,
            "memory_bytes": 2**30,
        }
        entry = {"object": "model", "created": 1, "owned_by": "tests"}
        return [
            {**entry, "id": "loading", "conduit": model},
            {**entry, "id": "not loaded"},
            *({**entry, "id": name, "conduit": model} for name in Handler.loaded),
        ]

    def _is_allowed(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {os.environ['CONDUIT_API_KEY']}":
            return True
        self._answer(401, {"error": {"message": "wrong key", "type": "auth", "code": None}})
        return False

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name it has
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--dies", type=int)
    parser.add_argument("--never-listens", action="store_true")
    parser.add_argument("--ignores-sigterm", action="store_true")
    parser.add_argument("--spawns", action="store_true")
    parser.add_argument("--answers")
    arguments = parser.parse_args()
    Handler.answer = arguments.answers
    print("fake LmLite begins", flush=True)
    if arguments.ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments.spawns:
        code = "import time; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    if arguments.dies is not None:
        print(LAST_WORDS, flush=True)
        sys.exit(arguments.dies)
    if arguments.never_listens:
        threading.Event().wait()
    try:
        server = Server(("127.0.0.1", arguments.port), Handler)
    except OSError:
        sys.exit(98)
    server.serve_forever()


if __name__ == "__main__":
    main()
