"""Servers that are forked from one process, which has loaded what they need.

What `python -m conduit_nb.lmlite` loads takes seconds of CPU time, nearly all of it torch's and
transformers', and most tests are about what a server does afterwards. A forked server runs the
program's own `main` with arguments, environment and output of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from conduit_nb.lmlite.heavy_imports import heavy_imports
from tests.waiting import until_true

ROOT = Path(__file__).resolve().parent.parent.parent
LOADED = (
    "conduit_nb.lmlite.__main__",
    "conduit_nb.lmlite.engine_loader",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
)
READ_LATE = ("CONDUIT_", "PYTEST_CURRENT_TEST")
"""How variables begin that a server reads while it runs; a library may read others earlier."""


class LoadedProcess:
    """The process that has loaded everything, as the tests see it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.lmlite.forked", str(theirs.fileno())],
                cwd=ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        self._answers = self._connection.makefile("r")

    def is_of(self, environment: Mapping[str, str]) -> bool:
        """Say whether it would have loaded the same in this environment."""
        changed = environment.items() ^ self._environment.items()
        return all(name.startswith(READ_LATE) for name, _ in changed)

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Return a server whose output is a pipe."""
        output, end = os.pipe()
        pid = self.request({"arguments": arguments, "environment": dict(environment)}, end)["pid"]
        os.close(end)
        return ForkedProcess(self, pid, os.fdopen(output))

    def request(self, request: Mapping[str, Any], *files: int) -> dict[str, Any]:
        """Send one line, and files with it; return the answer."""
        line = f"{json.dumps(request)}\n".encode()
        sent = socket.send_fds(self._connection, [line], files)
        self._connection.sendall(line[sent:])
        return json.loads(self._answers.readline())

    def close(self) -> None:
        """End the process; it ends with its input."""
        self._answers.close()
        self._connection.close()
        self._process.wait(60)


class ForkedProcess:
    """A forked server; only the process that has forked it can wait for its end."""

    def __init__(self, parent: LoadedProcess, pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self._parent = parent

    def send_signal(self, sig: int) -> None:
        """Send a signal; does nothing after `wait`."""
        if self.returncode is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit code; None where the process still runs."""
        return self._exit_code(0)

    def wait(self, timeout: float) -> int:
        """Return the exit code; raises TimeoutExpired where the process still runs."""
        code = self._exit_code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked server", timeout)
        return code

    def _exit_code(self, within_s: float) -> int | None:
        if self.returncode is None:
            request = {"pid": self.pid, "within_s": within_s}
            self.returncode = self._parent.request(request)["code"]
        return self.returncode


def main(connection: socket.socket) -> None:
    """Load everything; then fork a server, or wait for one, for each line of `connection`."""
    with heavy_imports():
        for name in LOADED:
            importlib.import_module(name)
    line, files = b"", list[int]()
    while True:
        data, received, _, _ = socket.recv_fds(connection, 65536, 1)
        if not data:
            return
        line += data
        files += received
        if not line.endswith(b"\n"):
            continue
        request = json.loads(line)
        if "pid" in request:
            answer = {"code": _exit_code(**request)}
        else:
            answer = {"pid": _fork(connection, *files, **request)}
        connection.sendall(f"{json.dumps(answer)}\n".encode())
        line, files = b"", []


def _exit_code(pid: int, within_s: float) -> int | None:
    codes: list[int] = []

    def has_ended() -> bool:
        ended, status = os.waitpid(pid, os.WNOHANG)
        codes.extend([os.waitstatus_to_exitcode(status)] if ended else [])
        return bool(ended)

    with contextlib.suppress(AssertionError):
        until_true(has_ended, within_s=within_s)
    return codes[0] if codes else None


def _fork(
    connection: socket.socket, output: int, *, arguments: list[str], environment: dict[str, str]
) -> int:
    assert _threads() <= 1, "a fork keeps one thread, and the locks of the others"
    pid = os.fork()
    if pid:
        os.close(output)
        return pid
    code = 1
    try:
        connection.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.environ.clear()
        os.environ.update(environment)
        code = importlib.import_module("conduit_nb.lmlite.__main__").main(arguments)
    except BaseException:  # noqa: BLE001  # whatever it is, the server's log holds it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        main(given)
