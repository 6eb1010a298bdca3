"""The guard: the first process on every node. It starts the model server and ends the node.

It stands before the server, counts its requests, and ends server and node at the end of the lease,
after too long without a request, when the server does not boot, and when the money is spent. It
needs nobody else for that: whoever started the node may be gone. Configured by one JSON text in
the variable CONDUIT_GUARD (see `Config`); secrets come as variables, or as files, one each.

    GET  /conduit/guard                               what it knows
    POST /conduit/guard/extend {"lease_until": S}     a longer lease, never beyond not_after

Everything but the server's health path wants the node's key. One file, standard library only,
Python 3.8 or newer, so that any image can carry it.
Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECRETS_FOLDER = "/run/conduit/secrets"
LOOK_EVERY_S = 0.5
HEAD_LIMIT_BYTES = 65_536
HEAD_TIMEOUT_S = 60.0
BODY_LIMIT_BYTES = 65_536  # of our own endpoint; the server has limits of its own
CHUNK_BYTES = 65_536
END_RETRY_S = 15.0
KILL_EVERY_S = 0.05
PROVIDER_TIMEOUT_S = 20.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOT_FOR_THE_SERVER = ("CONDUIT_GUARD", "RUNPOD_API_KEY")


@dataclass
class Config:
    """What CONDUIT_GUARD holds; moments are seconds since the epoch.

    `command` is the server's, with `{port}` where its port stands. `end` says how the node is
    ended: {"kind": "exit"}, where the end of this process is enough, or {"kind": "runpod", "url":
    address of the API}, with the pod's own key that Runpod puts into RUNPOD_API_KEY.
    """

    command: list[str]
    host: str
    port: int
    idle_s: float
    boot_until: float
    lease_until: float
    not_after: float | None = None
    health_path: str = "/health"
    key_name: str = "CONDUIT_API_KEY"
    grace_s: float = 10.0
    end: dict[str, str] = field(default_factory=lambda: {"kind": "exit"})


class Request(NamedTuple):
    """The head of a request: what it asks for, and the head as it goes on to the server."""

    method: str
    path: str
    headers: dict[str, str]
    head: bytes


class Life:
    """What is known of the node's use, and from that whether it is to end. Knows no clock."""

    def __init__(self, config: Config, now: float) -> None:
        self.config = config
        self.lease_until = config.lease_until
        self.is_ready = False
        self.requests = 0
        self.in_flight = 0
        self.last_sign = now

    def sign(self, now: float) -> None:
        """Note a sign of life: a request, its end, or an extension."""
        self.last_sign = now

    def extend(self, lease_until: float, now: float) -> float:
        """Move the end of the lease, as far as the money allows; return where it is."""
        limit = self.config.not_after
        self.lease_until = lease_until if limit is None else min(lease_until, limit)
        self.sign(now)
        return self.lease_until

    def why_end(self, now: float) -> str | None:
        """Say why the node is to end now, None while it may live."""
        if self.config.not_after is not None and now >= self.config.not_after:
            return "its money is spent"
        if now >= self.lease_until:
            return "its lease is over"
        if not self.is_ready:
            late = now >= self.config.boot_until
            return "its server was not ready in time" if late else None
        idle_s = 0.0 if self.in_flight else now - self.last_sign
        if idle_s >= self.config.idle_s:
            return f"nobody has asked anything for {idle_s:.0f} s"
        return None

    def told(self, now: float) -> dict[str, Any]:
        """Return what GET /conduit/guard answers."""
        return {
            "state": "ready" if self.is_ready else "booting",
            "now": now,
            "idle_s": 0.0 if self.in_flight else now - self.last_sign,
            "idle_limit_s": self.config.idle_s,
            "boot_until": self.config.boot_until,
            "lease_until": self.lease_until,
            "not_after": self.config.not_after,
            "requests": self.requests,
            "in_flight": self.in_flight,
        }


class Guard:
    """One node's guard: `run` returns the exit code when everything has ended.

    `clock` is the time in seconds since the epoch.
    """

    def __init__(
        self,
        config: Config,
        environment: dict[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.life = Life(config, clock())
        self._clock = clock
        self._environment = environment
        self._key = environment.get(config.key_name, "")
        self._server_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_code: int | None = None
        self._exited = asyncio.Event()
        self._told_to_stop = asyncio.Event()
        self._connections: dict[asyncio.Task[Any], None] = {}

    async def run(self) -> int:
        """Guard the node until its end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop.set)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        why = self.life.why_end(self._clock())
        if why is not None:  # the host has started us again
            _say(f"{why}; nothing is started")
            return await self._end_node()
        if not self._key:
            _say(f"{self.config.key_name} holds no key; nothing is started")
            return 2
        try:
            listening = await asyncio.start_server(
                self._connected, self.config.host, self.config.port, limit=HEAD_LIMIT_BYTES
            )
        except OSError as err:
            _say(f"port {self.config.port} cannot be had ({err.strerror})")
            return 98
        self._start()
        try:
            why = await self._watch()
        finally:
            listening.close()
        if why is None:
            _say(f"the server ended with code {self._exit_code}")
        else:
            _say(f"{why}; the node ends")
        await self._stop_server()
        for task in list(self._connections):
            task.cancel()
        if self._told_to_stop.is_set() or (why is None and self.config.end["kind"] == "exit"):
            return _shell_code(self._exit_code)
        return await self._end_node()

    def _start(self) -> None:
        command = [part.replace("{port}", str(self._server_port)) for part in self.config.command]
        environment = {
            name: value
            for name, value in self._environment.items()
            if name not in NOT_FOR_THE_SERVER
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603  # no shell, and the runtime's own command
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # it makes one system call, which is safe here
            )
        except OSError as err:
            _say(f"{command[0]} cannot be started ({err.strerror})")
            self._exit_code = 127
            self._exited.set()

    async def _watch(self) -> str | None:
        """Wait for a reason to end; None where the server ended, or we were told to stop."""
        while not (self._exited.is_set() or self._told_to_stop.is_set()):
            why = self.life.why_end(self._clock())
            if why is not None:
                return why
            if not self.life.is_ready and await self._is_healthy():
                self.life.is_ready = True
                self.life.sign(self._clock())
                _say("the server is ready")
            await _first_of(self._exited, self._told_to_stop, timeout_s=LOOK_EVERY_S)
        return None

    async def _is_healthy(self) -> bool:
        head = f"GET {self.config.health_path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            return False
        try:
            writer.write(f"{head}{self._authorization()}\r\n".encode())
            status = await asyncio.wait_for(reader.readline(), LOOK_EVERY_S * 4)
        except (OSError, asyncio.TimeoutError):
            return False
        finally:
            writer.close()
        return status.split(b" ")[1:2] == [b"200"]

    def _authorization(self) -> str:
        return f"Authorization: Bearer {self._key}\r\n"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, which has one request."""
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = None
        try:
            request = await asyncio.wait_for(_read_head(reader), HEAD_TIMEOUT_S)
            if request is not None:
                await self._answer(request, reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.LimitOverrunError, ValueError):
            pass  # a client that is gone, silent, or speaks something else
        except asyncio.CancelledError:
            # The guard ends. Nobody waits for this task, and asyncio would print a traceback over
            # the server's last words, which say why.
            pass
        finally:
            self._connections.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = request.path.partition("?")[0]
        if path != self.config.health_path and not self._is_allowed(request):
            return await _send(
                writer, 401, _error("The key is missing or wrong.", "invalid_api_key")
            )
        if path.startswith("/conduit/"):
            return await self._answer_ourselves(request, path, reader, writer)
        is_sign = request.method == "POST" and path.startswith("/v1/")
        if is_sign:
            self.life.requests += 1
            self.life.in_flight += 1
            self.life.sign(self._clock())
        try:
            await self._forward(request, reader, writer)
        finally:
            if is_sign:
                self.life.in_flight -= 1
                self.life.sign(self._clock())
        return None

    def _is_allowed(self, request: Request) -> bool:
        said = request.headers.get("authorization", "")
        return hmac.compare_digest(said.encode(), f"Bearer {self._key}".encode())

    async def _answer_ourselves(
        self,
        request: Request,
        path: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        now = self._clock()
        if (request.method, path) == ("GET", "/conduit/guard"):
            return await _send(writer, 200, self.life.told(now))
        if (request.method, path) != ("POST", "/conduit/guard/extend"):
            return await _send(writer, 404, _error("There is no such page.", "not_found"))
        size = int(request.headers.get("content-length", "0"))
        if size > BODY_LIMIT_BYTES:
            return await _send(writer, 413, _error("The body is too long.", "too_long"))
        try:
            until = float(json.loads(await reader.readexactly(size))["lease_until"])
        except (ValueError, KeyError, TypeError):
            return await _send(writer, 400, _error("lease_until is no number.", "invalid_value"))
        self.life.extend(until, now)
        return await _send(writer, 200, self.life.told(now))

    async def _forward(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(
                "127.0.0.1", self._server_port
            )
        except OSError:
            not_yet = _error("The server is not ready yet.", "not_ready")
            return await _send(writer, 503, not_yet, retry_after_s=1)
        server_writer.write(request.head)
        up = asyncio.ensure_future(_copy(reader, server_writer))
        down = asyncio.ensure_future(_copy(server_reader, writer))
        try:
            # The server closes after its answer; a client that closes has lost interest.
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            server_writer.close()
        return None

    async def _stop_server(self) -> None:
        """Ask the server to end, then make it, and everything that it started."""
        if self._process is None:
            return
        if not self._exited.is_set():
            _signal_group(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._exited.wait(), self.config.grace_s)
        _signal_group(self._process.pid, signal.SIGKILL)
        await self._exited.wait()
        while _kill_descendants(os.getpid()):  # noqa: ASYNC110  # nobody tells of their end
            await asyncio.sleep(KILL_EVERY_S)

    async def _end_node(self) -> int:
        """End the node by the narrowest means there is; try until it has ended."""
        if self.config.end["kind"] != "runpod":
            return 0
        while not self._told_to_stop.is_set():
            problem = await asyncio.get_running_loop().run_in_executor(None, self._terminate_pod)
            if problem is not None:
                _say(f"Runpod did not end this pod ({problem}); asking again soon")
            await _first_of(self._told_to_stop, timeout_s=END_RETRY_S)
        return 0

    def _terminate_pod(self) -> str | None:
        """Ask Runpod to end this pod, with the pod's own key; return what went wrong."""
        pod, key = self._environment.get("RUNPOD_POD_ID"), self._environment.get("RUNPOD_API_KEY")
        if not pod or not key:
            return "it has given the pod no id or no key"
        request = urllib.request.Request(  # noqa: S310  # the provider's own address
            f"{self.config.end['url']}/pods/{pod}/action",
            data=b'{"action":"terminate"}',
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            method="POST",
        )
        is_here = urllib.parse.urlsplit(request.full_url).hostname in LOOPBACK
        proxies = urllib.request.ProxyHandler({} if is_here else None)
        try:
            urllib.request.build_opener(proxies).open(request, timeout=PROVIDER_TIMEOUT_S).close()
        except OSError as err:  # HTTPError is one
            return str(getattr(err, "code", type(err).__name__))
        return None

    def _reap(self) -> None:
        """Take the exit codes of ended children, also of those that were handed to us as PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._process is not None and pid == self._process.pid:
                self._exit_code = _exit_code(status)
                self._process.returncode = self._exit_code
                self._exited.set()


def main() -> int:
    """Guard the node that CONDUIT_GUARD describes."""
    environment = _without_references({**os.environ, **_read_secrets(SECRETS_FOLDER)})
    try:
        config = Config(**json.loads(environment["CONDUIT_GUARD"]))
    except (KeyError, ValueError, TypeError) as err:
        _say(f"CONDUIT_GUARD cannot be read ({type(err).__name__})")
        return 2

    _prctl(PR_SET_CHILD_SUBREAPER, 1)

    async def guard() -> int:
        return await Guard(config, environment).run()

    return asyncio.run(guard())


def _without_references(environment: dict[str, str]) -> dict[str, str]:
    """Leave out what still refers to a secret: the provider has none of that name."""
    found: dict[str, str] = {}
    for name, value in environment.items():
        missing = re.fullmatch(r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}", value)
        if missing is None:
            found[name] = value
        else:
            _say(f"{name} is not set: your Runpod account has no secret named {missing[1]}")
    return found


def _read_secrets(folder: str) -> dict[str, str]:
    """Return what the files of the folder hold, by their names."""
    found: dict[str, str] = {}
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.is_file() and entry.name.isidentifier():
                with open(entry.path, encoding="utf-8") as file:
                    found[entry.name] = file.read().strip()
    return found


async def _read_head(reader: asyncio.StreamReader) -> Request | None:
    """Return the head of a request, made to be the only one of its connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split(b"\r\n")
    method, path, version = first.split(b" ", 2)
    headers: dict[str, str] = {}
    kept = [b" ".join((method, path, version))]
    for line in lines:
        name, _, value = line.partition(b":")
        lowered = name.strip().lower().decode("latin-1")
        headers[lowered] = value.strip().decode("latin-1")
        if lowered not in ("connection", "keep-alive"):
            kept.append(line)
    kept.append(b"Connection: close")
    whole = b"\r\n".join(kept) + b"\r\n\r\n"
    return Request(method.decode("latin-1"), path.decode("latin-1"), headers, whole)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes as they come, until there are no more."""
    with contextlib.suppress(OSError):
        while True:
            data = await reader.read(CHUNK_BYTES)
            if not data:
                return
            writer.write(data)
            await writer.drain()


async def _send(
    writer: asyncio.StreamWriter, status: int, body: object, retry_after_s: int | None = None
) -> None:
    data = json.dumps(body).encode()
    reasons = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
    later = f"Retry-After: {retry_after_s}\r\n" if retry_after_s is not None else ""
    head = (
        f"HTTP/1.1 {status} {reasons.get(status, 'Error')}\r\nContent-Type: application/json\r\n"
        f"{later}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()


def _error(message: str, code: str) -> dict[str, dict[str, str]]:
    return {"error": {"message": message, "type": "guard_error", "code": code}}


async def _first_of(*events: asyncio.Event, timeout_s: float) -> None:
    """Wait until one of the events is set, at most so long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
        return address[1]


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _kill_descendants(ancestor: int) -> bool:
    """Kill what the server has left running, in sessions of its own too; say whether there was any.

    As long as we are a subreaper such processes are our children; elsewhere the host ends them.
    """
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{int(name)}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(") ")[2].split()[:2]
            if state != "Z":
                parents[int(name)] = int(parent)
    found = {ancestor}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            break
        found |= more
    for pid in found - {ancestor}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return len(found) > 1


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    """Let the kernel end the server when the guard is killed; where it cannot, the host sees it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_code(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _shell_code(code: int | None) -> int:
    """Return what an exit code is for whoever started us: 128 and the signal's number."""
    return 0 if code is None else 128 - code if code < 0 else code


def _say(text: str) -> None:
    print(f"guard: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
