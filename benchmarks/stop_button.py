"""How long ■ takes: from the interrupt of a map under way to the end of its cell.

A real kernel, 2,000 rows at a server that answers each after 50 ms, 64 at once; the stop comes
after half a second. Beside it the same for a cell of plain IPython (`time.sleep`), which is the
least that a kernel can do. Prints the least and the worst of some rounds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jupyter_client.manager import KernelManager

ROUNDS = 10
ANSWER = json.dumps({"mood": "good"})
CELLS = {
    "time.sleep": "import time\ntime.sleep(60)",
    "%%conduit map": "%%conduit map rows -o out --endpoint {url}\n"
    "class Verdict:\n    mood: Literal['good', 'bad']\n",
}


class Handler(BaseHTTPRequestHandler):
    """Answers every chat with the same record, as a stream, after a while."""

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.05)
        delta = {"content": ANSWER, "role": "assistant"}
        common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        chunks = [
            {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who pressed ■ does not read on
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""


def main() -> None:
    """Measure each cell in turn."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    url = f"http://127.0.0.1:{server.server_port}/v1"
    pid: int = manager.provisioner.pid
    try:
        client.execute_interactive("%load_ext conduit_nb", output_hook=ignore)
        client.execute_interactive("rows = [{'text': f'good {n}'} for n in range(2000)]")
        taken: dict[str, list[float]] = {name: [] for name in CELLS}
        for _ in range(ROUNDS):
            for name, cell in CELLS.items():
                taken[name].append(stop_s(client, pid, cell.format(url=url)))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        server.shutdown()
    for name, seconds in taken.items():
        told = {
            "benchmark": "stop_button",
            "cell": name,
            "least_s": round(min(seconds), 3),
            "median_s": round(statistics.median(seconds), 3),
            "worst_s": round(max(seconds), 3),
        }
        print(json.dumps(told))
    if max(taken["%%conduit map"]) > 0.5:
        sys.exit("a map took longer than 0.5 s to stop")


def stop_s(client: object, pid: int, cell: str) -> float:
    """Return the seconds from the interrupt to the reply."""
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(pid, signal.SIGINT)

    finger = threading.Timer(0.7, press)
    finger.start()
    reply = client.execute_interactive(cell, timeout=60, output_hook=ignore)  # type: ignore[attr-defined]  # a blocking client
    ended = time.perf_counter()
    finger.join()
    assert reply["content"]["status"] == "error", reply["content"]
    return ended - pressed[0]


def ignore(message: object) -> None:
    """Show nothing of what a cell shows."""


if __name__ == "__main__":
    main()
