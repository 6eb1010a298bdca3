"""notebook/pipeline_display.py: blocks and edges as text and as static HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from conduit_nb.blocks.base import Block
from conduit_nb.notebook.pipeline_display import PipelineView


@dataclass
class Long:
    text: Annotated[str, "what <b>it</b> says"]


class Step(Block[Long, Long | None]):
    pass


def shown(block: Block[object, object]) -> dict[str, str]:
    return PipelineView(block)._repr_mimebundle_()


def test_what_is_commented_stands_under_its_name():
    text = shown(Step(Long, Long | None))["text/plain"]  # type: ignore[arg-type]  # a union is fine

    assert "  │ Long {\n  │   text: string // what <b>it</b> says\n  │ }\n" in text
    assert text.endswith("  │ (nothing)\n  ▼")


def test_names_and_descriptions_are_escaped():
    html = shown(Step(Long, Long, name="<script>"))["text/html"]  # type: ignore[arg-type]  # its name only

    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;b&gt;it" in html
    assert "<details><summary><strong>Long</strong></summary>" in html


def test_effects_are_said():
    step = Step(Long, Long, name="save", has_effects=True, trusted=True)  # type: ignore[arg-type]  # as above

    assert "save (Step, has effects, trusted)" in shown(step)["text/plain"]
