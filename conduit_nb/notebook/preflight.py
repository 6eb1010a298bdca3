"""What a map will take, said before it starts: rows, tokens, seconds, dollars.

Told by earlier receipts where there are any, else by sizes and rooflines; each says which.
Layer 7.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conduit_nb import settings
from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.compute.detection import local_offerings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.throughput import estimate_tokens_per_s
from conduit_nb.compute.vram import Plan
from conduit_nb.errors import ConduitError
from conduit_nb.models.hub import available_offline, resolved_id
from conduit_nb.notebook.display import LONGEST_LINE, Shown, bounded, escaped
from conduit_nb.plans.answer import PlanOptions, make_plan
from conduit_nb.runs import Receipt
from conduit_nb.runs.receipts import read_receipts, schema_hash
from conduit_nb.schemas import Schema
from conduit_nb.schemas.expected import expected_characters
from conduit_nb.session import Session
from conduit_nb.units import counted, dollars, duration

SAMPLE = 32
MAX_FAILED = 0.05
"""Of a map whose speed is believed, the share of rows that failed."""
CHARACTERS_PER_TOKEN = 3.6
# Of 135M parameters in fp32 (0.65e9 bytes), two cores write about 200 tokens a second in full
# batches and read three times as many; both go with the bytes of the weights.
CPU_BYTES_PER_S = 130e9
READS_PER_WRITE = 3.0
GPU_READS_PER_WRITE = 10.0
BOOT_S = 180.0
"""How long a node takes from being asked for until it answers: paid, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight(Shown):
    """An estimate. `seconds` is None where nothing tells the speed, `usd` where nobody the price.

    `basis` says what it rests on; `boots` that a node has to be started, which is in both.
    """

    rows: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None
    usd: float | None
    place: str
    basis: str
    usd_per_hour: float | None = None
    boots: bool = False

    def _text(self) -> str:
        tokens = self.prompt_tokens + self.completion_tokens
        parts = [counted(self.rows, "row"), f"about {_rounded(tokens)} tokens"]
        if self.seconds is None:
            parts.append(f"time not known on {self.place}")
        else:
            parts.append(f"{duration(self.seconds)} on {self.place}")
        if self.usd is not None:
            parts.append(dollars(self.usd))
        elif self.usd_per_hour:
            parts.append(f"{dollars(self.usd_per_hour)}/h")
        else:
            parts.append("dollars not known")
        boot = "; a node has to boot first, which is in it" if self.boots else ""
        return bounded(f"{', '.join(parts)} ({self.basis}{boot})", LONGEST_LINE)

    def _html(self) -> str:
        return f"<div>{escaped(self._text())}</div>"

    def __repr__(self) -> str:
        return self._text()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where it will run: how it is called, what it costs, what is known of its speed."""

    said: str
    provider: str | None
    usd_per_hour: float | None
    boots: bool = False
    context_tokens: int | None = None
    writes_per_s: float | None = None
    reads_per_s: float | None = None


HUB_FOLDERS = ("HF_HOME", "HF_HUB_CACHE")
_PLANNED: dict[tuple[str | None, ...], _Place] = {}


def preflight(
    session: Session,
    task: LlmTask[Any, Any],
    records: Sequence[object],
    gives: Schema[Any],
) -> Preflight:
    """Estimate a map; providers may be asked for their prices, nothing is started."""
    known = [one for one in read_receipts() if one.model == task.model_id and _is_telling(one)]
    rows = [one for one in records if not isinstance(one, ConduitError)]
    place = _place(session, task)
    alike = [one for one in known if one.schema_hash == schema_hash(gives)]
    held, tokens_each = _prompts(task, rows, task.max_model_len or place.context_tokens)
    prompts = round(held * tokens_each)
    writes = round(held * _per_row(alike, gives))
    speed = _seconds(known, alike, place, len(rows), prompts, writes)
    seconds = None if speed is None else speed[0] + (BOOT_S if place.boots else 0.0)
    usd = None
    if place.usd_per_hour is not None and (seconds is not None or place.usd_per_hour == 0):
        usd = place.usd_per_hour * (seconds or 0.0) / 3600
    return Preflight(
        rows=len(records),
        prompt_tokens=prompts,
        completion_tokens=writes,
        seconds=seconds,
        usd=usd,
        usd_per_hour=place.usd_per_hour,
        place=place.said,
        basis="an estimate from sizes" if speed is None else speed[1],
        boots=place.boots,
    )


def _is_telling(receipt: Receipt) -> bool:
    """Say whether a map tells how fast the next one will be: none does that was stopped or failed.

    A row that failed took time without an answer, or none at all; a few of them do not matter.
    """
    answered = receipt.done - receipt.failed
    is_whole = not receipt.is_stopped and receipt.done == receipt.rows
    return is_whole and answered > 0 and receipt.failed <= receipt.done * MAX_FAILED


def _place(session: Session, task: LlmTask[Any, Any]) -> _Place:
    target = task.target
    if target is None:
        return _Place(said="a server of your own", provider=None, usd_per_hour=None)
    if not isinstance(target, str) and target.is_shared:
        return _here(task.model_id)
    live = session.wait(session.deployments.find(target))
    if live is not None and live.status == "running":
        said = live.device or live.provider
        return _Place(said=said, provider=live.provider, usd_per_hour=live.usd_per_hour or 0.0)
    if isinstance(target, str):
        session.wait(session.endpoint(target))  # says why where it does not run
        return _Place(said=target, provider=None, usd_per_hour=None)
    session.wait(session.deployments.require_no_near_match(target))
    return _rented(session, target)


def _here(model_id: str) -> _Place:
    """Return this machine, as fast as the model's size and the device let it be.

    A model that lies here is planned once: its files do not change from map to map.
    """
    key = (model_id, str(settings.cache_dir()), *map(os.environ.get, HUB_FOLDERS))
    if key not in _PLANNED:
        here = _Place(said="this machine", provider="local", usd_per_hour=0.0)
        if resolved_id(model_id) not in available_offline():  # a plan would ask the hub
            return here
        try:
            plan = make_plan([model_id], PlanOptions(max_concurrency=32))
        except ConduitError:
            return here
        _PLANNED[key] = _with_speed(here, plan)
    return _PLANNED[key]


def _with_speed(here: _Place, plan: Plan) -> _Place:
    for offering in local_offerings():
        speed = estimate_tokens_per_s(plan, offering.hardware)
        if speed is not None:
            writes, ratio = speed.expected, GPU_READS_PER_WRITE
            break
    else:
        weights = sum(model.weights_bytes for model in plan.models)
        writes, ratio = CPU_BYTES_PER_S / max(weights, 1), READS_PER_WRITE
    return replace(
        here,
        context_tokens=plan.models[0].max_model_len,
        writes_per_s=writes,
        reads_per_s=writes * ratio,
    )


def _rented(session: Session, request: DeploymentRequest) -> _Place:
    """Return what the best offering would be; NoOfferingError where there is none."""
    quote = session.wait(session.deployments.quote(request))
    best = quote.servers[0].candidates[0]
    plan: Plan | None = quote.servers[0].plan
    speed = None if plan is None else estimate_tokens_per_s(plan, best.offering.hardware)
    gpu = best.offering.hardware.accelerator
    count = best.offering.count
    said = f"{best.provider}'s CPU" if gpu is None else gpu.name
    writes = None if speed is None else speed.expected * request.replicas.min
    return _Place(
        said=f"{count} x {said}" if count > 1 else f"a {said}" if gpu is not None else said,
        provider=best.provider,
        usd_per_hour=quote.usd_per_hour,
        boots=quote.usd_per_hour > 0,
        writes_per_s=writes,
        reads_per_s=None if writes is None else writes * GPU_READS_PER_WRITE,
    )


def _prompts(
    task: LlmTask[Any, Any], rows: Sequence[object], context_tokens: int | None
) -> tuple[int, float]:
    """Return how many rows' prompts the context holds, and the tokens of each, told by some.

    The others are refused, and take nothing.
    """
    sample = rows[:: max(len(rows) // SAMPLE, 1)][:SAMPLE]
    sizes = [
        sum(len(str(one["content"])) for one in task.messages(row)) / CHARACTERS_PER_TOKEN
        for row in sample
    ]
    held = [size for size in sizes if context_tokens is None or size < context_tokens]
    if not held:
        return 0, 0.0
    return round(len(rows) * len(held) / len(sizes)), sum(held) / len(held)


def _per_row(alike: Sequence[Receipt], gives: Schema[Any]) -> float:
    """Return the tokens of an answer: as the last map had it, else by the schema."""
    if alike and alike[-1].completion_tokens:
        return alike[-1].completion_tokens / (alike[-1].done - alike[-1].failed)
    return expected_characters(gives.shape) / CHARACTERS_PER_TOKEN


def _seconds(
    known: Sequence[Receipt],
    alike: Sequence[Receipt],
    place: _Place,
    rows: int,
    prompts: int,
    writes: int,
) -> tuple[float, str] | None:
    """Return the seconds without a boot, and what says so."""
    if alike and (last := _last_at(alike, place)) is not None:
        done = _work(last.prompt_tokens, last.completion_tokens)
        share = _work(prompts, writes) / done if done else rows / last.done
        return _answering_s(last) * share, "as the last such map was"
    if (last := _last_at(known, place)) is not None:
        done = _work(last.prompt_tokens, last.completion_tokens)
        if done:
            return _answering_s(last) / done * _work(prompts, writes), "at the last map's speed"
    if place.writes_per_s and place.reads_per_s:
        seconds = writes / place.writes_per_s + prompts / place.reads_per_s
        return seconds, "an estimate from sizes"
    return None


def _work(prompt_tokens: float, completion_tokens: float) -> float:
    """Return how much there is to do, as tokens to write."""
    return completion_tokens + prompt_tokens / READS_PER_WRITE


def _answering_s(receipt: Receipt) -> float:
    return max(receipt.seconds - receipt.start_seconds, 0.0)


def _last_at(receipts: Sequence[Receipt], place: _Place) -> Receipt | None:
    found = [one for one in receipts if one.provider == place.provider and place.provider]
    return found[-1] if found else None


def _rounded(tokens: int) -> str:
    """Return a number that claims no more than it knows: two figures of it."""
    if tokens < 100:
        return f"{tokens}"
    places = 10 ** (len(str(tokens)) - 2)
    near = round(tokens / places) * places
    if near >= 1_000_000:
        return f"{near / 1e6:g}M"
    return f"{near / 1000:g}k" if near >= 1000 else f"{near}"
