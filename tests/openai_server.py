"""A model server of somebody else: the OpenAI chat API on a real socket, without a model.

It refuses what that API does not know, so that nothing of ours slips in; `faults` come before the
answers, one a request.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KNOWN_FIELDS = {
    "max_tokens",
    "messages",
    "model",
    "response_format",
    "seed",
    "stream",
    "stream_options",
    "temperature",
}
KNOWN_KEYWORDS = {
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
}


@dataclass(frozen=True)
class Fault:
    """Answers a request with this status and body, or by hanging up."""

    status: int = 500
    body: bytes = b'{"error": {"message": "it broke", "type": "server_error"}}'
    headers: dict[str, str] = field(default_factory=dict)
    hangs_up: bool = False


@dataclass
class OpenAiServer:
    """What was asked, and what is answered: `answer` makes the text out of the request."""

    answer: Callable[[dict[str, Any]], str] = lambda _: "Hello!"
    url: str = ""
    key: str | None = None
    finish_reason: str = "stop"
    hangs_up_after: int | None = None  # words of a stream
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    holds: threading.Event | None = None
    was_asked: threading.Event = field(default_factory=threading.Event)
    was_left: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def openai_server(**options: Any) -> Iterator[OpenAiServer]:
    """Serve on a free port of this machine; `url` ends in /v1, as such servers' do."""
    server = OpenAiServer(**options)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        if server.holds:
            server.holds.set()
        listening.shutdown()
        listening.server_close()
        thread.join()


def _handler(server: OpenAiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.requests.append(body)
                server.running += 1
                server.most_running = max(server.most_running, server.running)
                fault = server.faults.pop(0) if server.faults else None
            server.was_asked.set()
            try:
                self.serve(body, fault)
            except OSError:
                server.was_left.set()
            finally:
                with server.lock:
                    server.running -= 1

        def serve(self, body: dict[str, Any], fault: Fault | None) -> None:
            problem = _problem(body)
            if fault is not None:
                if not fault.hangs_up:
                    self.send(fault.status, fault.body, fault.headers)
            elif self.path != "/v1/chat/completions":
                self.send_error_body(404, "no such page", "invalid_request_error")
            elif server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                self.send_error_body(401, "Incorrect API key provided", "invalid_request_error")
            elif problem:
                self.send_error_body(400, problem, "invalid_request_error")
            elif body.get("stream"):
                self.stream(server.answer(body))
            else:
                if server.holds:
                    server.holds.wait(20)
                self.send(200, json.dumps(_reply(server, server.answer(body))).encode())

        def stream(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            for number, word in enumerate(re.findall(r"\S+\s*", text)):
                if number == server.hangs_up_after:
                    return
                self.event({"choices": [{"index": 0, "delta": {"content": word}}]})
                while server.holds and number == 1 and not server.holds.wait(0.02):
                    self.event({"choices": []})  # so that a client that left is noticed
            last = {"index": 0, "delta": {}, "finish_reason": server.finish_reason}
            self.event({"choices": [last]})
            self.event({"choices": [], "usage": _usage(text)})
            self.wfile.write(b"data: [DONE]\n\n")

        def event(self, body: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps({'id': 'c', **body})}\n\n".encode())

        def send_error_body(self, status: int, message: str, kind: str) -> None:
            self.send(status, json.dumps({"error": {"message": message, "type": kind}}).encode())

        def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _problem(body: dict[str, Any]) -> str:
    unknown = set(body) - KNOWN_FIELDS
    if unknown:
        return f"Unrecognized request arguments supplied: {sorted(unknown)}"
    spec = body.get("response_format", {}).get("json_schema", {})
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spec.get("name", "x")):
        return "Invalid 'response_format.json_schema.name'"
    strange = {word for word in _keywords(spec.get("schema", {})) if word.startswith("x-")}
    if spec.get("strict"):
        strange |= _keywords(spec["schema"]) - KNOWN_KEYWORDS
    return f"Invalid schema: {sorted(strange)} not permitted" if strange else ""


def _keywords(schema: dict[str, Any]) -> set[str]:
    words = set(schema)
    below = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    below += schema.get("anyOf", [])
    below += [schema[name] for name in ("items",) if name in schema]
    for part in below:
        words |= _keywords(part)
    return words


def _reply(server: OpenAiServer, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "somebodys",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": server.finish_reason,
            }
        ],
        "usage": _usage(text),
        "system_fingerprint": "fp_1",
    }


def _usage(text: str) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": len(text), "total_tokens": 7 + len(text)}
