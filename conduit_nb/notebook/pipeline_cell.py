"""`%%conduit pipeline`: blocks chained in a cell, checked at once, bound and drawn.

Layer 7.
"""

from __future__ import annotations

import ast
from typing import Any, cast

from conduit_nb.blocks.base import Block
from conduit_nb.blocks.files import FileSystemReadBlock, FileSystemWriteBlock
from conduit_nb.blocks.http import HttpGetBlock, HttpPostBlock
from conduit_nb.blocks.shell import SystemCommandBlock
from conduit_nb.blocks.sqlite import Sqlite3Block
from conduit_nb.errors import ArgumentError, PipelineError
from conduit_nb.notebook.cell import PROVIDED, run_statements
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.expressions import overwritten, users_names
from conduit_nb.notebook.pipeline_display import PipelineView
from conduit_nb.notebook.shell import Cell, show_line
from conduit_nb.notebook.tasks import variable
from conduit_nb.spelling import nearest

# Blocks that a cell may name without having imported them; what the user has defined wins.
BLOCKS: dict[str, object] = {
    kind.__name__: kind
    for kind in (
        FileSystemReadBlock,
        FileSystemWriteBlock,
        HttpGetBlock,
        HttpPostBlock,
        Sqlite3Block,
        SystemCommandBlock,
    )
}


def define_pipeline(cell: Cell, name: str) -> PipelineView:
    """Carry out `%%conduit pipeline`: bind NAME to the chain the cell ends with, and draw it."""
    shell, body = cell.shell, cell.body
    name = variable(name, what="NAME")
    filename = shell.compile.cache("\n" + body, shell.execution_count, raw_code=body)
    value: Any = run_statements(
        body,
        shell.user_ns,
        filename=filename,
        compiler=shell.compile,
        provided={**PROVIDED, **BLOCKS},
        last=_require_chain,
        hint_for=lambda missing: _hint(missing, shell.user_ns),
    )
    if not isinstance(value, Block):
        raise _no_block(value)
    for warning in overwritten(shell.user_ns, name, may_be=(Block,)):
        show_line(shell, Line(warning))
    shell.push({name: value})
    return PipelineView(cast("Block[Any, Any]", value), name=name)


def _require_chain(module: ast.Module) -> ast.Expr:
    """Return the cell's last statement, which is the chain."""
    last = module.body[-1] if module.body else None
    if isinstance(last, ast.Expr):
        for before in module.body[:-1]:
            if isinstance(before, ast.Expr) and isinstance(before.value, ast.Name | ast.BinOp):
                dropped = ast.unparse(before)
                raise ArgumentError(
                    f"`{dropped}` stands on a line of its own and would not be in the chain.",
                    hint=f"Chain the lines: {dropped} >> {ast.unparse(last)}",
                ).at_line(before.lineno, dropped)
        return last
    raise ArgumentError(
        "The cell does not end with a chain of blocks.",
        hint="Its last line is the chain itself, like `listing >> extract >> save`.",
    )


def _no_block(value: Any) -> PipelineError:
    shown = value.__name__ if isinstance(value, type) else type(value).__name__
    cure = (
        f"Make one of it: {shown}(...)."
        if isinstance(value, type) and Block in value.__mro__
        else f"Chain {shown}'s .task(In, Out)."
        if hasattr(value, "task")
        else "Chain blocks: what `%%conduit block` made, or FileSystemReadBlock() and its like."
    )
    return PipelineError(f"The cell ends with {shown}, which is no block.", hint=cure)


def _hint(missing: str, namespace: dict[str, Any]) -> str:
    blocks = [name for name, value in namespace.items() if isinstance(value, Block)]
    return (
        nearest(missing, [*blocks, *BLOCKS])
        or nearest(missing, users_names(namespace))
        or (f"There is: {', '.join(blocks)}." if blocks else "")
        or "Make it in a cell above, with `%%conduit block`."
    )
