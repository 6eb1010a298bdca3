"""A registry of images on a real port: as much of its HTTP protocol as an engine's pull asks.

An image here has one layer with one file; `push` moves a tag, as a registry's owner can. An engine
can push what it has pulled from here: the layers are here, and the manifest is taken.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class ImageRegistry:
    """What it holds, by which names its manifests were asked for, and which were put here.

    A test clears `hold` to keep answers back until it is set.
    """

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.received: list[str] = []
        self.address = ""
        self.hold = threading.Event()
        self.hold.set()

    def push(self, tag: str, content: bytes) -> str:
        """Make `tag` an image that holds `content`; return its digest."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo("content")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        layer = gzip.compress(packed.getvalue(), 1, mtime=0)
        unpacked = _digest(packed.getvalue())
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [unpacked]},
                "history": [{"created_by": "a test"}],
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._keep(config, CONFIG),
                "layers": [self._keep(layer, LAYER)],
            }
        ).encode()
        self.tags[tag] = str(self._keep(manifest, MANIFEST)["digest"])
        return self.tags[tag]

    def _keep(self, content: bytes, kind: str) -> dict[str, Any]:
        self.contents[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


@contextmanager
def image_registry() -> Iterator[ImageRegistry]:
    """Serve a registry on the loopback address, which engines trust without TLS."""
    registry = ImageRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_PUT(self) -> None:
            """Take a manifest of layers that are here: an image that was pulled is pushed."""
            content = self.rfile.read(int(self.headers["Content-Length"]))
            tag = self.path.rpartition("/manifests/")[2]
            digest = _digest(content)
            registry.contents[digest] = content
            registry.tags[tag] = digest
            registry.received.append(tag)
            self.send_response(201)
            self.send_header("Docker-Content-Digest", digest)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _answer(self, *, has_body: bool) -> None:
            kind, _, reference = self.path.rpartition("/")
            is_manifest = kind.endswith("/manifests")
            if is_manifest:
                registry.asked.append(reference)
                registry.hold.wait(60)
            digest = registry.tags.get(reference, reference)
            content = b"{}" if self.path == "/v2/" else registry.contents.get(digest)
            self.send_response(404 if content is None else 200)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", MANIFEST if is_manifest else "application/json")
            self.send_header("Docker-Content-Digest", digest)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if has_body:
                self.wfile.write(content or b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
