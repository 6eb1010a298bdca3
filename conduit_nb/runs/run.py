"""Answer many rows with one block: a window at a time, each with its own error, with progress.

`run_rows` is awaited by its caller; a `Run` does the same on the session's loop while its starter
does something else, and counts its `Progress`. Knows no display.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from conduit_nb.blocks.base import as_block_error
from conduit_nb.blocks.host import LOOK_EVERY_S, Host, begun, use_host, wait_until_done
from conduit_nb.blocks.ports import snapshots
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    ContextLengthError,
    DeploymentError,
    EndpointAuthError,
    Interrupted,
    MissingExtraError,
    ModelError,
    StorageError,
)
from conduit_nb.events import Event, Events, ModelReady, TokensUsed
from conduit_nb.together import all_or_none

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

RATE_WINDOW_S = 30.0
SIDE_TASK_TIMEOUT_S = 2.0
# Errors that every other row would meet too; finding out again may cost a boot for each.
FATAL_ERRORS = (DeploymentError, EndpointAuthError, MissingExtraError, ModelError, StorageError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The progress of a run at one moment.

    `rows_per_s` and `eta_s` are None until a row has been answered; failed rows do not count.
    `start_s` is the time until the server and its model were ready, a part of `elapsed_s`.
    `usd_per_hour` is the price of the servers in use, None where it is not known.
    """

    total: int
    done: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    elapsed_s: float
    rows_per_s: float | None
    eta_s: float | None
    start_s: float = 0.0
    usd_per_hour: float | None = None

    @property
    def spent_usd(self) -> float | None:
        """The cost of the servers so far, None where the price is not known."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.elapsed_s / 3600

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens per second, over the whole run."""
        return self.completion_tokens / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Progress:
    """Counts the rows and tokens of a run. Thread-safe."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.usd_per_hour: float | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._ready = self._started
        self._ended: float | None = None
        self._done = 0
        self._failed = 0
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._recent: deque[float] = deque()

    def on_row(self, index: int, outcome: object) -> None:  # noqa: ARG002  # the shape of a hook
        """Count a row that ended."""
        now = self._clock()
        with self._lock:
            self._done += 1
            if isinstance(outcome, ConduitError):
                self._failed += 1
            else:
                self._recent.append(now)
            self._drop_old(now)

    def on_event(self, event: Event) -> None:
        """Count the tokens of a request; other events are ignored."""
        if not isinstance(event, TokensUsed):
            return
        with self._lock:
            self._prompt_tokens += event.prompt_tokens
            self._completion_tokens += event.completion_tokens

    def ready(self) -> None:
        """Measure the rate from now on, unless a row was answered before.

        Called when the server and its model are ready.
        """
        with self._lock:
            if self._done == self._failed:
                self._ready = self._clock()

    def end(self) -> None:
        """Stop the clock."""
        with self._lock:
            self._ended = self._ended or self._clock()

    def snapshot(self) -> Snapshot:
        """Return the progress so far."""
        with self._lock:
            now = self._ended or self._clock()
            elapsed_s = now - self._started
            rows_per_s = self._rate(now, now - self._ready)
            left = self.total - self._done
            return Snapshot(
                total=self.total,
                done=self._done,
                failed=self._failed,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                elapsed_s=elapsed_s,
                rows_per_s=rows_per_s,
                eta_s=left / rows_per_s if rows_per_s else None,
                start_s=self._ready - self._started,
                usd_per_hour=self.usd_per_hour,
            )

    def _rate(self, now: float, ready_s: float) -> float | None:
        """Return answered rows per second: recent while it runs, overall once it has ended."""
        answered = self._done - self._failed
        if answered == 0 or ready_s <= 0:
            return None
        if self._ended is None:
            self._drop_old(now)
            if self._recent:
                return len(self._recent) / min(ready_s, RATE_WINDOW_S)
        return answered / ready_s

    def _drop_old(self, now: float) -> None:
        while self._recent and self._recent[0] < now - RATE_WINDOW_S:
            self._recent.popleft()


class Runnable(Protocol[In_contra, Out_co]):
    """Anything that answers one record: a block, or a task with details."""

    def run(self, record: In_contra) -> Coroutine[Any, Any, Out_co]:
        """Answer one record."""
        ...


def run_rows(
    block: Runnable[In, Out],
    rows: Sequence[In | ConduitError],
    *,
    window: int = 64,
    on_row: Callable[[int, Out | ConduitError], None] | None = None,
) -> Coroutine[Any, Any, list[Out | ConduitError]]:
    """Answer each row with `block`; return the outcomes in order, an error for a row that failed.

    The rows are copied when this is called. A row that is already an error is returned as it is.
    At most `window` rows are in flight. After an error that every row would meet (no server, no
    such model), the rows that have not started get the same error. `on_row` is called with the
    index and the outcome of each row as it ends. Cancellation cancels the rows in flight.
    """
    return answer_rows(block, snapshots(rows), window=window, on_row=on_row)


async def answer_rows(
    block: Runnable[In, Out],
    rows: Sequence[In | ConduitError],
    *,
    window: int,
    on_row: Callable[[int, Out | ConduitError], None] | None,
) -> list[Out | ConduitError]:
    """Answer rows as `run_rows` does, without copying them."""
    if window < 1:
        raise ArgumentError(
            f"window={window} is below 1.", param="window", hint="Leave window out to get 64."
        )
    outcomes: dict[int, Out | ConduitError] = {}
    fatal = _FatalError()
    pending = enumerate(rows)
    count = min(window, len(rows))
    await all_or_none(*(_work(block, pending, fatal, outcomes, on_row) for _ in range(count)))
    return [outcomes[index] for index in range(len(rows))]


class _FatalError:
    """The first error that every row would meet, once one has occurred."""

    def __init__(self) -> None:
        self.error: ConduitError | None = None

    def record(self, error: ConduitError) -> None:
        if isinstance(error, FATAL_ERRORS) and not isinstance(error, ContextLengthError):
            self.error = self.error or error


async def _work(
    block: Runnable[In, Out],
    pending: Iterator[tuple[int, In | ConduitError]],
    fatal: _FatalError,
    outcomes: dict[int, Out | ConduitError],
    on_row: Callable[[int, Out | ConduitError], None] | None,
) -> None:
    for index, row in pending:
        outcome: Out | ConduitError
        if isinstance(row, ConduitError):
            outcome = row
        elif fatal.error is not None:
            outcome = fatal.error
        else:
            outcome = await _answer(block, row, fatal)
        outcomes[index] = outcome
        if on_row is not None:
            on_row(index, outcome)
        await asyncio.sleep(0)  # many rows that need no work must not hold up the loop


async def _answer(block: Runnable[In, Out], row: In, fatal: _FatalError) -> Out | ConduitError:
    try:
        with as_block_error("The block"):
            return await block.run(row)
    except ConduitError as error:
        fatal.record(error)
        return error


class Run(Generic[In, Out]):
    """A run over rows in the background, started once. Thread-safe.

    `rows` are copies of the rows as they were when the run was made.
    """

    def __init__(
        self,
        host: Host,
        block: Runnable[In, Out],
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
        """Start the run. Call it once.

        All callbacks run on the host's loop. `on_row` is called after each row that ends; its
        errors do not affect the rows. `when_ended` is called once, however the run ends, before
        `wait` returns. `beside` is started when the first row has ended; the end of the run waits
        for it up to SIDE_TASK_TIMEOUT_S, a cancellation does not.
        """
        assert not self._is_submitted, "a run starts once"
        self._is_submitted = True
        self._on_row = on_row
        self._when_ended = when_ended
        self._beside = beside
        self._future = self._host.submit(self._work())

    @property
    def is_done(self) -> bool:
        """Whether the run has ended: completed, failed or cancelled."""
        return self._ended.is_set() or (self._future is not None and self._future.done())

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was cancelled before every row had ended."""
        return self._cancelled or (self._future is not None and self._future.cancelled())

    def outcomes(self) -> list[Out | ConduitError]:
        """Return the outcome of each row so far; a row that has not ended is Interrupted."""
        with self._lock:
            outcomes = list(self._outcomes)
        unfinished = Interrupted("The run was stopped before this row was answered.")
        return [unfinished if outcome is None else outcome for outcome in outcomes]

    @property
    def failure(self) -> BaseException | None:
        """The error of the run itself, never that of a row; None until it has ended."""
        future = self._future
        if future is None or not future.done() or future.cancelled():
            return None
        return future.exception()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait up to `timeout_s` for the end; return whether it has ended. See also `failure`."""
        if timeout_s is None:
            while not self.wait(LOOK_EVERY_S):
                pass
            return True
        done, _ = concurrent.futures.wait([self._started()], timeout=timeout_s)
        return bool(done)

    def cancel(self, *, timeout_s: float = 5.0) -> None:
        """Cancel the run and wait until it has ended; finished outcomes are kept. Idempotent."""
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
        """Wait for the end on the caller's event loop; cancelling the wait leaves the run alone."""
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
                use_host(_ObservedHost(self._host, progress.on_event, progress.ready)),
                begun(time.monotonic()),
            ):
                await answer_rows(self._block, self.rows, window=self._window, on_row=self._keep)
            self.progress.end()
            if self._beside_task is not None:
                await asyncio.wait([self._beside_task], timeout=SIDE_TASK_TIMEOUT_S)
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
            if self._is_stopping:  # cancelled before it started
                raise asyncio.CancelledError

    def _on_outer_event(self, event: Event) -> None:
        """Start the rate's clock at a loaded model: its server's watch reports it, no request."""
        if isinstance(event, ModelReady):
            self.progress.ready()

    def _keep(self, index: int, outcome: Out | ConduitError) -> None:
        with self._lock:
            self._outcomes[index] = outcome
        self.progress.on_row(index, outcome)
        if self._beside is not None and self._beside_task is None:
            self._beside_task = asyncio.get_running_loop().create_task(self._beside())
        if self._on_row is not None:  # called later: a failing display must not end paid rows
            asyncio.get_running_loop().call_soon(self._on_row)


class _ObservedHost:
    """The host, with events of its own that carry only what this run emits."""

    def __init__(
        self, host: Host, listener: Callable[[Event], None], when_ready: Callable[[], None]
    ) -> None:
        self._host = host
        self._events = _ForwardingEvents(host.events)
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


class _ForwardingEvents(Events):
    """Events with their own listeners that are also emitted by `outer`."""

    def __init__(self, outer: Events) -> None:
        super().__init__()
        self._outer = outer

    def emit(self, event: Event) -> None:
        super().emit(event)
        self._outer.emit(event)

    def new_call(self) -> int:
        return self._outer.new_call()
