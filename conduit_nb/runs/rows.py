"""Answer many rows with one block: a window of them at once, each with its own error.

Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from conduit_nb.blocks.base import as_block_error
from conduit_nb.blocks.ports import snapshots
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    ContextLengthError,
    DeploymentError,
    EndpointAuthError,
    MissingExtraError,
    ModelError,
    StorageError,
)
from conduit_nb.together import all_or_none

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

# What fails one row like this fails every row; each may have cost a whole boot to find out.
CONDEMNING = (DeploymentError, EndpointAuthError, MissingExtraError, ModelError, StorageError)


class Runs(Protocol[In_contra, Out_co]):
    """What answers rows: a block, or a task with details."""

    def run(self, record: In_contra) -> Coroutine[Any, Any, Out_co]:
        """Answer one record."""
        ...


def run_rows(
    block: Runs[In, Out],
    rows: Sequence[In | ConduitError],
    *,
    window: int = 64,
    on_row: Callable[[int, Out | ConduitError], None] | None = None,
) -> Coroutine[Any, Any, list[Out | ConduitError]]:
    """Return what `block` answers to each row, in order; what goes wrong for one is its error.

    The rows are taken as they are when this is called. A row that is an error already stays it. At
    most `window` rows are in flight. Once a row has shown that no row can succeed (no server, no
    such model), the rows not begun get its error. `on_row` hears of each row as it ends; on
    cancellation unfinished rows are cancelled and those that ended were told.
    """
    return answer_rows(block, snapshots(rows), window=window, on_row=on_row)


async def answer_rows(
    block: Runs[In, Out],
    rows: Sequence[In | ConduitError],
    *,
    window: int,
    on_row: Callable[[int, Out | ConduitError], None] | None,
) -> list[Out | ConduitError]:
    """Do what `run_rows` does with rows that nobody else changes."""
    if window < 1:
        raise ArgumentError(
            f"window={window} is below 1.", param="window", hint="Leave window out to get 64."
        )
    outcomes: dict[int, Out | ConduitError] = {}
    verdict = _Verdict()
    waiting = enumerate(rows)
    count = min(window, len(rows))
    await all_or_none(*(_work(block, waiting, verdict, outcomes, on_row) for _ in range(count)))
    return [outcomes[index] for index in range(len(rows))]


class _Verdict:
    """The error that no row can escape, once one is known."""

    def __init__(self) -> None:
        self.error: ConduitError | None = None

    def hear(self, error: ConduitError) -> None:
        if isinstance(error, CONDEMNING) and not isinstance(error, ContextLengthError):
            self.error = self.error or error


async def _work(
    block: Runs[In, Out],
    waiting: Iterator[tuple[int, In | ConduitError]],
    verdict: _Verdict,
    outcomes: dict[int, Out | ConduitError],
    on_row: Callable[[int, Out | ConduitError], None] | None,
) -> None:
    for index, row in waiting:
        outcome: Out | ConduitError
        if isinstance(row, ConduitError):
            outcome = row
        elif verdict.error is not None:
            outcome = verdict.error
        else:
            outcome = await _answer(block, row, verdict)
        outcomes[index] = outcome
        if on_row is not None:
            on_row(index, outcome)
        await asyncio.sleep(0)  # many rows that need no work must not hold up the loop


async def _answer(block: Runs[In, Out], row: In, verdict: _Verdict) -> Out | ConduitError:
    try:
        with as_block_error("The block"):
            return await block.run(row)
    except ConduitError as error:
        verdict.hear(error)
        return error
