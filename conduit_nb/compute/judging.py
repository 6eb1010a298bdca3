"""What speaks against an offering: every reason, in words with numbers.

Holds hardware against a plan and terms against a constraint. Knows no ranking.
Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.fit import Device, misfits
from conduit_nb.compute.names import AVAILABILITIES
from conduit_nb.compute.offerings import Hardware, Terms
from conduit_nb.compute.vram import GIB, ComputeDtype, Plan

ReasonCode = Literal[
    "memory",
    "devices",
    "nodes",
    "runtime",
    "dtype",
    "compute_capability",
    "cuda",
    "driver",
    "no_figures",
    "price",
    "provider",
    "region",
    "availability",
    "interruptible",
    "enterprise",
    "single_device",
    "not_launchable",
]

# What a user can do about each reason.
KNOBS: Mapping[ReasonCode, str] = {
    "memory": "lower max_model_len or max_model_concurrency, choose another dtype, or split the"
    " model over more devices (tensor_parallel)",
    "devices": "lower tensor_parallel, pipeline_parallel or replicas",
    "nodes": "lower tensor_parallel or pipeline_parallel until a replica fits one node",
    "runtime": "choose another runtime (lmlite runs on CPUs too)",
    "dtype": "choose another dtype or quantization",
    "compute_capability": "choose another runtime or quantization",
    "cuda": "choose an older version of the runtime",
    "driver": "update the driver, or choose an older version of the runtime",
    "no_figures": "choose another objective",
    "price": "raise max_usd_per_hour",
    "provider": "allow more providers",
    "region": "allow more regions",
    "availability": "lower min_availability",
    "interruptible": "leave interruptible out of the constraint",
    "enterprise": "leave enterprise out of the constraint",
    "single_device": "leave single_device out of the constraint",
    "not_launchable": "install or configure that provider, or say only_launchable=False",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that speaks against an offering."""

    code: ReasonCode
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeReach:
    """Where a runtime works: whose devices, and whether one replica may span several nodes."""

    vendors: frozenset[str]
    spans_nodes: bool


# From the runtimes' own installation pages: vLLM and SGLang (CUDA, ROCm; several nodes by Ray),
# TensorRT-LLM (CUDA; MPI), llama.cpp (all, one node), LmLite (torch on CPU, CUDA, MPS). vLLM and
# SGLang have CPU builds too, but what is known of their overheads was measured on GPUs.
RUNTIMES: Mapping[str, RuntimeReach] = {
    "lmlite": RuntimeReach(vendors=frozenset({"CPU", "NVIDIA", "Apple"}), spans_nodes=False),
    "vllm": RuntimeReach(vendors=frozenset({"NVIDIA", "AMD"}), spans_nodes=True),
    "sglang": RuntimeReach(vendors=frozenset({"NVIDIA", "AMD"}), spans_nodes=True),
    "tensorrt": RuntimeReach(vendors=frozenset({"NVIDIA"}), spans_nodes=True),
    "llamacpp": RuntimeReach(
        vendors=frozenset({"CPU", "NVIDIA", "AMD", "Apple"}), spans_nodes=False
    ),
}
# Another runtime is somebody's own: it may run on anything, of one node.
OTHER_RUNTIME = RuntimeReach(
    vendors=frozenset({"CPU", "NVIDIA", "AMD", "Apple"}), spans_nodes=False
)
# What torch multiplies on a CPU.
CPU_DTYPES: frozenset[ComputeDtype] = frozenset({"fp32", "bf16", "fp16", "int8"})
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = get_args(ComputeDtype)


def hardware_reasons(hardware: Hardware, plan: Plan) -> tuple[Reason, ...]:
    """Return all that keeps the hardware from holding the plan, nothing where it holds it."""
    found = misfits(plan, _device(hardware))
    return (
        *(Reason(code=misfit.code, text=misfit.text.rstrip(".")) for misfit in found),
        *_size_reasons(hardware, plan),
        *_runtime_reasons(hardware, plan),
    )


def single_device_reason(hardware: Hardware) -> Reason | None:
    """Return what is to be said where only one device is accepted."""
    if hardware.devices == 1:
        return None
    return Reason(code="single_device", text=f"has {hardware.devices} devices")


def needed_instances(hardware: Hardware, plan: Plan) -> int:
    """Return how many such offerings the plan's replicas need; 0 where one holds no replica.

    Tensor parallel ranks stand in one node. Pipeline stages may stand in several where the
    runtime can do that and the nodes are joined.
    """
    stages_of_node = hardware.count // plan.tensor_parallel
    replicas = hardware.nodes * (stages_of_node // plan.pipeline_parallel)
    if not replicas and _may_span(hardware, plan):
        replicas = hardware.nodes * stages_of_node // plan.pipeline_parallel
    return ceil(plan.replicas / replicas) if replicas else 0


def is_acceptable(terms: Terms, constraint: DeploymentConstraint, *, only_launchable: bool) -> bool:
    """Say whether `terms_reasons` has nothing to say, without finding the words."""
    return not (
        _is_other_provider(terms, constraint)
        or _is_other_region(terms, constraint)
        or _is_short(terms, constraint)
        or _is_other_kind(terms, constraint)
        or (constraint.enterprise and not terms.enterprise)
        or (only_launchable and not terms.launchable)
    )


def terms_reasons(
    terms: Terms, constraint: DeploymentConstraint, *, only_launchable: bool
) -> tuple[Reason, ...]:
    """Return all in which an offering's terms break the constraint.

    Its price and `single_device` are judged apart: they depend on the plan and the hardware.
    """
    return tuple(_terms_reasons(terms, constraint, only_launchable))


def price_reason(usd_per_hour: float, max_usd_per_hour: float) -> Reason:
    """Say that a price is above the limit."""
    return Reason(
        code="price",
        text=f"costs ${usd_per_hour:.2f}/h, above max_usd_per_hour ${max_usd_per_hour:.2f}",
    )


def _size_reasons(hardware: Hardware, plan: Plan) -> Iterator[Reason]:
    if hardware.devices < plan.devices_per_replica:
        yield Reason(
            code="devices",
            text=f"{_count(hardware.devices, 'device')}, one replica needs"
            f" {plan.devices_per_replica} (tensor {plan.tensor_parallel}"
            f" x pipeline {plan.pipeline_parallel})",
        )
    elif not needed_instances(hardware, plan):
        yield Reason(code="nodes", text=_why_not_over_nodes(hardware, plan))


def _why_not_over_nodes(hardware: Hardware, plan: Plan) -> str:
    if hardware.count < plan.tensor_parallel:
        return (
            f"{hardware.count} of {hardware.devices} devices in a node, tensor parallel needs"
            f" {plan.tensor_parallel} in one"
        )
    if not _reach(plan).spans_nodes:
        return f"{plan.runtime} does not spread a replica over nodes"
    if hardware.node_link is None:
        return "nothing is said to join its nodes, and a replica would span them"
    return (
        f"{hardware.nodes} nodes of {hardware.count} devices, which do not divide into"
        f" {plan.pipeline_parallel} stages of {plan.tensor_parallel}"
    )


def _may_span(hardware: Hardware, plan: Plan) -> bool:
    return hardware.nodes > 1 and hardware.node_link is not None and _reach(plan).spans_nodes


def _reach(plan: Plan) -> RuntimeReach:
    key = plan.runtime.lower().replace(".", "").replace("-", "").removesuffix("llm")
    return RUNTIMES.get(plan.runtime.lower(), RUNTIMES.get(key, OTHER_RUNTIME))


def _runtime_reasons(hardware: Hardware, plan: Plan) -> Iterator[Reason]:
    accelerator = hardware.accelerator
    vendor = "CPU" if hardware.is_cpu else accelerator.vendor if accelerator else None
    if vendor is not None and vendor not in _reach(plan).vendors:
        yield Reason(code="runtime", text=f"{plan.runtime} does not run on {vendor}")


def _device(hardware: Hardware) -> Device:
    """Return one device as the plan sees it; nobody knows the types of an unknown accelerator."""
    accelerator = hardware.accelerator
    dtypes: frozenset[ComputeDtype] | None = CPU_DTYPES if hardware.is_cpu else None
    if accelerator is not None:
        dtypes = frozenset(one for one in COMPUTE_DTYPES if accelerator.supports(one))
    return Device(
        memory_bytes=int(hardware.memory_gib * GIB),
        dtypes=dtypes,
        compute_capability=accelerator.compute_capability if accelerator else None,
        cuda=hardware.cuda,
        driver=hardware.driver,
    )


def _terms_reasons(
    terms: Terms, constraint: DeploymentConstraint, only_launchable: bool
) -> Iterator[Reason]:
    if _is_other_provider(terms, constraint):
        yield Reason(code="provider", text=f"{terms.provider} is not among the providers")
    if _is_other_region(terms, constraint):
        said = f"{terms.region} is" if terms.region else "its region is not known, so"
        yield Reason(code="region", text=f"{said} not among the regions")
    if _is_short(terms, constraint):
        text = f"availability {terms.availability}, asked for {constraint.min_availability}"
        sold_out = terms.availability == "none"
        yield Reason(code="availability", text="sold out" if sold_out else text)
    if _is_other_kind(terms, constraint):
        text = "may be interrupted" if terms.interruptible else "is not interruptible"
        yield Reason(code="interruptible", text=text)
    if constraint.enterprise and not terms.enterprise:
        yield Reason(code="enterprise", text="not in a certified data centre of the provider's own")
    if only_launchable and not terms.launchable:
        yield Reason(code="not_launchable", text="no provider here can start it; price only")


def _is_other_provider(terms: Terms, constraint: DeploymentConstraint) -> bool:
    return constraint.providers is not None and terms.provider.lower() not in constraint.providers


def _is_other_region(terms: Terms, constraint: DeploymentConstraint) -> bool:
    if constraint.regions is None:
        return False
    name = (terms.region or "").lower()
    return not name or (
        name not in constraint.regions
        and not any(one[-1] == "*" and name.startswith(one[:-1]) for one in constraint.regions)
    )


def _is_short(terms: Terms, constraint: DeploymentConstraint) -> bool:
    least = constraint.min_availability
    if least is None:
        return terms.availability == "none"
    if terms.availability == "unknown":
        return least != "none"
    return AVAILABILITIES.index(terms.availability) < AVAILABILITIES.index(least)


def _is_other_kind(terms: Terms, constraint: DeploymentConstraint) -> bool:
    wanted = constraint.interruptible
    return wanted is not None and terms.interruptible != wanted


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
