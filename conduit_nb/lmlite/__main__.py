"""The program `python -m conduit_nb.lmlite`: a model server for this machine only.

Its key comes from CONDUIT_API_KEY, so that no list of processes shows it. It ends by itself after
`--idle-s` seconds without a request, and on SIGTERM when running requests are finished or
`--drain-s` seconds have passed. Exit codes: 0 regular end, 2 usage error, 98 port in use.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import importlib.metadata
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.connection import Connection
from conduit_nb.lmlite.heavy_imports import heavy_imports
from conduit_nb.lmlite.log import log_event, set_up_logging
from conduit_nb.lmlite.pool import ModelPool
from conduit_nb.lmlite.server import make_app

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine_loader import EngineLoader

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None

USAGE_ERROR = 2
PORT_IN_USE = 98
KEY_VARIABLE = "CONDUIT_API_KEY"
# Longer than clients keep a connection: whoever closes it, it is never the one that just got a
# request.
KEEP_ALIVE_S = 120
CLOSE_TIMEOUT_S = 5.0
BACKLOG = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal or the idle timeout; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        key = _take_key()
        config = EngineConfig(
            device=options.device,
            threads=options.threads,
            max_concurrency=options.max_concurrency,
        )
        listener = _bound_socket(options.host, options.port)
    except (ConduitError, OSError) as err:
        return _fail_to_start(err, options)
    try:
        loader = _loader(config, options.memory_gib)
    except ConduitError as err:
        listener.close()
        return _fail_to_start(err, options)
    try:
        listener.listen(BACKLOG)  # last: no client connects before the server can answer
    except OSError as err:
        listener.close()
        return _fail_to_start(err, options)
    set_up_logging()
    _allow_connections()
    # Not asyncio.run: it would wait for threads that load, see _exit.
    asyncio.Runner().run(_serve(listener, key, loader, options))
    return 0


def _fail_to_start(err: ConduitError | OSError, options: argparse.Namespace) -> int:
    """Print why the server cannot start; return the exit code."""
    if isinstance(err, ConduitError):
        print(f"{err} {err.hint}", file=sys.stderr)
        return USAGE_ERROR
    is_taken = err.errno == errno.EADDRINUSE
    problem = "is in use" if is_taken else f"cannot be listened on: {err.strerror}"
    print(f"Port {options.port} on {options.host} {problem}. Pass another --port.", file=sys.stderr)
    return PORT_IN_USE if is_taken else USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conduit_nb.lmlite",
        description=f"Serve language models to this machine. The key comes from {KEY_VARIABLE}.",
    )
    parser.add_argument("--port", type=_port, required=True, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine's own")
    parser.add_argument("--idle-s", type=_seconds, help="end after so long without a request")
    parser.add_argument("--drain-s", type=_seconds, default=5.0, help="how long SIGTERM waits")
    parser.add_argument("--threads", type=int, help="threads of an engine on the CPU")
    parser.add_argument(
        "--max-concurrency", type=int, default=32, help="replies a model writes at once"
    )
    parser.add_argument("--max-waiting", type=int, default=512, help="requests a model may queue")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps; the best that is there")
    parser.add_argument(
        "--memory-gib",
        type=_gib,
        help="what models may take of each device; a share of what is free",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def _gib(text: str) -> float:
    size = float(text)
    if not 0 < size < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of GiB above 0")
    return size


def _take_key() -> str:
    """Return the key, and take it out of the environment: processes that we start need none."""
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        raise ArgumentError(
            f"{KEY_VARIABLE} is not set.",
            param=KEY_VARIABLE,
            hint="Put the key that clients must send into it.",
        )
    return key


def _allow_connections() -> None:
    """Raise the limit of open files, often 1,024, to what this process may have."""
    if resource is None:
        return
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems allow less than they report
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _loader(config: EngineConfig, memory_gib: float | None) -> EngineLoader:
    """Return what loads engines on the devices of this machine."""
    # Not imported at the top: torch and transformers take seconds, and what is wrong with the
    # arguments or the port is known without them.
    with heavy_imports():
        from conduit_nb.lmlite.devices import Devices
        from conduit_nb.lmlite.engine_loader import EngineLoader
    return EngineLoader(config, Devices(config.device, memory_gib=memory_gib))


def _bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that can listen; raises OSError where the port is taken."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        version = ipaddress.ip_address(address)
    except ValueError as err:
        raise ArgumentError(
            f"--host {host} is no address.", param="host", hint="Leave --host out."
        ) from err
    if not version.is_loopback:
        raise ArgumentError(
            f"--host {host} would serve other machines, without encryption.",
            param="host",
            hint="Leave --host out; to serve others, put a proxy with TLS before it.",
        )
    listener = socket.socket(socket.AF_INET6 if version.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(
    listener: socket.socket, key: str, loader: EngineLoader, options: argparse.Namespace
) -> None:
    activity = Activity()
    pool = ModelPool(loader, max_in_flight=options.max_concurrency + options.max_waiting)
    version = importlib.metadata.version("conduit-nb")
    ended = asyncio.Event()
    server = _Server(
        uvicorn.Config(
            make_app(pool, activity, key=key, version=version),
            http=Connection,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
        ),
        asyncio.get_running_loop(),
        ended.set,
    )
    host, port = listener.getsockname()[:2]
    log_event(
        "started",
        url=f"http://{host}:{port}",
        pid=os.getpid(),
        version=version,
        device=pool.device,
        budget_mib=sum(loader.budgets().values()) >> 20,
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        log_event("stopping", reason=await _reason(serving, ended, activity, options.idle_s))
        activity.is_stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.drain_s):
                await activity.until_quiet()
        log_event("stopped", unfinished=activity.requests)
        # Requests that still run fail now, and their clients get the error.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await pool.close()
    finally:
        server.should_exit = True
        await serving


async def _reason(
    serving: asyncio.Task[None], ended: asyncio.Event, activity: Activity, idle_s: float | None
) -> str:
    """Wait until there is a reason to end, and return it."""
    reasons = {serving: "failed", asyncio.create_task(ended.wait()): "signal"}
    if idle_s is not None:
        reasons[asyncio.create_task(activity.until_idle(idle_s))] = "idle"
    try:
        done, _ = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        return reasons[done.pop()]
    finally:
        for task in reasons:
            if task is not serving:
                task.cancel()


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours to handle: running requests are finished first."""

    def __init__(
        self, config: uvicorn.Config, loop: asyncio.AbstractEventLoop, on_signal: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._loop = loop
        self._on_signal = on_signal
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's
        """Pass the signal on; the second one ends the process at once."""
        self._signals += 1
        if self._signals > 1:
            _exit(128 + sig)
        self._loop.call_soon_threadsafe(self._on_signal)


def _exit(code: int) -> NoReturn:
    # Not sys.exit: a thread that loads a model or fetches gigabytes cannot be stopped, and the
    # interpreter would wait for it. What it writes is whole or not at all.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _exit(main())
