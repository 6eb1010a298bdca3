"""Blocks chained with `>>`: a block again, whatever way the chain was put together.

Layer 3.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.records import RESULTS, FileReadResult, FileWriteResult, Result
from conduit_nb.errors import BlockError, PipelineError, UntrustedBlockError, ValidationError

In = TypeVar("In", contravariant=True)
Middle = TypeVar("Middle")
Out = TypeVar("Out", covariant=True)


class Pipeline(Block[In, Out]):
    """Two or more blocks, each taking what the one before it gives. Make one with `a >> b`.

    A step without success ends it with a BlockError, unless the next block `takes_failures`.
    Raises PipelineError where two neighbours do not fit, and UntrustedBlockError where a block
    with effects was not made with `trusted=True`: in a pipeline, records may come from a model.
    """

    def __init__(self, first: Block[In, Middle], second: Block[Middle, Out]) -> None:
        for block in (first, second):
            _require_block(block)
            _renew(block)
        _require_fit(first, second)
        self.blocks = (*_steps(first), *_steps(second))
        for block in self.blocks:
            _require_trust(block)
        super().__init__(
            first.input_type,
            second.output_type,
            name=" >> ".join(block.name for block in self.blocks),
            has_effects=any(block.has_effects for block in self.blocks),
            trusted=True,
        )

    def renew(self) -> None:
        super().renew()
        for block in self.blocks:
            block.renew()

    async def _run(self, record: In, call: Call) -> Out:  # noqa: ARG002  # its blocks make their own
        value: Any = record
        before = ""
        for block in self.blocks:
            if isinstance(value, RESULTS) and not block.takes_failures:
                _require_success(before, value)
            value = await block.run(value)
            before = block.name
        return cast("Out", value)


def _steps(block: Block[Any, Any]) -> tuple[Block[Any, Any], ...]:
    return block.blocks if isinstance(block, Pipeline) else (block,)


def _require_block(block: object) -> None:
    if isinstance(block, Block):
        return
    shown = block.__name__ if isinstance(block, type) else type(block).__name__
    hint = "Chain blocks with blocks."
    if hasattr(block, "task"):
        hint = f"Chain {shown}'s .task(In, Out)."
    elif isinstance(block, type) and issubclass(block, Block):
        hint = f"It is a class: make a block of it, {shown}(...)."
    raise PipelineError(f"{shown} is no block and cannot stand in a pipeline.", hint=hint)


def _renew(block: Block[Any, Any]) -> None:
    try:
        block.renew()
    except ValidationError as error:
        raise PipelineError(f"{error}.", hint=error.hint) from error


def _require_fit(first: Block[Any, Any], second: Block[Any, Any]) -> None:
    last, following = _steps(first)[-1], _steps(second)[0]
    if following.input_port.accepts(last.output_port):
        return
    gives, takes = str(last.output_port), str(following.input_port)
    if gives == takes:
        raise PipelineError(
            f"{gives} was redefined: {last.name} and {following.name} have different ones.",
            hint=f"Run the cells of {last.name} and {following.name} again.",
        )
    raise PipelineError(
        f"{last.name} gives {gives}, but {following.name} takes {takes}.",
        hint="Put a block between them that makes the one out of the other.",
    )


def _require_success(block: str, result: Result) -> None:
    if not result.success:
        at = f" ({result.path})" if isinstance(result, FileReadResult | FileWriteResult) else ""
        raise BlockError(
            f"{block} failed: {result.reason}{at}",
            hint="The blocks after it did not run. Call it by itself to see its whole result.",
        )


def _require_trust(block: Block[Any, Any]) -> None:
    if block.has_effects and not block.trusted:
        raise UntrustedBlockError(
            f"{block.name} has effects, and in a pipeline its records may come from a model "
            "or from outside.",
            hint=f"If you trust all that reaches it, make it with {type(block).__name__}"
            "(..., trusted=True); or call it directly with a record of your own.",
        )
