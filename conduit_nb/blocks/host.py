"""What a block needs from the world, and the one place where it finds it.

A block works alone (`block(record)`), so it cannot be handed a host by its caller: the session is
made at the first need and kept for the process; a test (or an embedding program) puts another in
its place with `use_host`.
Layer 3: knows the session's address, not the session.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, cast

from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.events import Events

T = TypeVar("T")

LOOK_EVERY_S = 0.5


class Host(Protocol):
    """The session, as blocks see it."""

    @property
    def events(self) -> Events:
        """The hook through which every block tells what happens."""
        ...

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the session's event loop; cancelling the future cancels the work."""
        ...

    def is_loop_thread(self) -> bool:
        """Say whether the caller runs on the session's event loop, where it must not wait."""
        ...

    async def endpoint(self, target: DeploymentRequest | str, *, fresh: bool = False) -> Endpoint:
        """Return where a request is served, starting what is missing; or where a name runs.

        `fresh` says that the endpoint handed out before does not answer any more: look again.
        """
        ...


def result_of(work: Future[T]) -> T:
    """Wait for work that another thread does, and return its result; no interrupt is missed.

    Python raises an interrupt between two instructions of the main thread, or where the signal
    breaks off a system call. A signal in the instant before the thread goes to sleep, and one that
    another thread is handed, breaks off nothing: so the thread never sleeps for long. It sleeps on
    a lock of its own, as an interrupt inside the future's could leave that locked for ever.
    """
    is_running = threading.Lock()
    is_running.acquire()
    work.add_done_callback(lambda _: is_running.release())
    while not is_running.acquire(timeout=LOOK_EVERY_S):
        pass
    return work.result()


async def wait_until_done(work: Future[Any]) -> None:
    """Wait on the caller's own event loop; abandoning the wait stops nothing."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    work.add_done_callback(tell)
    await ended.wait()


_override: ContextVar[Host | None] = ContextVar("conduit_host", default=None)


def current_host() -> Host:
    """Return the host of this context: the one put in place, else the process's session."""
    return _override.get() or _process_session()


@contextmanager
def use_host(host: Host) -> Generator[Host]:
    """Let blocks called inside the `with` use `host`."""
    token = _override.set(host)
    try:
        yield host
    finally:
        _override.reset(token)


_began: ContextVar[float | None] = ContextVar("conduit_work_began", default=None)


@contextmanager
def begun(at: float) -> Generator[None]:
    """Let the work inside the `with` be part of what began at a moment of the monotonic clock."""
    token = _began.set(at)
    try:
        yield
    finally:
        _began.reset(token)


def began_at() -> float:
    """Return when the work of this context began: a batch, a map, a call; by default now."""
    began = _began.get()
    return time.monotonic() if began is None else began


class Running:
    """Work that another thread can cancel from the moment on when it was handed over.

    A future alone cannot: an interrupt may come before its waiter has it in hand.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_cancelled = False
        self._task: asyncio.Task[Any] | None = None

    async def carry_out(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do the work, unless it was cancelled before it began."""
        with self._lock:
            if self._is_cancelled:
                raise asyncio.CancelledError
            self._task = asyncio.current_task()
        try:
            with begun(self._began):
                return await work()
        finally:
            self._ended.set()

    def cancel(self) -> bool:
        """Cancel the work; say whether it was ever begun. It will not be from now on."""
        with self._lock:
            self._is_cancelled = True
            task = self._task
        if task is not None and not self._ended.is_set():
            with suppress(RuntimeError):  # the loop is closed, and all work with it
                task.get_loop().call_soon_threadsafe(task.cancel)
        return task is not None

    def wait_for_end(self, timeout_s: float) -> None:
        """Wait until the work has cleaned up, where it was begun."""
        if self._task is not None:
            self._ended.wait(timeout_s)


def _process_session() -> Host:
    # The session lies on a higher layer and is only needed by blocks that are called alone.
    return cast("Host", importlib.import_module("conduit_nb.session").process_session())
