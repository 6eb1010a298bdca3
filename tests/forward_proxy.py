"""A forward proxy on a socket of this machine: it counts, and leads every host to one server."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK_BYTES = 65_536


@dataclass
class ForwardProxy:
    """What was asked of the proxy: `CONNECT` or the method, and the host. `to` is where it leads.

    Without `to` it answers 404 to everything.
    """

    to: tuple[str, int] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def forward_proxy(to: tuple[str, int] | None = None) -> Generator[ForwardProxy]:
    """Serve a proxy while the `with` lasts."""
    proxy = ForwardProxy(to)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                _serve(proxy, self)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve(proxy: ForwardProxy, client: socketserver.StreamRequestHandler) -> None:
    method, target, version = client.rfile.readline().decode().split()
    lines: list[bytes] = []
    while (line := client.rfile.readline()) not in (b"\r\n", b""):
        lines.append(line)
    is_tunnel = method == "CONNECT"
    address = urlsplit(f"//{target}" if is_tunnel else target)
    proxy.asked.append((method, address.hostname or ""))
    if proxy.to is None:
        client.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    with socket.create_connection(proxy.to) as server:
        if is_tunnel:
            client.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            path = f"{address.path or '/'}{f'?{address.query}' if address.query else ''}"
            kept = [line for line in lines if not line.lower().startswith(b"connection:")]
            head = [f"{method} {path} {version}\r\n".encode(), *kept, b"Connection: close\r\n"]
            server.sendall(b"".join([*head, b"\r\n"]))
        thread = threading.Thread(target=_copy, args=(client.connection, server), daemon=True)
        thread.start()
        _copy(server, client.connection)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
