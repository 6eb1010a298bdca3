"""Run the quickstart notebook for real and print its result: what `make demo` does.

The notebook on disk is not written; the cell that is tagged `result` is the one that is printed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

import conduit_nb
from conduit_nb.errors import ConduitError
from conduit_nb.lmlite.convert import converted
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "01_quickstart.ipynb"


def main() -> int:
    """Fetch the model, run the notebook, print the result; return the exit code."""
    try:
        served_before = {deployment.name for deployment in conduit_nb.ps()}
        converted(find_model(EMBEDDED_MODEL_ID, progress=tell), progress=tell)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        run(notebook)
        tell("the result:\n")
        print(result_of(notebook))
        tell(f"open it yourself: make lab, then {NOTEBOOK.name}")
        for deployment in conduit_nb.ps():
            if deployment.name not in served_before:
                conduit_nb.stop(deployment.name)
    except ConduitError as error:
        print(f"\ndemo: {error}\n  {error.hint}", file=sys.stderr)
        return 1
    except CellExecutionError as error:
        print(f"\ndemo: a cell failed: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    return 0


def run(notebook: NotebookNode) -> None:
    """Execute every cell in a fresh kernel, telling which one is at work."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    started = time.monotonic()

    def tell_start(cell: NotebookNode, **_: object) -> None:
        if cell in code:
            first = cell.source.strip().splitlines()[0][:70]
            tell(f"cell {code.index(cell) + 1}/{len(code)}: {first}")

    tell(f"running {NOTEBOOK.name} in a kernel of its own")
    client = NotebookClient(
        notebook,
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


def tell(line: str) -> None:
    """Print a progress line at once, in a pipe as well."""
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
