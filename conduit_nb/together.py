"""Doing the same to several things: each is seen to its end, and whatever fails is reported.

Nothing here raises an ExceptionGroup: one failure is raised as it is, several as one error.
Layer 0: imports only errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from conduit_nb.errors import ConduitError, PartlyFailedError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What became of each thing, by its name."""

    done: Mapping[str, T]
    failures: Mapping[str, ConduitError]

    def require_done(self, what: str, *, usd_per_hour: float = 0.0, hint: str = "") -> None:
        """Raise what failed: the error of an only thing, PartlyFailedError of several.

        `what` is the operation ("stop x"), `usd_per_hour` what is still billed because of it.
        """
        if not self.failures:
            return
        if not self.done and len(self.failures) == 1:
            raise next(iter(self.failures.values()))
        raise PartlyFailedError(
            what,
            done=tuple(self.done),
            failures=self.failures,
            usd_per_hour=usd_per_hour,
            hint=hint,
        )


async def each(works: Mapping[str, Coroutine[Any, Any, T]]) -> Outcome[T]:
    """Do all at once, each to its end, and return what became of them.

    An interrupt, and an error that is none of ours, is raised once all have ended.
    """
    results = await asyncio.gather(*works.values(), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, ConduitError):
            raise result
    named = dict(zip(works, results, strict=True))
    return Outcome(
        done={
            name: cast("T", result)
            for name, result in named.items()
            if not isinstance(result, ConduitError)
        },
        failures={
            name: result for name, result in named.items() if isinstance(result, ConduitError)
        },
    )


async def all_or_none(*works: Coroutine[Any, Any, T]) -> list[T]:
    """Do all at once; the first that fails cancels the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    return [task.result() for task in tasks]


def first_error(error: BaseException) -> BaseException:
    """Return the error itself, or the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
