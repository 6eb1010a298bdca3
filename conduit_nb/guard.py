"""The guard: the first process on every node. It starts the model server and ends the node.

It stands before the server, counts its requests, and ends server and node at the end of the lease,
after too long without a request, when the server does not boot, and when the money is spent. It
needs nobody else for that: whoever started the node may be gone. A rented node whose server has
exited is kept for a moment, so that its exit code and the end of its log can be read. Configured by
one JSON text in the variable CONDUIT_GUARD (see `Config`); secrets come as variables, or as files.

    GET  /conduit/guard                        state, deadlines, exit code, the end of the log
    POST /conduit/guard/extend {"lease_s": S}  a longer lease from now on, never beyond not_after;
                                               "lease_until": S by this clock, "not_after_s": S

Everything but the server's health path wants the node's key, and that path is answered from here.
A request that two servers might read differently is refused. One file, standard library only,
Python 3.8 or newer, so that any image can carry it.
Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import email.utils
import hmac
import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
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
DATE_TIMEOUT_S = 10.0
CLOCK_TOLERANCE_S = 30.0  # a Date header has whole seconds, and is as old as its way here
LOG_BYTES, LOG_LINES, LONGEST_LINE = 32_768, 40, 500
LOG_GRACE_S = 2.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOT_FOR_THE_SERVER = ("CONDUIT_GUARD", "RUNPOD_API_KEY")
# RFC 9110 and 9112, without what they allow for old peers.
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET = re.compile(rb"/[\x21-\x7e]*")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
SIZE = re.compile(r"[0-9]{1,18}")
CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
SINGLE = ("authorization", "content-length", "expect", "host", "transfer-encoding")
ONE_CONNECTION = ("connection", "keep-alive", "proxy-connection", "upgrade")


@dataclass
class Config:
    """What CONDUIT_GUARD holds; moments are seconds since the epoch.

    `command` is the server's, with `{port}` where its port stands. `end` says how the node is
    ended: {"kind": "exit"}, where the end of this process is enough, or {"kind": "runpod", "url":
    address of the API}, with the pod's own key that Runpod puts into RUNPOD_API_KEY. `as_of` is the
    time at which the moments were made, by the clock of the provider (or of the machine that made
    them): where this node's clock differs, they are moved by the difference.
    """

    command: list[str]
    host: str
    port: int
    idle_s: float
    boot_until: float
    lease_until: float
    not_after: float | None = None
    as_of: float | None = None
    failed_keep_s: float = 120.0
    health_path: str = "/health"
    key_name: str = "CONDUIT_API_KEY"
    grace_s: float = 10.0
    end: dict[str, str] = field(default_factory=lambda: {"kind": "exit"})


class BadRequestError(ValueError):
    """A request that two servers might read differently."""


class Request(NamedTuple):
    """The head of a request: what it asks for, and the head as it goes on to the server.

    `size` is the length of its body, None where that comes in chunks.
    """

    method: str
    path: str
    headers: dict[str, str]
    head: bytes
    size: int | None


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
        """Move the end of the lease, as far as the money allows; ValueError for no later moment."""
        if not math.isfinite(lease_until) or lease_until <= now:
            raise ValueError(f"{lease_until} is not in the future")
        limit = self.config.not_after
        self.lease_until = lease_until if limit is None else min(lease_until, limit)
        self.sign(now)
        return self.lease_until

    def move(self, seconds: float) -> None:
        """Move every moment: the clock that they were made by is behind this one by so much."""
        self.config.boot_until += seconds
        self.lease_until += seconds
        if self.config.not_after is not None:
            self.config.not_after += seconds

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


class Output:
    """What the server writes: passed on to this process's output, and its end kept."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._tail = bytearray()
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._pass_on, daemon=True)
        self.thread.start()

    def lines(self) -> list[str]:
        """Return its last lines, also one that is not ended yet."""
        with self._lock:
            text = self._tail.decode("utf-8", "replace")
        lines = [line.rstrip()[:LONGEST_LINE] for line in re.split(r"[\r\n]+", text)]
        return [line for line in lines if line][-LOG_LINES:]

    def _pass_on(self) -> None:
        while data := os.read(self._source, CHUNK_BYTES):
            with self._lock:
                self._tail += data
                del self._tail[:-LOG_BYTES]
            with contextlib.suppress(OSError):  # nobody reads it: the server goes on
                while data:
                    data = data[os.write(1, data) :]
        os.close(self._source)


class Guard:
    """One node's guard: `run` returns the exit code when everything has ended.

    `clock` is the time in seconds since the epoch.
    """

    def __init__(
        self, config: Config, environment: dict[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.life = Life(config, clock())
        self._clock = clock
        self._output: Output | None = None
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
        await self._compare_clocks()
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
            if self._exited.is_set():
                await self._keep_failed()
        finally:
            listening.close()
        if why is not None:
            _say(f"{why}; the node ends")
        await self._stop_server()
        if self._output is not None:
            await loop.run_in_executor(None, self._output.thread.join, LOG_GRACE_S)
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
        source, written = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # no shell, and the runtime's own command
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # it makes one system call, which is safe here
            )
        except OSError as err:
            os.write(written, f"{command[0]} cannot be started ({err.strerror})\n".encode())
            self._exit_code = 127
            self._exited.set()
        finally:
            os.close(written)
        self._output = Output(source)

    async def _compare_clocks(self) -> None:
        """Move all moments by what this node's clock is ahead of the one that they were made by.

        The provider's clock is known to both sides. Where it is not, only a clock that is behind
        can be told from a node that has been started again late.
        """
        as_of = self.config.as_of
        if as_of is None:
            return
        there = None
        if self.config.end["kind"] == "runpod":
            there = await asyncio.get_running_loop().run_in_executor(None, self._provider_time)
        if there is not None and there < as_of - CLOCK_TOLERANCE_S:
            there = None  # a clock does not go back
        now = self._clock()
        ahead_s = now - there if there is not None else min(now - as_of, 0.0)
        if abs(ahead_s) > CLOCK_TOLERANCE_S:
            _say(f"this node's clock is {ahead_s:+.0f} s off; its deadlines move with it")
            self.life.move(ahead_s)

    def _provider_time(self) -> float | None:
        """Return the time at Runpod: every reply has it, also a refusal."""
        try:
            reply = self._ask_runpod("", timeout_s=DATE_TIMEOUT_S)
        except urllib.error.HTTPError as err:
            reply = err
        except (LookupError, OSError, ValueError, http.client.HTTPException):
            return None
        with reply, contextlib.suppress(ValueError, OverflowError):
            parsed = email.utils.parsedate_tz(reply.headers.get("Date") or "")
            return float(email.utils.mktime_tz(parsed)) if parsed is not None else None
        return None

    async def _keep_failed(self) -> None:
        """Keep a rented node whose server has failed, so that somebody can read why.

        Not beyond its lease and its money, and not where this process's end leaves log and exit
        code behind.
        """
        _say(f"the server ended with code {self._exit_code}")
        has_failed = self._exit_code != 0 or not self.life.is_ready
        if self.config.end["kind"] == "exit" or not has_failed:
            return
        until = min(self._clock() + self.config.failed_keep_s, self.life.lease_until)
        limit = self.config.not_after or math.inf
        while not self._told_to_stop.is_set() and self._clock() < min(until, limit):
            await _first_of(self._told_to_stop, timeout_s=LOOK_EVERY_S)

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
        reply = await self._ask_health()
        return reply is not None and reply.split(b" ", 2)[1:2] == [b"200"]

    async def _ask_health(self) -> bytes | None:
        """Return what the server replies to a request of our own, None where it does not."""
        head = f"GET {self.config.health_path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            return None
        try:
            writer.write(f"{head}{self._authorization()}\r\n".encode())
            return await asyncio.wait_for(_read_all(reader), LOOK_EVERY_S * 4)
        except (OSError, asyncio.TimeoutError):
            return None
        finally:
            writer.close()

    def _authorization(self) -> str:
        return f"Authorization: Bearer {self._key}\r\n"

    async def _connected(self, reader: Reader, writer: Writer) -> None:
        """Answer one connection, which has one request."""
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = None
        try:
            request = await asyncio.wait_for(_read_head(reader), HEAD_TIMEOUT_S)
            if request is not None:
                await self._answer(request, reader, writer)
        except BadRequestError as err:
            with contextlib.suppress(OSError):
                await _send(writer, 400, _error(str(err), "bad_request"))
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # a client that is gone or silent
        except asyncio.CancelledError:
            # The guard ends. Nobody waits for this task, and asyncio would print a traceback over
            # the server's last words, which say why.
            pass
        finally:
            self._connections.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: Request, reader: Reader, writer: Writer) -> None:
        path = request.path.partition("?")[0]
        if request.method == "GET" and path == self.config.health_path:
            return await self._answer_health(writer)
        if not self._is_allowed(request):
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

    async def _answer_health(self, writer: Writer) -> None:
        """Answer anybody as the server answers a request of our own."""
        reply = await self._ask_health()
        if not reply:
            return await _send(writer, 503, NOT_READY, retry_after_s=1)
        writer.write(reply.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return await writer.drain()

    async def _answer_ourselves(
        self, request: Request, path: str, reader: Reader, writer: Writer
    ) -> None:
        now = self._clock()
        if (request.method, path) == ("GET", "/conduit/guard"):
            return await _send(writer, 200, self._told(now))
        if (request.method, path) != ("POST", "/conduit/guard/extend"):
            return await _send(writer, 404, _error("There is no such page.", "not_found"))
        if request.size is None or request.size > BODY_LIMIT_BYTES:
            return await _send(writer, 413, _error("The body is too long.", "too_long"))
        try:
            self._extend(json.loads(await reader.readexactly(request.size)), now)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return await _send(writer, 400, _error("No later moment is given.", "invalid_value"))
        return await _send(writer, 200, self._told(now))

    def _told(self, now: float) -> dict[str, Any]:
        failed = {"state": "failed"} if self._exited.is_set() else {}
        log = self._output.lines() if self._output else []
        return {**self.life.told(now), **failed, "exit_code": self._exit_code, "log": log}

    def _extend(self, wish: dict[str, Any], now: float) -> None:
        """Take a longer lease, and less money; raise what is no number as it comes."""
        config = self.config
        is_span = "lease_s" in wish
        until = now + _number(wish["lease_s"]) if is_span else _number(wish["lease_until"])
        if wish.get("not_after_s") is not None and config.not_after is not None:
            config.not_after = min(config.not_after, now + _number(wish["not_after_s"]))
        self.life.extend(until, now)

    async def _forward(self, request: Request, reader: Reader, writer: Writer) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(
                "127.0.0.1", self._server_port
            )
        except OSError:
            return await _send(writer, 503, NOT_READY, retry_after_s=1)
        server_writer.write(request.head)
        up = asyncio.ensure_future(_pass_body(reader, server_writer, request.size))
        down = asyncio.ensure_future(_copy(server_reader, writer))
        try:
            # The server closes after its answer; a client that closes has lost interest.
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            server_writer.close()
        if up.done() and not up.cancelled() and isinstance(up.exception(), BadRequestError):
            raise BadRequestError(str(up.exception()))
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
        try:
            body = b'{"action":"terminate"}'
            self._ask_runpod("/action", body, timeout_s=PROVIDER_TIMEOUT_S).close()
        except LookupError as err:
            return str(err)
        except (OSError, http.client.HTTPException) as err:  # HTTPError is an OSError
            return str(getattr(err, "code", type(err).__name__))
        return None

    def _ask_runpod(self, path: str, body: bytes | None = None, *, timeout_s: float) -> Any:
        """Ask about this pod, with its own key; raises LookupError where it has none, OSError."""
        pod, key = (self._environment.get(f"RUNPOD_{name}") for name in ("POD_ID", "API_KEY"))
        if not pod or not key:
            raise LookupError("it has given the pod no id or no key")
        request = urllib.request.Request(  # noqa: S310  # the provider's own address
            f"{self.config.end['url']}/pods/{pod}{path}",
            data=body,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        is_here = urllib.parse.urlsplit(request.full_url).hostname in LOOPBACK
        proxies = urllib.request.ProxyHandler({} if is_here else None)
        return urllib.request.build_opener(proxies).open(request, timeout=timeout_s)

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


async def _read_head(reader: Reader) -> Request | None:
    """Return the head of a request, made to be the only one of its connection; None at its end."""
    lines, length = [b""], 0
    while length == 0 or lines[-1]:
        try:
            lines.append(await _read_line(reader))
        except asyncio.IncompleteReadError:
            return None
        length += len(lines[-1]) + 2
        if length > HEAD_LIMIT_BYTES:
            raise BadRequestError("The head is too long.")
    parts = lines[1].split(b" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not TARGET.fullmatch(parts[1]):
        raise BadRequestError("The request line is not valid.")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequestError("The version of HTTP is not supported.")
    headers: dict[str, str] = {}
    kept = [lines[1]]
    for line in lines[2:-1]:
        name, colon, value = line.partition(b":")
        if not (colon and TOKEN.fullmatch(name) and VALUE.fullmatch(value)):
            raise BadRequestError("A header is not valid.")
        lowered = name.lower().decode("latin-1")
        if lowered in headers and lowered in SINGLE:
            raise BadRequestError(f"The header {lowered} is given twice.")
        headers[lowered] = value.strip(b" \t").decode("latin-1")
        if lowered not in ONE_CONNECTION:
            kept.append(line)
    kept.append(b"Connection: close")
    size = _body_size(headers, is_old=parts[2] == b"HTTP/1.0")
    whole = b"\r\n".join(kept) + b"\r\n\r\n"
    return Request(parts[0].decode(), parts[1].decode(), headers, whole, size)


def _body_size(headers: dict[str, str], *, is_old: bool) -> int | None:
    """Return how long the body is, None where it comes in chunks."""
    size, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or size is not None or is_old:
            raise BadRequestError("The length of the body is told in two ways, or in none.")
        return None
    if size is None:
        return 0
    if not SIZE.fullmatch(size):
        raise BadRequestError("Content-Length is not a number.")
    return int(size)


async def _pass_body(reader: Reader, writer: Writer, size: int | None) -> None:
    """Pass on the body and not a byte more; return when the client closes its side."""
    with contextlib.suppress(OSError, EOFError):
        if size is not None:
            await _pass(reader, writer, size)
        else:
            await _pass_chunks(reader, writer)
        while await reader.read(CHUNK_BYTES):
            pass  # a second request of this connection is not read


async def _pass_chunks(reader: Reader, writer: Writer) -> None:
    """Pass on a body in chunks, written anew, without extensions and trailers."""
    while True:
        found = CHUNK_HEAD.fullmatch(await _read_line(reader))
        if found is None:
            raise BadRequestError("The head of a chunk is not valid.")
        size = int(found[1], 16)
        writer.write(b"%x\r\n" % size)
        if size == 0:
            break
        await _pass(reader, writer, size)
        if await reader.readexactly(2) != b"\r\n":
            raise BadRequestError("A chunk is longer than its head says.")
        writer.write(b"\r\n")
    while await _read_line(reader):
        pass
    writer.write(b"\r\n")
    await writer.drain()


async def _read_line(reader: Reader) -> bytes:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise BadRequestError("A line is too long.") from None
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
        raise BadRequestError("A line does not end with CR LF, or holds a control character.")
    return line[:-2]


async def _pass(reader: Reader, writer: Writer, size: int) -> None:
    """Pass on so many bytes."""
    while size:
        data = await reader.readexactly(min(size, CHUNK_BYTES))
        size -= len(data)
        writer.write(data)
        await writer.drain()


async def _read_all(reader: Reader) -> bytes:
    """Return what comes until the end, as far as anybody wants it."""
    found = b""
    while len(found) < BODY_LIMIT_BYTES and (data := await reader.read(CHUNK_BYTES)):
        found += data
    return found


def _number(value: object) -> float:
    """Return a JSON number that is one; raise ValueError for NaN, infinity, true and text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("not a number")
    return float(value)


async def _copy(reader: Reader, writer: Writer) -> None:
    """Pass on bytes as they come, until there are no more."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


async def _send(
    writer: Writer, status: int, body: object, retry_after_s: int | None = None
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


NOT_READY = _error("The server is not ready yet.", "not_ready")


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
