"""A plan held against a device: does it fit, why not, and what would.

Layer 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conduit_nb.compute.accelerators import find_accelerator, find_accelerators
from conduit_nb.compute.detection import Detection, detect_devices, local_offerings
from conduit_nb.compute.fit import largest_concurrency, largest_model_len
from conduit_nb.compute.judging import KNOBS, Reason, ReasonCode, hardware_reasons
from conduit_nb.compute.offerings import ComputeOffering, hardware_of
from conduit_nb.compute.planning import plan as plan_models
from conduit_nb.compute.vram import GIB, Plan, PlannedModel
from conduit_nb.displayed import Displayed
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import require_one_model
from conduit_nb.models.files import Progress, silent
from conduit_nb.plans.options import PlanOptions
from conduit_nb.plans.reading import read_planned

MOST_REQUESTS = 65_536
"""Where the search for the largest concurrency ends."""

# What helps where a shorter context or fewer requests would as well.
SMALLER = "choose another dtype, or split the model over more devices (tensor_parallel)"
# Whose figures were measured on a CPU; those of the others are of GPUs.
CPU_RUNTIMES = frozenset({"lmlite"})
RUNTIME_ALIASES = {"llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "llama_cpp": "llama.cpp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a plan is held against: `count` devices with `memory_bytes` each.

    `note` says what was assumed where the question left it open.
    """

    name: str
    memory_bytes: int
    count: int
    is_local: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer(Displayed):
    """A plan, and what it means for a device.

    `target` is None where there is nothing to hold it against; `why_unknown` says why then.
    `reasons` is everything that speaks against the target. The largest context (of all models, each
    up to its own limit) and concurrency are those that would fit it, each with the other as asked;
    None where none does, or nobody knows.
    """

    plan: Plan
    target: Target | None = None
    why_unknown: str = ""
    reasons: tuple[Reason, ...] = ()
    largest_model_len: int | None = None
    largest_concurrency: int | None = None

    @property
    def fits(self) -> bool | None:
        """Say whether every device holds its part; None where nobody knows."""
        return None if self.target is None else not self.reasons

    @property
    def device_fits(self) -> tuple[bool | None, ...]:
        """Say the same of each device of the plan, in their order."""
        if self.target is None:
            return (None,) * len(self.plan.devices)
        memory_bytes = self.target.memory_bytes
        is_able = all(reason.code == "memory" for reason in self.reasons)
        return tuple(is_able and device.total_bytes <= memory_bytes for device in self.plan.devices)

    @property
    def hint(self) -> str:
        """Return what to do where it does not fit, with the numbers that would."""
        if not self.reasons:
            return ""
        knobs: list[str] = []
        if self.largest_model_len is not None:
            knobs.append(f"set max_model_len to {self.largest_model_len:,} or less")
        if self.largest_concurrency is not None:
            knobs.append(f"set max_concurrency to {self.largest_concurrency:,} or less")
        if "memory" not in {reason.code for reason in self.reasons}:
            knobs.clear()
        codes: dict[ReasonCode, None] = dict.fromkeys(reason.code for reason in self.reasons)
        would_do = bool(knobs)
        knobs += [SMALLER if code == "memory" and would_do else KNOBS[code] for code in codes]
        text = "; or ".join(knobs)
        return f"{text[0].upper()}{text[1:]}."


def make_plan(
    model_ids: Sequence[str], options: PlanOptions, *, progress: Progress = silent
) -> Plan:
    """Read the models and return what they need together.

    Raises ModelError, PlanError or ArgumentError where there can be no plan.
    """
    if isinstance(model_ids, str) or not model_ids:
        raise ArgumentError(
            "A plan needs a model.", param="model_ids", hint="Name an id or a folder, or several."
        )
    require_one_model(len(model_ids), options.revision)
    models = [
        read_planned(
            model_id,
            dtype=options.dtype,
            kv_dtype=options.kv_dtype,
            quantization=options.quantization,
            max_model_len=options.max_model_len,
            max_model_concurrency=options.max_concurrency,
            revision=options.revision,
            progress=progress,
        )
        for model_id in model_ids
    ]
    runtime = options.runtime.lower()
    return plan_models(
        models,
        runtime=RUNTIME_ALIASES.get(runtime, runtime),
        runtime_version=options.runtime_version,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        replicas=options.replicas,
    )


def answer_plan(
    plan: Plan, *, gpu: str | None = None, detection: Detection | None = None
) -> PlanAnswer:
    """Hold the plan against devices called `gpu`, or against this machine, as `detection` sees it.

    That it does not fit is an answer; a name that no device has is an ArgumentError.
    """
    if gpu is not None:
        return _held_against(plan, _named_target(gpu, plan))
    return _held_against_machine(plan, detect_devices() if detection is None else detection)


def _named_target(name: str, plan: Plan) -> Target:
    """Return as many such devices as a replica needs; of several kinds the smallest."""
    found = find_accelerators(name) or (find_accelerator(name),)  # which has the words
    chosen = min(found, key=lambda one: (one.usable_gib, one.bandwidth_gb_per_s))
    others = ", ".join(one.name for one in found if one is not chosen)
    return Target(
        name=chosen.name,
        memory_bytes=int(chosen.usable_gib * GIB),
        count=plan.devices_per_replica,
        is_local=False,
        note=f"{name!r} may also be {others}; the smallest is taken" if others else "",
    )


def _held_against(plan: Plan, target: Target) -> PlanAnswer:
    hardware = hardware_of(target.name, target.memory_bytes / GIB, target.count)
    return _answer(plan, target, hardware_reasons(hardware, plan))


def _held_against_machine(plan: Plan, detection: Detection) -> PlanAnswer:
    """Hold the plan against what of this machine suits it best."""
    allows_cpu = plan.runtime in CPU_RUNTIMES
    candidates = [
        offering
        for offering in local_offerings(detection)
        if allows_cpu or not offering.hardware.is_cpu
    ]
    if not candidates:
        seen = "; ".join(map(str, detection.problems))
        return PlanAnswer(
            plan=plan,
            why_unknown=f"this machine shows no GPU{f' ({seen})' if seen else ''}: name a device"
            " with --gpu, or plan for this machine's CPU with --runtime lmlite",
        )
    judged = [(offering, hardware_reasons(offering.hardware, plan)) for offering in candidates]
    offering, reasons = min(judged, key=lambda pair: (len(pair[1]), -pair[0].total_gib))
    return _answer(plan, _local_target(offering), reasons)


def _local_target(offering: ComputeOffering) -> Target:
    hardware = offering.hardware
    return Target(
        name="this machine's CPU" if hardware.is_cpu else hardware.name,
        memory_bytes=int(hardware.memory_gib * GIB),
        count=hardware.devices,
        is_local=True,
        note="what is free now",
    )


def _answer(plan: Plan, target: Target, reasons: tuple[Reason, ...]) -> PlanAnswer:
    return PlanAnswer(
        plan=plan,
        target=target,
        reasons=reasons,
        largest_model_len=_largest_model_len(plan, target.memory_bytes),
        largest_concurrency=_largest_concurrency(plan, target.memory_bytes),
    )


def _largest_model_len(plan: Plan, memory_bytes: int) -> int | None:
    longest = _planned_again(
        plan,
        lambda model: replace(
            model, max_model_len=None if model.spec.context_tokens else model.max_model_len
        ),
    )
    found = largest_model_len(longest, memory_bytes)
    assert longest.request is not None
    limits = [model.spec.context_tokens for model in longest.request.models]
    # One length is told to all the models, so that it can be no longer than what each was made for.
    return None if found is None else min([found, *(limit for limit in limits if limit)])


def _largest_concurrency(plan: Plan, memory_bytes: int) -> int | None:
    crowded = _planned_again(
        plan, lambda model: replace(model, max_model_concurrency=MOST_REQUESTS)
    )
    return largest_concurrency(crowded, memory_bytes)


def _planned_again(plan: Plan, changed: Callable[[PlannedModel], PlannedModel]) -> Plan:
    request = plan.request
    assert request is not None
    return plan_models(
        [changed(model) for model in request.models],
        runtime=request.runtime,
        runtime_version=request.runtime_version,
        tensor_parallel=request.tensor_parallel,
        pipeline_parallel=request.pipeline_parallel,
        replicas=request.replicas,
    )
