"""A typed step, `In -> Out`: what every block is.

Knows how a block is called, checked, chained and heard of; not what any block does.
Layer 3.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import queue
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from conduit_nb.blocks.host import LOOK_EVERY_S, Host, Running, current_host, result_of
from conduit_nb.blocks.ports import Port, snapshot
from conduit_nb.displayed import Displayed
from conduit_nb.errors import ArgumentError, BlockError, ConduitError, Interrupted
from conduit_nb.events import BlockFailed, BlockFinished, BlockStarted, TokensUsed
from conduit_nb.together import all_or_none

if TYPE_CHECKING:
    from conduit_nb.blocks.pipeline import Pipeline

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Next = TypeVar("Next")
T = TypeVar("T")
Record = TypeVar("Record")

BATCH_WINDOW = 64
CLEAN_UP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One record's way through one block: where it runs, and the number its events carry."""

    host: Host
    block: str
    number: int

    def tokens_used(self, *, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Tell what a model read and wrote for this record."""
        self.host.events.emit(
            TokensUsed(
                block=self.block,
                call=self.number,
                model=model,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )
        )


class Block(Displayed, Generic[In, Out]):
    """A typed step: call it with a record, or chain it with `>>`.

    A block of your own derives from this and writes `_run`; where it can use a result without
    success (a failed command's), it says `takes_failures = True`. `has_effects` says that a record
    can make it change the world; such a block stands in a pipeline only when made with
    `trusted=True`.
    """

    takes_failures: ClassVar[bool] = False

    def __init__(
        self,
        input_type: type[In],
        output_type: type[Out],
        *,
        name: str | None = None,
        has_effects: bool = False,
        trusted: bool = False,
    ) -> None:
        self.input_type = input_type
        self.output_type = output_type
        self.name = name or type(self).__name__
        self.has_effects = has_effects
        self.trusted = trusted
        self.input_port = Port.of(input_type)
        self.output_port = Port.of(output_type)

    async def _run(self, record: In, call: Call) -> Out:
        """Answer one record that has been checked; what is returned is checked too."""
        raise NotImplementedError

    @overload
    def __call__(self: Block[None, T]) -> T: ...
    @overload
    def __call__(self, record: In) -> Out: ...
    def __call__(self, record: Any = None, **fields: Any) -> Any:
        """Answer one record and wait for it; an interrupt cancels the work."""
        if fields:
            raise self.input_port.no_record(", ".join(f"{name}=" for name in fields), self.name)
        return wait_for(current_host(), lambda: self.run(record))

    def run(self, record: In) -> Coroutine[Any, Any, Out]:
        """Answer one record: check it, do the work, check the answer, and tell the hook.

        The record is taken as it is when this is called, not when it is awaited.
        """
        return self._run_checked(snapshot(record))

    async def _run_checked(self, record: In) -> Out:
        with observed(self.name) as call:
            self.renew()
            self.input_port.check(record, subject=f"input of {self.name}", user=self.name)
            answer = await self._answer(record, call)
            self.output_port.check(answer, subject=f"output of {self.name}")
        return answer

    def renew(self) -> None:
        """Take the classes as they are defined now, before any work is done with them.

        Raises ValidationError where one means something else than when the block was made.
        """
        self.input_port = self.input_port.renewed(subject=f"input of {self.name}", user=self.name)
        self.output_port = self.output_port.renewed(
            subject=f"output of {self.name}", user=self.name
        )

    async def _answer(self, record: In, call: Call) -> Out:
        with as_block_error(self.name):
            return await self._awaitable(self._run(record, call))

    def _awaitable(self, answer: Awaitable[Out]) -> Awaitable[Out]:
        """Return what `_run` gave; of a block that forgot `async` that is nothing to wait for."""
        if inspect.isawaitable(answer):
            return answer
        raise BlockError(
            f"{self.name}._run is no coroutine.",
            hint="Write it as: async def _run(self, record, call).",
        )

    def batch(self, records: Sequence[In]) -> list[Out | ConduitError]:
        """Answer many records, in order; what goes wrong for one is the error in its place."""
        self.renew()
        several = self.input_port.several(records, f"{self.name}.batch")
        return wait_for(current_host(), lambda: run_all(self._run_checked, several))

    def __rshift__(self, other: Block[Out, Next]) -> Pipeline[In, Next]:
        """Chain: what comes out of this block goes into `other`; PipelineError if it cannot."""
        # A pipeline is a block and a block makes pipelines: one of the two must look late.
        from conduit_nb.blocks.pipeline import Pipeline

        return Pipeline(self, other)

    def __repr__(self) -> str:
        return f"{self.name}: {self.input_port} -> {self.output_port}"


@contextlib.contextmanager
def as_block_error(block: str) -> Generator[None]:
    """Raise whatever comes out of a block as a ConduitError, so that no record fails a batch."""
    try:
        yield
    except ConduitError:
        raise
    except Exception as err:  # a user's block raises what it likes
        raise BlockError(
            f"{block} failed: {type(err).__name__}: {err}",
            hint="It is a bug in the block or a record it cannot take: see error.__cause__.",
        ) from err


async def run_all(
    run: Callable[[Record], Awaitable[T]], records: Sequence[Record]
) -> list[T | ConduitError]:
    """Answer many records with `run`, a window of them at once, each error in its place."""
    window = asyncio.Semaphore(BATCH_WINDOW)

    async def one(record: Record) -> T | ConduitError:
        async with window:
            try:
                with as_block_error("The block"):
                    return await run(record)
            except ConduitError as error:
                return error

    return await all_or_none(*map(one, records))


@contextlib.contextmanager
def observed(block: str) -> Generator[Call]:
    """Tell the hook that a block takes up a record, and how that ended."""
    host = current_host()
    call = Call(host=host, block=block, number=host.events.new_call())
    host.events.emit(BlockStarted(block=block, call=call.number))
    started = time.monotonic()
    try:
        yield call
    except BaseException as error:
        _tell_failure(call, started, error)
        raise
    seconds = time.monotonic() - started
    host.events.emit(BlockFinished(block=block, call=call.number, seconds=seconds))


def _tell_failure(call: Call, started: float, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        error = Interrupted(f"{call.block} was cancelled.")
    if not isinstance(error, ConduitError):  # a bug of ours, or a KeyboardInterrupt
        error = ConduitError(f"{call.block} failed: {type(error).__name__}: {error}")
    seconds = time.monotonic() - started
    call.host.events.emit(
        BlockFailed(block=call.block, call=call.number, seconds=seconds, error=error)
    )


def wait_for(host: Host, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do `work()` on the host's loop and wait for it; an interrupt of the caller cancels it.

    The interrupt is passed on only when the work has cleaned up behind itself.
    """
    if host.is_loop_thread():
        raise would_wait_for_itself()
    running = Running()
    try:
        return result_of(host.submit(running.carry_out(work)))
    except KeyboardInterrupt:
        running.cancel()
        running.wait_for_end(CLEAN_UP_S)
        raise
    except concurrent.futures.CancelledError as error:
        raise Interrupted(
            "The session ended before the block had answered.", hint="Call it again."
        ) from error


def would_wait_for_itself() -> ArgumentError:
    """Return the error for a blocking call on the session's own loop: it would wait for ever."""
    return ArgumentError(
        "A block was called, and waited for, on Conduit's own event loop.",
        hint="Write `await block.run(record)` there instead of `block(record)`.",
    )


def iterate(host: Host, source: AsyncGenerator[T]) -> Iterator[T]:
    """Yield what `source` yields, which is never None; it begins at the first item asked for.

    Closing the iterator, or an interrupt, cancels the source.
    """
    if host.is_loop_thread():
        raise would_wait_for_itself()
    items: queue.SimpleQueue[T | None] = queue.SimpleQueue()

    async def pump() -> None:
        async with contextlib.aclosing(source):
            async for item in source:
                items.put(item)

    running = Running()
    try:
        future = host.submit(running.carry_out(pump))
        future.add_done_callback(lambda _: items.put(None))
        while (item := _next(items)) is not None:
            yield item
        future.result()
    except concurrent.futures.CancelledError as error:
        raise Interrupted("The session ended before the answer was whole.") from error
    finally:
        running.cancel()


def _next(items: queue.SimpleQueue[T]) -> T:
    """Return the next item; never sleep for long, for the reason that `result_of` gives."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=LOOK_EVERY_S)
