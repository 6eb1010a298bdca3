"""`%%conduit block`: an instruction becomes a typed function.

Layer 7.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence

from conduit_nb.blocks.base import Block
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.examples import read_examples
from conduit_nb.notebook.expressions import BUILTINS, overwritten, resolve
from conduit_nb.notebook.mdl_display import SchemaListings
from conduit_nb.notebook.reloaded import require_reloaded
from conduit_nb.notebook.shell import Shell, show_line
from conduit_nb.notebook.tasks import add_task_options, task_of
from conduit_nb.schemas import schema_of

USAGE = "%%conduit block NAME --input In --output Out [--model ID]"


def define_block(shell: Shell, tokens: Sequence[str], cell: str) -> SchemaListings:
    """Carry out `%%conduit block`: bind NAME to a callable from In to Out, and show both."""
    arguments = make_parser().parse_line(tokens)
    name = variable(arguments.name, what="NAME")
    input_type = resolve(arguments.input, shell.user_ns, what="--input")
    output_type = resolve(arguments.output, shell.user_ns, what="--output")
    takes, gives = (schema_of(kind, namespace=shell.user_ns) for kind in (input_type, output_type))
    require_reloaded(takes, gives)
    task = task_of(
        arguments,
        input_type,
        output_type,
        name=name,
        guidance=cell.strip(),
        examples=read_examples(arguments.examples, shell.user_ns, takes, gives),
    )
    for warning in overwritten(shell.user_ns, name, may_be=(Block,)):
        show_line(shell, Line(warning))
    shell.push({name: task})
    return SchemaListings(
        {"takes": takes.mdl, "gives": gives.mdl},
        head=f"{name}: {takes.name} -> {gives.name}",
    )


def make_parser() -> MagicParser:
    """Return what reads the line of `%%conduit block`."""
    parser = MagicParser("%%conduit block", usage=USAGE)
    parser.add_argument("name", metavar="NAME")
    parser.option("--input", required=True, metavar="In")
    parser.option("--output", required=True, metavar="Out")
    add_task_options(parser)
    return parser


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
