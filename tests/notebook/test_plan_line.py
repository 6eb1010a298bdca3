"""notebook/plan_line.py and offerings_line.py: the words in a cell, as a user writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError, ModelError, PlanError
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from tests.notebook.conftest import Cells
from tests.plans.model_folders import config_folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return config_folder(tmp_path, "Llama-3.1-8B-Instruct")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunpodServer]:
    """A Runpod of our own; the price lists are nowhere, and none of an earlier day is kept."""
    with runpod_server() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CONDUIT_GPUHUNT_URL", "http://127.0.0.1:9/v3")
        monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path / "cache"))
        yield cloud


def test_a_cell_shows_a_plan_and_gives_it(cells: Cells, llama: Path):
    view = cells.run(f"%conduit plan {llama} --gpu L40S --max-model-len 8192 --concurrency 4")

    assert view.fits
    assert view.plan.models[0].max_model_concurrency == 4
    assert "L40S" in repr(view)


def test_json_in_a_cell_is_one_document_and_nothing_else(cells: Cells, llama: Path):
    shown = cells.run(f"%conduit plan {llama} --kv-dtype fp8 --max-model-len 1024 --json")

    assert shown is None
    assert json.loads(cells.stdout)["devices"][0]["kv_bytes_per_token"] == 65_536


def test_python_answers_the_same_as_the_cell(cells: Cells, llama: Path):
    asked = {"gpu": "L4", "tensor_parallel": 2, "max_model_len": 2048}

    view = conduit_nb.plan(str(llama), **asked)  # pyright: ignore[reportArgumentType]
    cells.run(f"%conduit plan {llama} --gpu L4 --tensor-parallel 2 --max-model-len 2048 --json")

    assert json.loads(cells.stdout) == view.document()


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("plan", ArgumentError, "required"),
        ("plan {llama} --tensor-paralel 2", ArgumentError, "no option --tensor-paralel"),
        ("plan {llama} --tensor-parallel 0", ArgumentError, "below 1"),
        ("plan {llama} --tensor-parallel 3", PlanError, "32 attention heads"),
        ("plan {llama} --gpu L40SS", ArgumentError, "L40SS"),
        ("plan /nowhere/at/all", ModelError, "is not there"),
        ("offerings --min-availability lots", ArgumentError, "lots"),
        ("offerings --max-usd-per-hour -1", ArgumentError, "from 0 up"),
        ("offerings --providers runpodd", ArgumentError, "runpodd"),
        ("offerings --tensor-parallel 2", ArgumentError, "none is named"),
        ("offerings --timeout-s 0", ArgumentError, "no time to answer"),
        ("offerings --regions ,", ArgumentError, "leaves nothing"),
    ],
)
def test_a_mistake_is_an_error_of_two_lines(
    cells: Cells, llama: Path, line: str, kind: type[conduit_nb.ConduitError], said: str
):
    error = cells.fail(f"%conduit {line.replace('{llama}', str(llama))}", kind)

    assert said in str(error)
    assert len(error._render_traceback_()) == 2


def test_offerings_of_every_source_stand_in_one_table(cells: Cells, cloud: RunpodServer):
    view = cells.run("%conduit offerings")

    providers = {offering.provider for offering in view.ranked}
    assert {"local", "runpod"} <= providers
    assert any("gpuhunt" in str(failure) for failure in view.failures)
    assert "Missing: gpuhunt" in repr(view)


def test_offerings_for_a_model_are_ranked_and_explained(
    cells: Cells, cloud: RunpodServer, llama: Path
):
    view = cells.run(
        f"%conduit offerings --for {llama} --runtime sglang --max-model-len 8192 --providers runpod"
        " --no-interruptible --single-device --objective usd_per_hour --why"
    )

    prices = [offering.usd_per_hour for offering in view.ranked]
    assert prices == sorted(prices)
    assert all(offering.count == 1 for offering in view.ranked)
    assert view.best.total_gib > 20
    frame = view.why()
    assert set(frame[frame["rank"].isna()]["why_not"]) >= {"sold out"}
    assert "Left out" in repr(view)


def test_a_gpu_and_a_price_limit_what_is_shown(cells: Cells, cloud: RunpodServer):
    cells.run("%conduit offerings --gpu 'RTX 4090' --max-usd-per-hour 0.7 --json")

    document = json.loads(cells.stdout)
    assert {one["accelerator"] for one in document["offerings"]} == {"RTX 4090"}
    assert max(one["usd_per_hour"] for one in document["offerings"]) <= 0.7
    assert document["reason_counts"]["price"] > 0
