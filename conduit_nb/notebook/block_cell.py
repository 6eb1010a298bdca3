"""`%%conduit block`: an instruction becomes a typed function.

Layer 7.
"""

from __future__ import annotations

import keyword
from typing import Any

from conduit_nb.blocks.base import Block
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import BlockOptions
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.examples import read_examples
from conduit_nb.notebook.expressions import BUILTINS, overwritten, resolve
from conduit_nb.notebook.mdl_display import SchemaListings
from conduit_nb.notebook.reloaded import require_reloaded
from conduit_nb.notebook.shell import Cell, show_line
from conduit_nb.notebook.tasks import TaskOptions, task_of
from conduit_nb.options import parse_options
from conduit_nb.schemas import schema_of


def define_block(cell: Cell, name: str, **options: Any) -> SchemaListings:
    """Carry out `%%conduit block`: bind NAME to a callable from In to Out, and show both."""
    shell = cell.shell
    name = variable(name, what="NAME")
    line = parse_options(BlockOptions, {one: options.pop(one, None) for one in ("input", "output")})
    input_type, output_type = (
        resolve(getattr(line, one), shell.user_ns, what=f"--{one}") for one in ("input", "output")
    )
    takes, gives = (schema_of(kind, namespace=shell.user_ns) for kind in (input_type, output_type))
    require_reloaded(takes, gives)
    task = TaskOptions.parse(options)
    block = task_of(
        task,
        input_type,
        output_type,
        name=name,
        guidance=cell.body.strip(),
        examples=read_examples(task.model.examples, shell.user_ns, takes, gives),
    )
    for warning in overwritten(shell.user_ns, name, may_be=(Block,)):
        show_line(shell, Line(warning))
    shell.push({name: block})
    return SchemaListings(
        {"takes": takes.mdl, "gives": gives.mdl},
        head=f"{name}: {takes.name} -> {gives.name}",
    )


def variable(text: str, *, what: str) -> str:
    """Return the text if a variable can be called so."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise ArgumentError(
            f"{what} {text!r} is no name for a variable.",
            param=what.lower(),
            hint="Use letters, digits and _, beginning with a letter.",
        )
    if text in BUILTINS:
        raise ArgumentError(
            f"{what} {text!r} is the name of something of Python's own, which would be hidden.",
            param=what.lower(),
            hint=f"Call it something else, my_{text} for example.",
        )
    return text
