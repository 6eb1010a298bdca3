"""The server as users get it: a process of its own on a real socket.

Most tests are about what a server does once it runs, and get one that is forked from a process that
has loaded everything (tests/lmlite/forked.py). A test of the start itself, or of the memory that a
server takes, starts the program: `server_process(…, is_forked=False)`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from tests.lmlite.forked import ForkedProcess, LoadedProcess

KEY = "test-key-4711"
BOOT_S = 120.0


class ServerProcess:
    """A server that runs: its address, its log so far, and a client with the key."""

    def __init__(self, process: subprocess.Popen[str] | ForkedProcess) -> None:
        self.process = process
        self.lines: list[str] = []
        self._wrote = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = re.search(r"started url=(\S+)", self.line_with(" started "))
        assert found
        self.url = found[1]
        self.client = httpx2.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=300
        )

    @property
    def log(self) -> str:
        """What the server has written, as far as it has come here."""
        return "\n".join(self.lines)

    def line_with(self, text: str) -> str:
        """Return the first line of the log that holds `text`, as soon as there is one."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._wrote:
            line = self._wrote.wait_for(found, BOOT_S)
        assert line, self.log
        return line

    def chat(self, model: object, text: str = "hi", **fields: Any) -> httpx2.Response:
        """Ask for a reply to `text`."""
        return self.client.post("/v1/chat/completions", json=chat_body(model, text, **fields))

    def loaded(self, model: object) -> dict[str, Any]:
        """Return the state that the server lists for a model."""
        models = self.client.get("/v1/models").json()["data"]
        (found,) = [entry["conduit"] for entry in models if entry["id"] == str(model)]
        return found

    def end(self) -> int:
        """Wait until the process has ended; return its exit code."""
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._wrote:
                self.lines.append(line.rstrip("\n"))
                self._wrote.notify_all()


class Forks:
    """Forks servers; the process that they are forked from is started by the first."""

    def __init__(self) -> None:
        self._loaded: LoadedProcess | None = None

    def start(self, *arguments: str) -> subprocess.Popen[str] | ForkedProcess:
        """Run the program as `start` does.

        Where a variable has changed that the libraries may have read, the program is started.
        """
        environment = _environment()
        if self._loaded is None:
            self._loaded = LoadedProcess(environment)
        if not self._loaded.is_of(environment):
            return start(*arguments)
        return self._loaded.fork(arguments, environment)

    def close(self) -> None:
        """End the process that forks."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


FORKS = Forks()


@contextmanager
def server_process(*arguments: str, is_forked: bool = True) -> Iterator[ServerProcess]:
    """Run a server while the `with` lasts, on a free port where the arguments name none."""
    run = FORKS.start if is_forked else start
    process = run("--port", "0", *arguments)
    try:
        server = ServerProcess(process)
        try:
            yield server
        finally:
            server.client.close()
            process.kill()
            server.end()
    finally:
        process.kill()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the program with the test's key; stderr goes where stdout goes."""
    return subprocess.Popen(
        [sys.executable, "-m", "conduit_nb.lmlite", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "CONDUIT_API_KEY": KEY,
        "CONDUIT_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def chat_body(model: object, text: str = "hi", **fields: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    return {"model": str(model), "messages": [{"role": "user", "content": text}], **fields}
