"""notebook/looks.py: each of our own things in a cell's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_nb.blocks.base import Block
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.notebook.looks import bundle_of
from conduit_nb.plans.answer import PlanOptions, answer_plan, make_plan
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market
from conduit_nb.runs.receipts import MIME, Receipt
from tests.hostile import HOSTILE
from tests.notebook.conftest import Cells
from tests.plans.described_market import offered
from tests.plans.model_folders import config_folder


def test_a_cell_that_ends_with_one_of_ours_shows_it(cells: Cells):
    cells.run("%%conduit schema\nclass A:\n    text: str\n")
    cells.run("from conduit_nb import Block, schema_of")
    format_of = cells.shell.display_formatter.format

    schema, _ = format_of(cells.run("schema_of(A)"))
    block, _ = format_of(cells.run("Block(A, A, name='same') >> Block(A, A, name='again')"))

    assert schema["text/plain"] == "{\n  text: string\n}"
    assert "<pre" in schema["text/html"]
    assert "again" in block["text/html"]
    assert "│ same" in block["text/plain"]


def test_a_block_by_itself_is_drawn_too(cells: Cells):
    cells.run("%%conduit schema\nclass A:\n    text: str\n")
    block: Block[object, object] = Block(cells.names["A"], cells.names["A"], name="same")

    assert bundle_of(block)["text/plain"].startswith("same: A -> A")


def receipt(text: str) -> Receipt:
    return Receipt(
        title=text,
        model=text,
        rows=3,
        done=2,
        failed=1,
        prompt_tokens=10,
        completion_tokens=5,
        seconds=1.0,
        started_at="2026-11-27T12:00:00+00:00",
        schema_hash="abc",
    )


def deployment(text: str) -> DeploymentInfo:
    return DeploymentInfo(name=text, provider=text, runtime="vllm", status="ready", url=text)


def test_a_plans_answer_is_drawn_as_bars(tmp_path: Path):
    folder = str(config_folder(tmp_path, "Qwen3-0.6B"))

    shown = answer_plan(make_plan([folder], PlanOptions()), gpu="L4")._repr_mimebundle_()

    assert "█" in shown["text/plain"]
    assert "KV cache" in shown["text/html"]


def test_a_choice_is_shown_as_the_table_of_what_is_offered():
    market = Market(offerings=(offered("x", "L4", 22, 0.5),), failures=())

    shown = choose(market, constraint=DeploymentConstraint())._repr_mimebundle_()

    assert "L4" in shown["text/plain"]
    assert "<table" in shown["text/html"]


def test_a_receipt_says_its_run_and_gives_our_front_ends_all_of_it():
    data, metadata = receipt("extract")._repr_mimebundle_()

    assert data["text/plain"] == "extract: 2 of 3 rows, extract"
    assert "10 read, 5 written" in data["text/html"]
    assert data[MIME] == metadata["conduit"]["receipt"]


def test_a_deployment_is_a_table_of_one():
    shown = deployment("one")._repr_mimebundle_()

    assert shown["text/plain"].splitlines()[1].split()[:4] == ["one", "one", "vllm", "ready"]
    assert "<table" in shown["text/html"]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_in_them_stays_text(what: str):
    bundle, _ = receipt(HOSTILE[what])._repr_mimebundle_()

    for shown in (bundle, deployment(HOSTILE[what])._repr_mimebundle_()):
        for tag in ("<script", "<img", "<svg", "<iframe"):
            assert tag not in shown["text/html"].lower()
        for form in (shown["text/plain"], shown["text/html"]):
            assert len(form) < 200_000
            assert not {"\x1b", "\u202e", "\u2066"} & set(form)
