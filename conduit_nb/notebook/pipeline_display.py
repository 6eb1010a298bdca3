"""How a pipeline looks: its blocks from the top down, and on every edge what passes there.

Static HTML without scripts or style sheets; where styles are stripped, the lines still read from
the top down.
Layer 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit_nb.blocks.base import Block
from conduit_nb.blocks.pipeline import Pipeline
from conduit_nb.blocks.ports import Port
from conduit_nb.notebook.display import Shown, escaped, shortened
from conduit_nb.notebook.mdl_display import coloured, mdl_html, one_line
from conduit_nb.plain_text import plain

BOX = "display:inline-block;border:1px solid currentColor;border-radius:4px;padding:2px 10px"
EDGE = "margin:2px 0 2px 14px"
NOTHING = "(nothing)"


class PipelineView(Shown):
    """A block, or blocks chained, as a diagram."""

    def __init__(self, block: Block[Any, Any], *, name: str = "") -> None:
        self.block = block
        self._head = (
            f"{shortened(name or _short(block))}: {block.input_port} -> {block.output_port}"
        )

    def _text(self) -> str:
        return plain("\n".join([self._head, "", *_text_lines(self.block)]))

    def _html(self) -> str:
        return f"<div><strong>{escaped(self._head)}</strong></div>{''.join(_html(self.block))}"


def steps_of(block: Block[Any, Any]) -> tuple[Block[Any, Any], ...]:
    """Return the blocks that it consists of, in order."""
    return block.blocks if isinstance(block, Pipeline) else (block,)


def _short(block: Block[Any, Any]) -> str:
    return "pipeline" if isinstance(block, Pipeline) else block.name


def _label(block: Block[Any, Any]) -> str:
    kind = type(block).__name__
    kind = "asks a model" if kind == "LlmTask" else kind
    notes = [kind] if kind != block.name else []
    notes += ["has effects, trusted"] if block.has_effects and block.trusted else []
    notes += ["has effects"] if block.has_effects and not block.trusted else []
    name = shortened(block.name)
    return f"{name} ({', '.join(notes)})" if notes else name


def _edges(block: Block[Any, Any]) -> list[Port]:
    steps = steps_of(block)
    return [steps[0].input_port, *(step.output_port for step in steps)]


def _text_lines(block: Block[Any, Any]) -> Iterator[str]:
    first, *others = _edges(block)
    yield from _text_edge(first)
    for step, edge in zip(steps_of(block), others, strict=True):
        label = plain(_label(step)).replace("\n", " ")
        yield f"┌─{'─' * len(label)}─┐"
        yield f"│ {label} │"
        yield f"└─{'─' * len(label)}─┘"
        yield from _text_edge(edge)


def _text_edge(port: Port) -> Iterator[str]:
    for name, mdl in _passing(port):
        lines = [one_line(mdl) or mdl] if mdl else [""]
        first, *others = lines[0].splitlines() or [""]
        yield f"  │ {name} {first}".rstrip()
        yield from (f"  │ {line}" for line in others)
    yield "  ▼"


def _passing(port: Port) -> list[tuple[str, str]]:
    """Return name and MDL of everything that may pass there."""
    found = [(schema.name, schema.mdl) for schema in port.schemas]
    return [*found, (NOTHING, "")] if port.takes_none else found


def _html(block: Block[Any, Any]) -> Iterator[str]:
    first, *others = _edges(block)
    yield _html_edge(first)
    for step, edge in zip(steps_of(block), others, strict=True):
        yield f'<div><div style="{BOX}">{escaped(_label(step))}</div></div>'
        yield _html_edge(edge)


def _html_edge(port: Port) -> str:
    parts: list[str] = []
    for name, mdl in _passing(port):
        title = f"<strong>{escaped(name)}</strong>"
        line = one_line(mdl) if mdl else ""
        if line is None:
            parts.append(f"<details><summary>{title}</summary>{mdl_html(mdl)}</details>")
        else:
            parts.append(f"<div>{title} <code>{coloured(line)}</code></div>")
    return f'<div style="{EDGE}">{"".join(parts)}<div>&darr;</div></div>'
