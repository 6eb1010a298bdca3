"""Run the quickstart notebook for real and print its result: what `make demo` does.

The notebook on disk is not written; the cell that is tagged `result` is the one that is printed.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

import conduit_nb
from conduit_nb.errors import ConduitError
from conduit_nb.lmlite.convert import converted
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "01_quickstart.ipynb"
COLUMNS = max(110, shutil.get_terminal_size().columns)
AS_WIDE_AS_THE_TERMINAL = f'import pandas; pandas.set_option("display.width", {COLUMNS})'


def main() -> int:
    """Fetch the model, run the notebook, print the result; return the exit code."""
    try:
        converted(find_model(EMBEDDED_MODEL_ID, progress=tell), progress=tell)
        with servers_ended_afterwards():
            notebook = nbformat.read(NOTEBOOK, as_version=4)
            notebook.cells.insert(0, nbformat.v4.new_code_cell(AS_WIDE_AS_THE_TERMINAL))
            run(notebook)
            tell("the result:\n")
            print(result_of(notebook))
            tell(f"it is yours to change: make lab, then {NOTEBOOK.name}")
    except ConduitError as error:
        return fail(f"{error}\n  {error.hint}")
    except CellExecutionError as error:
        return fail(f"a cell failed:\n{error.traceback}")
    except (CellTimeoutError, DeadKernelError) as error:
        return fail(f"{error}\n  The server's log may say why: see %conduit logs in a notebook.")
    return 0


@contextmanager
def servers_ended_afterwards() -> Iterator[None]:
    """End the model servers that the notebook started; leave those that ran before."""
    before = {server.name for server in conduit_nb.ps()}
    try:
        yield
    finally:
        for server in conduit_nb.ps():
            if server.name not in before:
                conduit_nb.stop(server.name)


def run(notebook: NotebookNode) -> None:
    """Execute every cell in a fresh kernel, telling which one is at work."""
    code = [cell for cell in notebook.cells[1:] if cell.cell_type == "code"]
    started = time.monotonic()

    def tell_start(cell: NotebookNode, **_: object) -> None:
        if cell in code:
            first = cell.source.strip().splitlines()[0][:70]
            tell(f"cell {code.index(cell) + 1}/{len(code)}: {first}")

    tell(f"running {NOTEBOOK.name} in a kernel of its own")
    client = NotebookClient(
        notebook,
        extra_arguments=["--log-level=ERROR"],
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        on_cell_execute=tell_start,
    )
    client.execute()
    tell(f"done in {time.monotonic() - started:.0f} s")


def result_of(notebook: NotebookNode) -> str:
    """Return the text of the cell that is tagged `result`."""
    shown = [
        output.get("data", {}).get("text/plain") or output.get("text", "")
        for cell in notebook.cells
        if "result" in cell.metadata.get("tags", [])
        for output in cell.outputs
    ]
    return "\n".join(part.rstrip() for part in shown if part)


def fail(message: str) -> int:
    """Say what went wrong, and return the exit code that means it."""
    print(f"\ndemo: {message}", file=sys.stderr)
    return 1


def tell(line: str) -> None:
    """Print a progress line at once, in a pipe as well."""
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
