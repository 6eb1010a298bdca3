"""One run over rows, under way on the session's loop while its starter does something else.

Layer 4.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from conduit_nb.blocks.host import LOOK_EVERY_S, Host, begun, use_host, wait_until_done
from conduit_nb.blocks.ports import snapshots
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ConduitError, Interrupted
from conduit_nb.events import Event, Events, ModelReady
from conduit_nb.runs.progress import Progress
from conduit_nb.runs.rows import Runs, answer_rows

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")

BESIDE_S = 2.0


class Run(Generic[In, Out]):
    """A run: made, then started once. Safe to ask from any thread.

    `rows` are those that are asked about: copies, as they were when the run was made.
    """

    def __init__(
        self,
        host: Host,
        block: Runs[In, Out],
        rows: Sequence[In | ConduitError],
        *,
        window: int = 64,
    ) -> None:
        self.progress = Progress(len(rows))
        self._host = host
        self._block = block
        self.rows = snapshots(rows)
        self._window = window
        self._on_row: Callable[[], None] | None = None
        self._when_ended: Callable[[], None] | None = None
        self._beside: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._beside_task: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_submitted = self._is_stopping = False
        self._lock = threading.Lock()
        self._outcomes: list[Out | ConduitError | None] = [None] * len(rows)
        self._ended = threading.Event()
        self._cancelled = False
        self._future: concurrent.futures.Future[None] | None = None

    def start(
        self,
        *,
        on_row: Callable[[], None] | None = None,
        when_ended: Callable[[], None] | None = None,
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Begin; once.

        `on_row` is called after each row that ends, `when_ended` once, however the run ends, and
        before `wait` returns; both on the host's loop, where an error of `on_row` ends no row.
        `beside` is done there when the first row has ended; the end waits for it, though not for
        long, and an interrupt not at all.
        """
        assert not self._is_submitted, "a run starts once"
        self._is_submitted = True
        self._on_row = on_row
        self._when_ended = when_ended
        self._beside = beside
        self._future = self._host.submit(self._work())

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._ended.is_set() or (self._future is not None and self._future.done())

    @property
    def is_cancelled(self) -> bool:
        """Whether it was stopped before every row had ended."""
        return self._cancelled or (self._future is not None and self._future.cancelled())

    def outcomes(self) -> list[Out | ConduitError]:
        """Return what each row has come to; a row that has not ended is Interrupted."""
        with self._lock:
            outcomes = list(self._outcomes)
        unfinished = Interrupted("The run was stopped before this row was answered.")
        return [unfinished if outcome is None else outcome for outcome in outcomes]

    @property
    def failure(self) -> BaseException | None:
        """What went wrong with the run itself, never a row's error; None until it has ended."""
        future = self._future
        if future is None or not future.done() or future.cancelled():
            return None
        return future.exception()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, at most `timeout_s`; say whether it has come. See also `failure`."""
        if timeout_s is None:
            while not self.wait(LOOK_EVERY_S):
                pass
            return True
        done, _ = concurrent.futures.wait([self._started()], timeout=timeout_s)
        return bool(done)

    def cancel(self, *, timeout_s: float = 5.0) -> None:
        """Stop it and wait until nothing of it runs; what has ended is kept. Idempotent."""
        if not self._is_submitted:
            self._cancelled = True
            return
        with self._lock:
            self._is_stopping = True
            task = self._task
        if self.is_done:
            return
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and all work with it
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._ended.wait(timeout_s)

    async def wait_async(self) -> None:
        """Wait for the end on the caller's own event loop; abandoning the wait stops nothing."""
        await wait_until_done(self._started())

    def _started(self) -> concurrent.futures.Future[None]:
        assert self._future is not None, "start it first"
        return self._future

    async def _work(self) -> None:
        try:
            self._begin()
            progress = self.progress
            with (
                self._host.events.heard(self._on_outer_event),
                use_host(_Watched(self._host, progress.on_event, progress.ready)),
                begun(time.monotonic()),
            ):
                await answer_rows(self._block, self.rows, window=self._window, on_row=self._keep)
            self.progress.end()
            if self._beside_task is not None:
                await asyncio.wait([self._beside_task], timeout=BESIDE_S)
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        finally:
            self.progress.end()
            if self._beside_task is not None:
                self._beside_task.cancel()
            try:
                if self._when_ended is not None:
                    self._when_ended()
            finally:
                self._ended.set()

    def _begin(self) -> None:
        with self._lock:
            self._task = asyncio.current_task()
            if self._is_stopping:  # an interrupt was quicker
                raise asyncio.CancelledError

    def _on_outer_event(self, event: Event) -> None:
        """Take notice of a model that is loaded: the watch of its server tells, not a request."""
        if isinstance(event, ModelReady):
            self.progress.ready()

    def _keep(self, index: int, outcome: Out | ConduitError) -> None:
        with self._lock:
            self._outcomes[index] = outcome
        self.progress.on_row(index, outcome)
        if self._beside is not None and self._beside_task is None:
            self._beside_task = asyncio.get_running_loop().create_task(self._beside())
        if self._on_row is not None:  # a display that is gone must not end rows that are paid for
            asyncio.get_running_loop().call_soon(self._on_row)


class _Watched:
    """The host, with a hook that hears only of what this run does."""

    def __init__(
        self, host: Host, listener: Callable[[Event], None], when_ready: Callable[[], None]
    ) -> None:
        self._host = host
        self._events = _Forwarded(host.events)
        self._events.subscribe(listener)
        self._when_ready = when_ready
        self._has_endpoint = False

    @property
    def events(self) -> Events:
        return self._events

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return self._host.submit(work)

    def is_loop_thread(self) -> bool:
        return self._host.is_loop_thread()

    async def endpoint(self, target: DeploymentRequest | str, *, fresh: bool = False) -> Endpoint:
        endpoint = await self._host.endpoint(target, fresh=fresh)
        if not self._has_endpoint:
            self._has_endpoint = True
            self._when_ready()
        return endpoint


class _Forwarded(Events):
    """A hook of its own that passes everything on to another."""

    def __init__(self, outer: Events) -> None:
        super().__init__()
        self._outer = outer

    def emit(self, event: Event) -> None:
        super().emit(event)
        self._outer.emit(event)

    def new_call(self) -> int:
        return self._outer.new_call()
