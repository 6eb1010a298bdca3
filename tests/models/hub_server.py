"""A local model hub that speaks as much of the real protocol as the tests need."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub holds, and the requests it got. `models` maps ids to files.

    `tokens` open the gated models, `strangers` are tokens that do not; any other is refused,
    whatever is requested.
    """

    models: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)
    broken: bool = False
    speaks: bytes = b""
    silent: threading.Event | None = None
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def hub_server(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` while the `with` lasts."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        if hub.silent is not None:
            hub.silent.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.silent is not None:
            self.hub.silent.wait(30)
            self.close_connection = True
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.hub.broken:
            self._send(502, b"bad gateway", {}, with_body)
        elif self.hub.speaks:
            self._send(200, self.hub.speaks, {}, with_body)
        elif token and token not in self.hub.tokens | self.hub.strangers:
            refused = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._send(401, b"{}", refused, with_body)
        elif path.startswith("/api/models/"):
            self._about(path.removeprefix("/api/models/"), with_body)
        else:
            self._file(urlsplit(self.path).path, with_body)

    def _about(self, path: str, with_body: bool) -> None:
        model_id, _, revision = path.partition("/revision/")
        files = self.hub.models.get(model_id)
        if files is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        elif self._is_closed(model_id):
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, with_body)
        elif revision not in ("", "main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        else:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            about = {"id": model_id, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(about).encode(), {}, with_body)

    def _file(self, path: str, with_body: bool) -> None:
        model_id, _, rest = path.strip("/").partition("/resolve/")
        name = unquote(rest.partition("/")[2])  # a revision is one part, its slashes are quoted
        data = self.hub.models.get(model_id, {}).get(name)
        if new := self.hub.moved.get(model_id):
            self._send(307, b"", {"Location": path.replace(model_id, new)}, with_body)
            return
        if model_id not in self.hub.models:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
            return
        if self._is_closed(model_id):
            self._send(403, b"", {"X-Error-Code": "GatedRepo"}, with_body)
            return
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            return
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        self._send(200, data, headers, with_body)

    def _is_closed(self, model_id: str) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return model_id in self.hub.gated and token not in self.hub.tokens

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
