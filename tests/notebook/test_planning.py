"""notebook/planning.py: `plan()` and `find_offerings()`, as Python calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.planning import PlanKeywords
from conduit_nb.options import options_of
from conduit_nb.plans.options import PlanOptions
from conduit_nb.testing.runpod_server import runpod_server
from tests.notebook.conftest import Cells
from tests.plans.model_folders import config_folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return config_folder(tmp_path, "Llama-3.1-8B-Instruct")


def test_python_answers_the_same_as_the_cell(cells: Cells, llama: Path):
    asked = {"gpu": "L4", "tensor_parallel": 2, "max_model_len": 2048}

    view = conduit_nb.plan(str(llama), **asked)
    cells.run(f"%conduit plan {llama} --gpu L4 --tensor-parallel 2 --max-model-len 2048 --json")

    assert json.loads(cells.stdout) == view.document()


def test_what_holds_a_plan_is_found_with_the_plan_as_it_was_made(
    llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("CONDUIT_GPUHUNT_URL", "http://127.0.0.1:9/v3")
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path))
    needed = conduit_nb.plan(str(llama), runtime="sglang", tensor_parallel=2, max_model_len=8192)
    within = conduit_nb.DeploymentConstraint(providers=("runpod",), max_usd_per_hour=3)

    with runpod_server() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        found = conduit_nb.find_offerings(needed, constraint=within, objective="usd_per_hour")

    assert found.choice.plan is needed.plan
    assert found.best is not None
    assert found.best.count >= 2
    assert all(offering.usd_per_hour <= 3 for offering in found.ranked)


def test_a_plan_without_a_model_and_a_wait_without_time_are_errors():
    with pytest.raises(ArgumentError) as without_a_model:
        conduit_nb.plan()
    with pytest.raises(ArgumentError, match="nan") as without_time:
        conduit_nb.find_offerings(timeout_s=float("nan"))

    assert without_a_model.value.param == "model_ids"
    assert without_time.value.param == "timeout_s"


def test_what_is_no_plan_is_an_error_that_says_what_to_give():
    strange: Any = "Qwen/Qwen2.5-7B-Instruct"

    with pytest.raises(ArgumentError, match=strange) as of_offerings:
        conduit_nb.find_offerings(strange)
    with pytest.raises(ArgumentError, match=strange) as of_the_best:
        conduit_nb.calculate_best_compute_offering([strange], [])

    assert of_offerings.value.param == "holding"
    assert of_the_best.value.param == "models"


def test_the_keywords_of_a_plan_are_its_options():
    assert set(get_type_hints(PlanKeywords)) == {one.name for one in options_of(PlanOptions)}
