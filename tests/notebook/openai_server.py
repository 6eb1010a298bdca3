"""A server with OpenAI's wire format on a real socket, which answers from the request's schema.

An enum's answer is the member that stands in the question, else the first; a number is the
question's first one, else 1; text is "text". Words in the question make it misbehave: BROKEN (no
JSON), CUT (stopped by the token limit), REFUSED (400), WAIT (not before `go_on`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class OpenAIServer:
    """What was asked of the server, and the event that lets waiting answers go."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def questions(self) -> list[str]:
        """What the users said, in the order of arrival."""
        return [request["messages"][-1]["content"] for request in self.requests]


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    told = OpenAIServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            sent = self.rfile.read(length)
            if len(sent) < length:
                return  # the kernel was killed while it asked
            body = json.loads(sent)
            with told.lock:
                told.requests.append(body)
                told.authorizations.append(self.headers.get("Authorization"))
                told.at_once += 1
                told.most_at_once = max(told.most_at_once, told.at_once)
            question = body["messages"][-1]["content"]
            if "WAIT" in question:
                told.waiting.release()
                told.go_on.wait(60)
            with told.lock:
                told.at_once -= 1
            status, reply = reply_to(body, question)
            try:
                if body.get("stream") and status == 200:
                    self._stream(reply)
                else:
                    self._answer(status, reply)
            except ConnectionError:
                self.close_connection = True  # the client has gone

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, reply: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            [choice] = reply["choices"]
            text = choice["message"]["content"]
            deltas = [{"role": "assistant", "content": text[:5]}, {"content": text[5:]}, {}]
            for number, delta in enumerate(deltas):
                reason = choice["finish_reason"] if number == len(deltas) - 1 else None
                part = {"index": 0, "delta": delta, "finish_reason": reason}
                self._event({"choices": [part], "usage": None})
            self._event({"choices": [], "usage": reply["usage"]})
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _event(self, body: dict[str, Any]) -> None:
            chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, **body}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        told.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


def reply_to(body: dict[str, Any], question: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of the answer to a chat request."""
    if "REFUSED" in question:
        return 400, {"error": {"message": "no such thing", "type": "invalid_request_error"}}
    schema = body["response_format"]["json_schema"]["schema"]
    text = json.dumps(value_of(schema, schema, question))
    if "BROKEN" in question:
        text = text[:-1]
    finish_reason = "length" if "CUT" in question else "stop"
    return 200, {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def value_of(schema: dict[str, Any], root: dict[str, Any], question: str) -> Any:
    """Return a value that fits a JSON Schema."""
    if "$ref" in schema:
        return value_of(root["$defs"][schema["$ref"].rpartition("/")[2]], root, question)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        said = [value for value in schema["enum"] if str(value) in question]
        return (said or schema["enum"])[0]
    if "anyOf" in schema:
        return value_of(schema["anyOf"][0], root, question)
    match schema["type"]:
        case "object":
            parts = schema.get("properties", {}).items()
            return {name: value_of(part, root, question) for name, part in parts}
        case "array":
            return [value_of(schema["items"], root, question)]
        case "integer" | "number":
            found = re.search(r"\d+", question)
            return int(found[0]) if found else 1
        case "boolean":
            return "yes" in question
        case "null":
            return None
        case "string":
            return {"date": "2024-12-31", "date-time": "2024-12-31T12:00:00Z"}.get(
                schema.get("format", ""), "text"
            )
        case kind:
            raise AssertionError(f"what is a {kind}?")
