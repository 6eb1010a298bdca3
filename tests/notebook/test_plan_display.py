"""notebook/plan_display.py: bars against the device's memory, in text and HTML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conduit_nb.compute.detection import Detection
from conduit_nb.notebook.plan_display import BAR_CELLS, PlanView
from conduit_nb.plans.answer import PlanOptions, answer_plan, make_plan
from tests.plans.model_folders import config_folder

SIGNS = "█▓▒░"


def view_of(*folders: Path, gpu: str | None = None, **asked: int) -> PlanView:
    plan = make_plan([str(folder) for folder in folders], PlanOptions(**asked))
    return PlanView(answer_plan(plan, gpu=gpu, detection=Detection()))


def bars(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if re.match(rf" +[{SIGNS}]{{3}}", line)]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return config_folder(tmp_path, "Llama-3.1-8B-Instruct")


def test_a_bars_parts_are_as_long_as_they_are_large(llama: Path):
    view = view_of(llama, gpu="H100 SXM")

    [bar] = bars(repr(view))
    assert len(bar) == BAR_CELLS
    device, memory = view.plan.devices[0], view.answer.target
    assert memory is not None
    for sign, size in zip(SIGNS, (device.weights_bytes, device.kv_bytes, None, None), strict=True):
        if size is not None:
            assert abs(bar.count(sign) - size / memory.memory_bytes * BAR_CELLS) <= 1
    free = 1 - device.total_bytes / memory.memory_bytes
    assert abs(bar.count("·") - free * BAR_CELLS) <= 1


def test_what_does_not_fit_stands_behind_a_line(llama: Path):
    text = repr(view_of(llama, gpu="A10"))

    [bar] = bars(text)
    inside, line, beyond = bar.partition("|")
    assert line
    assert beyond.strip(SIGNS) == ""
    assert abs(len(inside) / (len(inside) + len(beyond)) - 22.05 / 34.18) < 0.02
    assert "does not fit" in text
    assert "31,680" in text


def test_text_names_every_term_with_its_formula_and_source(llama: Path):
    view = view_of(llama, gpu="H100 SXM")

    text = repr(view)
    for term in view.plan.devices[0].terms:
        assert term.formula in text
        assert term.source in text
    assert "Llama-3.1-8B-Instruct on vllm" in text
    assert str(llama) not in text


def test_devices_that_hold_the_same_are_one_bar_and_stages_are_apart(llama: Path):
    text = repr(view_of(llama, gpu="L40S", tensor_parallel=4, pipeline_parallel=2))

    assert len(bars(text)) == 2
    assert "stage 0: 4 x L40S" in text
    assert "stage 1: 4 x L40S" in text


def test_without_a_device_the_bar_has_no_free_end_and_the_reason_is_said(llama: Path):
    text = repr(view_of(llama))

    assert "·" not in text
    assert "Whether it fits is not known" in text


def test_the_models_of_a_plan_are_told_apart(llama: Path, tmp_path: Path):
    text = repr(view_of(llama, config_folder(tmp_path, "Qwen3-0.6B"), max_model_len=1024))

    assert "Llama-3.1-8B-Instruct + Qwen3-0.6B" in text
    assert "Qwen3-0.6B KV cache" in text


def test_what_was_assumed_stands_below_the_bars(tmp_path: Path):
    view = view_of(config_folder(tmp_path, "gemma-3-27b-it"), gpu="H100 SXM")

    note = "Note: The runtime pads the KV cache by 8 layers."
    assert note in repr(view)
    assert note in view._repr_mimebundle_()["text/html"]


def test_html_has_the_same_numbers_outside_of_any_style(llama: Path):
    view = view_of(llama, gpu="A10")

    shown = view._repr_mimebundle_()
    words = re.sub(r"<[^>]*>", " ", shown["text/html"])
    for size in ("14.99", "16.00", "34.18 GiB of 22.05 GiB", "31,680"):
        assert size in words
    assert set(shown) == {"text/plain", "text/html"}
    assert "<script" not in shown["text/html"]
    assert "<style" not in shown["text/html"]


def test_a_hostile_name_is_shown_and_not_obeyed(tmp_path: Path):
    folder = config_folder(tmp_path, "Qwen3-0.6B").rename(tmp_path / "<img src=x>\u202e\x1b[1m")

    shown = view_of(folder, gpu="L4")._repr_mimebundle_()

    assert "<img" not in shown["text/html"]
    assert "&lt;img" in shown["text/html"]
    for text in shown.values():
        assert "\x1b" not in text
        assert "\u202e" not in text
