"""notebook/plan_line.py: `%conduit plan`, as a user writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError, ModelNotFoundError, PlanError
from tests.notebook.conftest import Cells
from tests.plans.model_folders import config_folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return config_folder(tmp_path, "Llama-3.1-8B-Instruct")


def test_a_cell_shows_a_plan_and_gives_it(cells: Cells, llama: Path):
    view = cells.run(f"%conduit plan {llama} --gpu L40S --max-model-len 8192 --concurrency 4")

    assert view.fits
    assert view.plan.models[0].max_model_concurrency == 4
    assert "L40S" in repr(view)


def test_json_in_a_cell_is_one_document_and_nothing_else(cells: Cells, llama: Path):
    shown = cells.run(f"%conduit plan {llama} --kv-dtype fp8 --max-model-len 1024 --json")

    assert shown is None
    assert json.loads(cells.stdout)["devices"][0]["kv_bytes_per_token"] == 65_536


@pytest.mark.parametrize(
    ("line", "kind", "param", "fact"),
    [
        ("plan", ArgumentError, "model_ids", "ID"),
        ("plan {llama} --tensor-paralel 2", ArgumentError, None, "--tensor-paralel"),
        ("plan {llama} --tensor-parallel 0", ArgumentError, "tensor_parallel", "0"),
        ("plan {llama} --tensor-parallel 3", PlanError, "tensor_parallel", "32"),
        ("plan {llama} --gpu L40SS", ArgumentError, "gpu", "'L40SS'"),
        ("plan /nowhere/at/all", ModelNotFoundError, None, "/nowhere/at/all"),
    ],
)
def test_a_mistake_is_an_error_of_two_lines(
    cells: Cells,
    llama: Path,
    line: str,
    kind: type[conduit_nb.ConduitError],
    param: str | None,
    fact: str,
):
    error = cells.fail(f"%conduit {line.replace('{llama}', str(llama))}", kind)

    assert type(error) is kind
    assert getattr(error, "param", None) == param
    assert fact in str(error)
    assert len(error._render_traceback_()) == 2
