"""Run notebooks for real and keep what they show: `python scripts/run_notebooks.py [NOTEBOOK…]`.

What only a living kernel can show (a widget's view) and when a cell was run are left out of the
file. A notebook that fails stays as it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Run those that are named, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        print(f"notebooks: {path.name}", flush=True)
        notebook = nbformat.read(path, as_version=4)
        where = {"metadata": {"path": str(path.parent)}}
        NotebookClient(notebook, timeout=900, resources=where).execute()
        path.write_text(impersonal(nbformat.writes(to_keep(notebook))) + "\n", "utf-8")


def to_keep(notebook: Any) -> Any:
    """Return the notebook without what means nothing to a reader."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if VIEW not in one.get("data", {})]
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.text = as_seen(output.text)
    return notebook


def impersonal(text: str) -> str:
    """Return text without the folders of whose machine it ran on, as a traceback names them."""
    return text.replace(f"{ROOT}/", "").replace(str(ROOT), ".").replace(str(Path.home()), "~")


def as_seen(text: str) -> str:
    """Return text as it stands once every line that was written over is."""
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n"))


if __name__ == "__main__":
    main()
