"""`%conduit` and `%%conduit`: the commands of the one table, in a notebook.

The table and what carries a command out are loaded when they are first used, so that
`%load_ext conduit_nb` costs next to nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from conduit_nb.errors import ArgumentError, Interrupted, SchemaError
from conduit_nb.notebook.arguments import split_line, with_values
from conduit_nb.notebook.interrupts import interrupted_after
from conduit_nb.notebook.local_names import (
    borrowed,
    callers_names,
    names_seen,
    use_local_names,
)
from conduit_nb.notebook.notices import MovingLine, NoticeBoard
from conduit_nb.notebook.reattached import reattached_line

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from conduit_nb.notebook.shell import Shell

HELP = ("-h", "--help")
_ASKED = re.compile(r"%{1,2}conduit\s+([a-z]+)\s*\?{1,2}")


@magics_class
class ConduitMagics(Magics):
    """Typed AI pipelines. `%conduit help` says what there is."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        kernel = getattr(shell, "kernel", None)
        place = "cell" if kernel else "terminal" if sys.stdout.isatty() else "log"
        self.notices = NoticeBoard(MovingLine(lambda: sys.stdout, place))

    @no_var_expand
    @line_cell_magic
    def conduit(self, line: str, cell: str | None = None) -> Any:
        """Define schemas and blocks, map rows to records, see what runs, and what it costs.

        Over a cell, for a DataFrame `reviews` with a column `text`::

            %%conduit map reviews -o verdicts
            class Verdict:
                '''Say how the reviewer feels about the product.'''
                sentiment: Literal["positive", "negative"]

        On a line::

            %conduit ps               what runs
            %conduit cost             what it costs
            %conduit help             every word; `%conduit help map` or `%conduit map?` for one
        """
        tokens = split_line(line)
        if not tokens and cell and cell.strip():
            raise ArgumentError(
                "%%conduit does not say what to do with the cell.",
                hint="Write one of these after it: schema, block, map, pipeline; see"
                " %conduit help.",
            )
        word, rest = (tokens[0], tokens[1:]) if tokens else ("help", [])
        if word in HELP:
            word = "help"
        elif any(token in HELP for token in rest):
            word, rest = "help", [word, *(token for token in rest if token not in HELP)]
        shell = cast("Shell", self.shell)
        local = callers_names(shell.user_ns)
        try:
            with interrupted_after():  # half an import of numpy could not be made good
                run = _runner()
            with use_local_names(local), borrowed(local, shell.user_ns, cell or ""):
                rest = with_values(rest, names_seen(shell.user_ns))
                self.notices.listen()
                return run(shell, word, rest, cell)
        except SchemaError as error:
            import_module("conduit_nb.notebook.cell").point(error, cell or "")
            raise
        except KeyboardInterrupt:
            sign = "%" if cell is None else "%%"
            raise Interrupted(f"{sign}conduit {word} was stopped.", hint="Run it again.") from None


def load(shell: InteractiveShell | None) -> None:
    """Register the magics, show notices from now on, and say what still runs."""
    if shell is None:
        raise ArgumentError(
            "%%conduit needs IPython, and this is a plain Python program.",
            hint="Use a block here: LMLiteBlock([model]).task(In, Out).batch(records).",
        )
    magics = ConduitMagics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.notices.listen)
    shell.events.register("post_run_cell", magics.notices.settle)
    shell.input_transformers_cleanup.append(keep_empty_cell)
    _matchers(shell).append(complete)
    if line := reattached_line():
        print(line)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away."""
    magics = shell.magics_manager.registry.pop("ConduitMagics", None)
    if magics is None:
        return
    registered: dict[str, dict[str, object]] = cast("Any", shell.magics_manager).magics
    for kind in ("line", "cell"):
        registered[kind].pop("conduit", None)
    shell.events.unregister("pre_run_cell", magics.notices.listen)
    shell.events.unregister("post_run_cell", magics.notices.settle)
    magics.notices.close()
    shell.input_transformers_cleanup.remove(keep_empty_cell)
    _matchers(shell).remove(complete)


def _matchers(shell: InteractiveShell) -> list[object]:
    return cast("Any", shell).Completer.custom_matchers


def keep_empty_cell(lines: list[str]) -> list[str]:
    """Give `%%conduit …` without a body an empty line, and answer `%conduit map?` with its help.

    IPython answers a cell magic without a body itself, with an error that does not fail the cell;
    and with `map?` it looks for a function of that name.
    """
    asked = _ASKED.fullmatch("".join(lines).strip())
    if asked:
        return [f"%conduit help {asked[1]}\n"]
    if len(lines) == 1 and lines[0].startswith("%%conduit"):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


def complete(context: CompletionContext) -> SimpleMatcherResult:
    """Complete what stands behind `%conduit`; what does the work is loaded when there is some."""
    if "%conduit" not in context.line_with_cursor:
        return {"completions": []}
    return import_module("conduit_nb.notebook.completion").complete(context)


complete.matcher_api_version = 2  # pyright: ignore[reportFunctionMemberAccess]  # IPython's protocol
complete.matcher_identifier = "conduit"  # pyright: ignore[reportFunctionMemberAccess]  # IPython's protocol
complete.matcher_priority = 100  # pyright: ignore[reportFunctionMemberAccess]  # IPython's protocol


def _runner() -> Callable[[Shell, str, Sequence[str], str | None], Any]:
    """Return what runs a command; loaded with the first one, as the table takes a moment."""
    return import_module("conduit_nb.notebook.running").run_command
