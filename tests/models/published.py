"""Configurations of published models, and a server that hands out ranges of files."""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conduit_nb.models.quantization_configs import with_modelopt_file
from conduit_nb.models.spec import ModelSpec, spec_of
from conduit_nb.models.tensors import ITEM_BYTES, Tensor, TensorDtype

CONFIGS = Path(__file__).parent / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.json"))
KINDS = CONFIGS / "kinds"
"""Configurations whose layers, caches or weights are of a kind of their own; see its README."""
_STORED: dict[TensorDtype, str] = {
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "float8": "F8_E4M3",
    "int32": "I32",
    "uint8": "U8",
    "int8": "I8",
    "int64": "I64",
}


def config_of(name: str) -> dict[str, Any]:
    """Return the configuration of a published model."""
    return json.loads((CONFIGS / f"{name}.json").read_text())


def kind_config(name: str) -> Mapping[str, Any]:
    """Return a configuration of `kinds/`, with its hf_quant_config.json where it has one."""
    config: dict[str, Any] = json.loads((KINDS / f"{name}.json").read_text())
    return with_modelopt_file(config, config.pop("hf_quant_config.json", None))


def spec_named(name: str) -> ModelSpec:
    """Return the facts of a published model."""
    return spec_of(config_of(name))


def safetensors_header(tensors: Mapping[str, tuple[str, list[int]]] | list[Tensor]) -> bytes:
    """Return the beginning of a safetensors file: its length, then what it holds."""
    offset = 0
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    named = (
        {
            tensor.name: (_STORED[tensor.dtype or "bfloat16"], list(tensor.shape))
            for tensor in tensors
        }
        if isinstance(tensors, list)
        else tensors
    )
    sizes = {stored: ITEM_BYTES[ours] for ours, stored in _STORED.items()}
    for name, (dtype, shape) in named.items():
        end = offset + sizes.get(dtype, 1) * Tensor(name=name, shape=tuple(shape)).elements
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@dataclass
class RangeServer:
    """Files by path, what was asked of them, and how many bytes were sent."""

    files: dict[str, bytes]
    knows_ranges: bool = True
    refuses: int | None = None
    sent: int = 0
    ranges: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def range_server(server: RangeServer) -> Iterator[RangeServer]:
    """Serve while the `with` lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = server.files.get(self.path)
            if server.refuses:
                self._send(server.refuses, b"")
                return
            if content is None:
                self._send(404, b"")
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            server.ranges.append(f"{self.path} {self.headers.get('Range')}")
            if asked and server.knows_ranges:
                self._send(206, content[int(asked[1]) : int(asked[2]) + 1])
            else:
                self._send(200, content)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return  # the client has read enough
            server.sent += len(body)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
