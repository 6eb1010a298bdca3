"""`%conduit` and `%%conduit`: which word does what.

Each word's module is loaded when the word is first used, so that `%load_ext conduit_nb` costs
next to nothing.
Layer 6.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import nearest, split_line
from conduit_nb.notebook.notices import NoticeBoard
from conduit_nb.notebook.reattached import reattached_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from conduit_nb.notebook.shell import Shell

LINE_WORDS = {
    "ps": "conduit_nb.notebook.commands:ps",
    "models": "conduit_nb.notebook.commands:models",
    "logs": "conduit_nb.notebook.commands:logs",
    "stop": "conduit_nb.notebook.commands:stop",
    "plan": "conduit_nb.notebook.plan_line:show_plan",
    "offerings": "conduit_nb.notebook.offerings_line:show_offerings",
    "deploy": "conduit_nb.notebook.deploy_lines:deploy",
    "start": "conduit_nb.notebook.deploy_lines:start",
    "restart": "conduit_nb.notebook.deploy_lines:restart",
    "terminate": "conduit_nb.notebook.deploy_lines:terminate",
    "extend": "conduit_nb.notebook.deploy_lines:extend",
    "adopt": "conduit_nb.notebook.deploy_lines:adopt",
    "gc": "conduit_nb.notebook.deploy_lines:gc",
    "cost": "conduit_nb.notebook.deploy_lines:cost",
    "doctor": "conduit_nb.notebook.deploy_lines:doctor",
    "receipts": "conduit_nb.notebook.receipts_line:show_receipts",
    "help": "conduit_nb.notebook.commands:show_help",
}
CELL_WORDS = {
    "schema": "conduit_nb.notebook.schema_cell:define_schemas",
    "block": "conduit_nb.notebook.block_cell:define_block",
    "map": "conduit_nb.notebook.map_cell:map_rows",
}
HELP = ("-h", "--help")


@magics_class
class ConduitMagics(Magics):
    """Typed AI pipelines. `%conduit help` says what there is."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.notices = NoticeBoard()

    @no_var_expand
    @line_cell_magic
    def conduit(self, line: str, cell: str | None = None) -> Any:
        """Define schemas and blocks, map rows to records, see what runs: `%conduit help`."""
        tokens = split_line(line)
        if not tokens and cell and cell.strip():
            raise ArgumentError(
                "%%conduit does not say what to do with the cell.",
                hint=f"Write one of these after it: {', '.join(CELL_WORDS)}; see %conduit help.",
            )
        word, rest = (tokens[0], tokens[1:]) if tokens else ("help", [])
        if word in HELP:
            word = "help"
        elif any(token in HELP for token in rest):
            word, rest = "help", [word]
        command = _command(word, cell)
        self.notices.listen()
        return command(cast("Shell", self.shell), rest, cell or "")


def load(shell: InteractiveShell) -> None:
    """Register the magics, show notices from now on, and say what still runs."""
    magics = ConduitMagics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.notices.listen)
    shell.events.register("post_run_cell", magics.notices.listen)
    shell.input_transformers_cleanup.append(keep_empty_cell)
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
    shell.events.unregister("post_run_cell", magics.notices.listen)
    magics.notices.close()
    shell.input_transformers_cleanup.remove(keep_empty_cell)


def keep_empty_cell(lines: list[str]) -> list[str]:
    """Give `%%conduit …` without a body an empty line.

    IPython answers a cell magic without a body itself, with an error that does not fail the cell.
    """
    if len(lines) == 1 and lines[0].startswith("%%conduit"):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


def _command(word: str, cell: str | None) -> Any:
    words, others, sign = (
        (LINE_WORDS, CELL_WORDS, "%%") if cell is None else (CELL_WORDS, LINE_WORDS, "%")
    )
    if word == "help":
        words = LINE_WORDS
    if word in words:
        module, _, function = words[word].partition(":")
        return getattr(import_module(module), function)
    if word in others:
        kind = "stands over a cell" if cell is None else "stands on a line of its own"
        raise ArgumentError(
            f"{word} {kind}.", hint=f"Write {sign}conduit {word}; see %conduit help {word}."
        )
    known = [*LINE_WORDS, *CELL_WORDS]
    raise ArgumentError(
        f"There is no %conduit {word}.",
        hint=nearest(word, known) or f"There is: {', '.join(known)}.",
    )
