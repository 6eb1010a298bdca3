"""How a plan looks: bars of its terms against the device's memory, and where each comes from.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conduit_nb.compute.vram import GIB, DevicePlan, Plan, Term
from conduit_nb.errors import plain
from conduit_nb.models.hub import is_local
from conduit_nb.notebook.display import (
    LONGEST_CELL,
    LONGEST_LINE,
    Shown,
    escaped,
    html_table,
    shortened,
    text_table,
)
from conduit_nb.plans.answer import PlanAnswer
from conduit_nb.plans.documents import plan_document

BAR_CELLS = 60
FREE = "·"


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a bar: what it is called, its letter in text, its colour (light and dark)."""

    name: str
    sign: str
    colour: str


PARTS = {
    "weights": _Part("weights", "█", "#4c78a8"),
    "kv": _Part("KV cache", "▓", "#e08a3c"),
    "activation": _Part("activations", "▒", "#5aa469"),
    "overhead": _Part("overhead", "░", "#a47bb0"),
}


class PlanView(Shown):
    """A plan held against a device; shows itself as bars. `answer` has everything.

    `fits` is None where there is no device to hold it against. `document()` is what `--json`
    prints.
    """

    def __init__(self, answer: PlanAnswer) -> None:
        self.answer = answer

    @property
    def plan(self) -> Plan:
        """Return the plan: what each device must hold, term by term."""
        return self.answer.plan

    @property
    def fits(self) -> bool | None:
        """Say whether it fits; None where nobody knows."""
        return self.answer.fits

    def document(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return plan_document(self.answer)

    def _text(self) -> str:
        bars = ["\n".join(_text_bar(self.answer, group)) for group in _groups(self.answer)]
        conclusions = "\n".join(_conclusions(self.answer))
        return plain("\n\n".join([_title(self.answer), *bars, conclusions, _text_terms(self.plan)]))

    def _html(self) -> str:
        lines = [f"<div><strong>{escaped(_title(self.answer))}</strong></div>"]
        for group in _groups(self.answer):
            lines += _html_bar(self.answer, group)
        lines += [f"<div>{escaped(line)}</div>" for line in _conclusions(self.answer)]
        head, rows, sources = _term_rows(self.plan)
        listed = "".join(f"<div>{escaped(source)}</div>" for source in sources)
        lines.append(
            "<details><summary>Every term, its formula and its source</summary>"
            f"{html_table(head, rows)}{listed}</details>"
        )
        return "".join(lines)


def short_name(model_id: str) -> str:
    """Return a folder's own name, and an id as it is."""
    return Path(model_id).name or model_id if is_local(model_id) else model_id


@dataclass(frozen=True, slots=True)
class _Group:
    """Devices that hold the same, shown as one bar."""

    devices: tuple[DevicePlan, ...]
    fits: bool | None

    @property
    def one(self) -> DevicePlan:
        return self.devices[0]


def _groups(answer: PlanAnswer) -> Iterator[_Group]:
    kinds: dict[tuple[int, ...], list[tuple[DevicePlan, bool | None]]] = {}
    for device, fits in zip(answer.plan.devices, answer.device_fits, strict=True):
        key = (device.stage, *_sizes(device))
        kinds.setdefault(key, []).append((device, fits))
    for pairs in kinds.values():
        yield _Group(tuple(device for device, _ in pairs), pairs[0][1])


def _sizes(device: DevicePlan) -> tuple[int, ...]:
    return (
        device.weights_bytes,
        device.kv_bytes,
        device.activation_bytes,
        device.overhead_bytes,
    )


def _title(answer: PlanAnswer) -> str:
    plan = answer.plan
    models = " + ".join(short_name(model.model_id) for model in plan.models)
    asked = ", ".join(
        dict.fromkeys(
            f"{model.max_model_len:,} tokens x {model.max_model_concurrency}"
            for model in plan.models
        )
    )
    split = ""
    if plan.devices_per_replica > 1:
        split = f", tensor parallel {plan.tensor_parallel}, pipeline {plan.pipeline_parallel}"
    times = f", {plan.replicas} replicas" if plan.replicas > 1 else ""
    # Of thousands of letters the figures at the end would be lost.
    version = shortened(plan.runtime_version, LONGEST_CELL)
    served = f"{shortened(models, LONGEST_LINE)} on {plan.runtime} {version}"
    return f"{served}: {asked}{split}{times}"


def _label(answer: PlanAnswer, group: _Group) -> str:
    """Say which devices a bar is of, and how full they are."""
    device, target = group.one, answer.target
    what = target.name if target else "a device"
    where = f"{len(group.devices)} x {what}" if target or len(group.devices) > 1 else what
    if answer.plan.pipeline_parallel > 1:
        where = f"stage {device.stage}: {where}"
    total = f"{device.total_gib:.2f} GiB"
    if target is None:
        return f"{where}: {total}"
    verdict = "fits" if group.fits else "does not fit"
    return f"{where}: {total} of {target.memory_bytes / GIB:.2f} GiB, {verdict}"


def _legend(device: DevicePlan) -> list[str]:
    return [
        f"{part.name} {size / GIB:.2f}"
        for part, size in zip(PARTS.values(), _sizes(device), strict=True)
    ]


def _scale_bytes(answer: PlanAnswer) -> int:
    """Return what a bar of full width is: the device's memory, or more where that is not enough."""
    memory_bytes = answer.target.memory_bytes if answer.target else 0
    return max(memory_bytes, answer.plan.largest_device_bytes)


def _text_bar(answer: PlanAnswer, group: _Group) -> Iterator[str]:
    device, scale = group.one, _scale_bytes(answer)
    ends, filled = _ends(device, scale, BAR_CELLS), 0
    bar = ""
    for part, end in zip(PARTS.values(), ends, strict=True):
        bar += part.sign * (end - filled)
        filled = end
    bar = bar.ljust(BAR_CELLS, FREE if answer.target else " ")
    if answer.target and answer.target.memory_bytes < scale:
        limit = round(answer.target.memory_bytes / scale * BAR_CELLS)
        bar = f"{bar[:limit]}|{bar[limit:]}"  # what stands behind it is too much
    signs = [part.sign for part in PARTS.values()]
    yield _label(answer, group)
    yield f"  {bar.rstrip()}"
    legend = zip(signs, _legend(device), strict=True)
    yield "  " + "   ".join(f"{sign} {words}" for sign, words in legend)


def _ends(device: DevicePlan, scale_bytes: int, width: int) -> list[int]:
    """Return where each part's segment ends, so that rounding never adds up."""
    ends: list[int] = []
    reached = 0
    for size in _sizes(device):
        reached += size
        ends.append(round(reached / scale_bytes * width))
    return ends


def _html_bar(answer: PlanAnswer, group: _Group) -> Iterator[str]:
    """Yield a bar of styled blocks; where styles are stripped, its numbers are still there."""
    device, scale = group.one, _scale_bytes(answer)
    label, legend = _label(answer, group), _legend(device)
    segments = "".join(
        f'<div style="width:{100 * size / scale:.2f}%;background:{part.colour}"></div>'
        for part, size in zip(PARTS.values(), _sizes(device), strict=True)
    )
    limit = ""
    if answer.target and answer.target.memory_bytes < scale:
        left = 100 * answer.target.memory_bytes / scale
        limit = (
            f'<div style="position:absolute;left:{left:.2f}%;top:-3px;bottom:-3px;'
            'border-left:2px dashed currentColor"></div>'
        )
    yield f'<div style="margin-top:6px">{escaped(label)}</div>'
    yield (
        f'<div role="img" aria-label="{escaped(", ".join(legend))} GiB" '
        'style="position:relative;display:flex;height:16px;max-width:640px;margin:4px 0;'
        f'box-shadow:0 0 0 1px rgba(128,128,128,.6)">{segments}{limit}</div>'
    )
    words = " &nbsp; ".join(
        f'<span style="color:{part.colour}">&#9632;</span> {escaped(text)}'
        for part, text in zip(PARTS.values(), legend, strict=True)
    )
    yield f"<div>{words} (GiB)</div>"


def _conclusions(answer: PlanAnswer) -> Iterator[str]:
    plan = answer.plan
    yield (
        f"KV cache: {plan.kv_bytes_per_token:,} bytes per token. In all: "
        f"{plan.total_bytes / GIB:.2f} GiB on {plan.device_count} "
        f"device{'s' if plan.device_count > 1 else ''}."
    )
    for model in plan.models:
        name = f"{shortened(short_name(model.model_id), LONGEST_CELL)}: "
        for remark in model.remarks:
            yield f"Note: {name if len(plan.models) > 1 else ''}{shortened(remark, LONGEST_LINE)}"
    if answer.target is None:
        yield f"Whether it fits is not known: {shortened(answer.why_unknown, LONGEST_LINE)}."
        return
    if answer.target.note:
        yield f"{answer.target.name}: {answer.target.note}."
    for reason in answer.reasons:
        yield f"Does not fit: {shortened(reason.text, LONGEST_LINE)}."
    if answer.hint:
        yield answer.hint
        return
    yield (
        f"The most that fits: a context of {answer.largest_model_len or 0:,} tokens, or "
        f"{answer.largest_concurrency or 0:,} requests at once."
    )


def _text_terms(plan: Plan) -> str:
    head, rows, sources = _term_rows(plan)
    return "\n".join([text_table(head, rows), *sources])


def _term_rows(plan: Plan) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the fullest device's terms as a table, and the sources that it numbers."""
    device = max(plan.devices, key=lambda device: device.total_bytes)
    numbers: dict[str, int] = {}
    for term in device.terms:
        numbers.setdefault(term.source, len(numbers) + 1)
    rows = [
        [f"{term.bytes / GIB:.3f}", _name(term, plan), term.formula, f"[{numbers[term.source]}]"]
        for term in device.terms
        if term.bytes
    ]
    sources = [f"[{number}] {source}" for source, number in numbers.items()]
    return ["GiB", "term", "formula", "source"], rows, sources


def _name(term: Term, plan: Plan) -> str:
    """Return a term's name, without the model's where there is only one."""
    for model in plan.models:
        if term.name.startswith(f"{model.model_id} "):
            what = term.name.removeprefix(f"{model.model_id} ")
            return what if len(plan.models) == 1 else f"{short_name(model.model_id)} {what}"
    return term.name
