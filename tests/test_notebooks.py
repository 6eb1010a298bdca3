"""The notebooks, run as a reader runs them: with the real model, by nbval, each once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from conduit_nb.commands import names

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICKSTART, LISTING = NOTEBOOKS[0], NOTEBOOKS[1]
SCHEMAS, PIPELINES, NEEDS = NOTEBOOKS[2], NOTEBOOKS[3], NOTEBOOKS[4]
DEPLOYMENTS, YOUR_OWN = NOTEBOOKS[5], NOTEBOOKS[6]
NOT_IN_A_NOTEBOOK = {"image"}
"""Its base is fetched from a registry: tests/images build it on a base of their own."""
LEAST_RIGHT = 40
"""Of the fifty labelled reviews: the promise of the quickstart, 80 %."""

pytestmark = [pytest.mark.model, pytest.mark.slow]  # a whole notebook with its model server


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    """End the server that the notebooks start."""
    yield
    stop = "import conduit_nb; conduit_nb.stop()"
    subprocess.run([sys.executable, "-c", stop], check=True, timeout=60)


def executed(notebook: Path, tmp_path: Path) -> Any:
    """Return the notebook after a full run by nbval, which every cell has to pass.

    It runs in its own folder; the file is not written.
    """
    kept = tmp_path / notebook.name
    command = [sys.executable, "-m", "pytest", "-q", "-p", "nbval.plugin", "--nbval-lax"]
    ran = subprocess.run(
        [
            *(*command, "--nbval-cell-timeout", "600"),
            *("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."),
            *("-p", "tests.nbval_outputs", "--outputs", str(kept), notebook.name),
        ],
        cwd=notebook.parent,
        # No other plugin is needed: to load all that are installed takes a moment.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )

    cells = len([cell for cell in json.loads(notebook.read_text())["cells"] if _is_code(cell)])
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert re.search(rf"\b{cells} passed", ran.stdout), ran.stdout[-500:]
    return nbformat.from_dict(json.loads(kept.read_text()))


def text_of(cell: Any) -> str:
    """Return everything that a cell printed or showed as plain text."""
    parts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return "\n".join(parts)


def error_of(cell: Any) -> str:
    """Return the name of the error that ended a cell, and what it says."""
    (error,) = [output for output in cell.outputs if output.output_type == "error"]
    return f"{error.ename}: {error.evalue}"


def tagged(notebook: nbformat.NotebookNode, tag: str) -> Any:
    return next(cell for cell in notebook.cells if tag in cell.metadata.get("tags", []))


@pytest.fixture(scope="module")
def docker_host(engine: str, lmlite_image: str) -> Iterator[None]:
    """Lead Conduit to an engine that has LmLite's image, under the name that it has by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine)
        yield


def test_the_quickstart_is_right_as_often_as_it_promises(tmp_path: Path):
    shown = text_of(tagged(executed(QUICKSTART, tmp_path), "result"))

    found = re.search(r"(\d+) of 50 verdicts agree with the labels: (\d+)%", shown)
    assert found, shown
    assert int(found[1]) >= LEAST_RIGHT
    assert int(found[2]) == 2 * int(found[1])


def test_the_listing_becomes_files_in_full(tmp_path: Path):
    notebook = executed(LISTING, tmp_path)

    shown = "\n".join(text_of(cell) for cell in notebook.cells if _is_code(cell))
    assert re.search(r"Files with [1-9]\d* of \{'File'\}", shown)
    right = re.search(r"([345]) of 5 files are right", text_of(tagged(notebook, "result")))
    assert right, shown
    errors = [
        output.ename
        for cell in notebook.cells
        if _is_code(cell)
        for output in cell.outputs
        if output.output_type == "error"
    ]
    assert errors == ["ArgumentError", "UntrustedBlockError"]


def test_a_config_becomes_a_ranked_and_explained_table(tmp_path: Path):
    notebook = executed(NEEDS, tmp_path)

    assert "does not fit" in text_of(tagged(notebook, "plan"))
    assert ", fits" in text_of(tagged(notebook, "fp8"))
    ranked = text_of(tagged(notebook, "choice"))
    assert [int(rank) for rank in re.findall(r"^(\d+)  ", ranked, re.MULTILINE)] == [1, 2, 3, 4]
    assert "Missing: gpuhunt" in ranked
    why = text_of(tagged(notebook, "why"))
    assert "sold out" in why
    assert "The plan needs 24.68 GiB on a device; this one has 23.52 GiB" in why
    assert "1 x L40S in US-KS-2: $0.86 an hour" in text_of(tagged(notebook, "best"))


def test_letters_become_orders_that_fit_their_form(tmp_path: Path):
    notebook = executed(SCHEMAS, tmp_path)

    assert "quantity: int(1..99)" in text_of(tagged(notebook, "schema"))
    sizes = re.search(r"(\d+) characters in MDL, (\d+)", text_of(tagged(notebook, "sizes")))
    assert sizes
    assert 2 * int(sizes[1]) < int(sizes[2])
    problems = error_of(tagged(notebook, "problems"))
    for path in ("$.customer", "$.items[0].quantity", "$.delivery", "$.x"):
        assert path in problems
    assert error_of(tagged(notebook, "refused")).startswith("SchemaError")
    shown = text_of(tagged(notebook, "orders"))
    for right in ("Edsger", "Barbara", "'name': 'candles', 'quantity': 5"):
        assert right in shown


def test_notes_become_rows_of_a_database_and_wrong_chains_errors(tmp_path: Path):
    notebook = executed(PIPELINES, tmp_path)

    assert "O''Brien" in text_of(tagged(notebook, "quoted"))
    assert error_of(tagged(notebook, "misfit")).startswith("PipelineError")
    assert error_of(tagged(notebook, "untrusted")).startswith("UntrustedBlockError")
    assert "no such table" in error_of(tagged(notebook, "failed"))
    assert "4 of 4 notes are in the table" in text_of(tagged(notebook, "result"))
    contacts = text_of(tagged(notebook, "contacts"))
    assert sum(name in contacts for name in ("Ada", "Grace", "Linus", "Barbara")) >= 3


def test_a_block_and_a_provider_of_ones_own_take_part_in_everything(tmp_path: Path):
    notebook = executed(YOUR_OWN, tmp_path)

    assert "I am (address)," in text_of(tagged(notebook, "redacted"))
    assert re.search(r"\[Mood\(.+\), Mood\(.+\)\]", text_of(tagged(notebook, "judged")))
    assert re.search(r"\bShout\b.*AttributeError", text_of(tagged(notebook, "bug")))
    assert "quiet" in text_of(tagged(notebook, "offered"))
    assert re.search(r"gentle +quiet +lmlite +running", text_of(tagged(notebook, "deployed")))
    assert "no errors" in text_of(tagged(notebook, "mapped"))
    assert text_of(tagged(notebook, "nice")) == "[19]"
    assert re.search(r"gentle +quiet +lmlite +terminated", text_of(tagged(notebook, "ended")))


def test_the_notebooks_lead_from_one_to_the_next():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, 8)]
    for path in NOTEBOOKS:
        links = re.findall(r"\]\(([^)#]+\.(?:ipynb|md))\)", path.read_text())
        for link in links:
            assert "://" in link or (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_word_is_used_in_a_notebook_and_in_the_browser():
    cells = [
        cell["source"]
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if _is_code(cell)
    ]
    journeys = "".join(path.read_text() for path in (Path(__file__).parent / "ui").glob("*.py"))

    for word in names():
        line = re.compile(rf"^%%?conduit {word}\b", re.MULTILINE)
        assert word in NOT_IN_A_NOTEBOOK or any(map(line.search, cells)), word
        assert re.search(rf"%conduit {word}\b", journeys) or f'"{word}"' in journeys, word


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_of_the_last_run_names_no_machine(notebook: Path):
    text = notebook.read_text()

    assert not re.search(r"/(home|root|Users|work|tmp)/", text)
    assert not re.search(r"127\.0\.0\.1:\d+|\bpid\b\D{0,5}\d+", text)


def _is_code(cell: Any) -> bool:
    return cell["cell_type"] == "code"


@pytest.mark.needs("docker")
@pytest.mark.usefixtures("docker_host")
def test_what_was_deployed_answers_is_priced_and_ends(tmp_path: Path):
    notebook = executed(DEPLOYMENTS, tmp_path)
    said = {
        str(cell.source).split("\n")[0].split(" --")[0]: text_of(cell)
        for cell in notebook.cells
        if cell.cell_type == "code"
    }

    assert "running" in said["%conduit deploy HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert "good" in said['verdicts[["review", "sentiment", "error"]]']
    dry = text_of(tagged(notebook, "dry"))
    assert re.search(r"in all .* \$2\.00 ", dry)
    assert "running" not in dry
    assert "terminated" in said["%conduit terminate reader"]
    assert "running" in text_of(tagged(notebook, "adopted"))
    assert "terminated" in text_of(tagged(notebook, "all ended"))
    rented, boxed = [
        text_of(cell) for cell in notebook.cells if str(cell.source) == "%conduit cost"
    ][1:]
    assert "$0.00" in rented
    assert "reader" not in rented
    assert "boxed" in boxed
    same = re.search(r"the same verdict in (\d) of 6 rows", text_of(tagged(notebook, "same")))
    assert same
    assert int(same[1]) >= 5
    assert re.search(r"boxed .* stopped", said["%conduit stop boxed"])
    for word in ("start", "restart"):
        assert "running" in said[f"%conduit {word} boxed"], word
    assert "terminated" in said["%conduit terminate boxed"]
