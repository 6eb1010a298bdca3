"""Plans, offerings and errors as JSON documents: what `--json` prints, with stable names.

Sizes are GiB, prices US dollars, times ISO 8601. `docs/planning.md` describes every field.
Layer 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from conduit_nb.compute.selection import Explanation
from conduit_nb.compute.throughput import Range
from conduit_nb.compute.vram import GIB, DevicePlan, ModelPlan, Plan, PlannedModel, Term
from conduit_nb.errors import ConduitError
from conduit_nb.plans.answer import PlanAnswer, Target
from conduit_nb.plans.choice import Choice

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Document = dict[str, Any]


def plan_document(answer: PlanAnswer) -> Document:
    """Return a plan with its devices, its terms, and whether and why it fits."""
    plan = answer.plan
    return {
        **_plan_summary(plan),
        "fits": answer.fits,
        "why_unknown": answer.why_unknown or None,
        "why_not": [{"code": one.code, "text": one.text} for one in answer.reasons],
        "hint": answer.hint or None,
        "largest_max_model_len": answer.largest_model_len,
        "largest_concurrency": answer.largest_concurrency,
        "gpu": _target(answer.target),
        "devices": [
            _device(device, fits, answer.target)
            for device, fits in zip(plan.devices, answer.device_fits, strict=True)
        ],
    }


def offerings_document(choice: Choice, *, why: bool = False) -> Document:
    """Return what is offered, the best first; with `why` also what is not, and the reasons."""
    constraint = choice.constraint
    document: Document = {
        "objective": choice.objective,
        "constraint": {
            "enterprise": constraint.enterprise,
            "single_device": constraint.single_device,
            "max_usd_per_hour": constraint.max_usd_per_hour,
            "regions": constraint.regions,
            "providers": constraint.providers,
            "min_availability": constraint.min_availability,
            "interruptible": constraint.interruptible,
        },
        "plan": _plan_summary(choice.plan) if choice.plan else None,
        "offerings": [_explanation(one, choice) for one in choice.ranked],
        "excluded_count": len(choice.excluded),
        "reason_counts": choice.reason_counts(),
        "other_gpus": choice.other_gpus,
        "failures": [
            {"provider": failure.provider, **error_document(failure.error)["error"]}
            for failure in choice.failures
        ],
    }
    if why:
        document["excluded"] = [_explanation(one, choice) for one in choice.excluded]
    return document


def table_document(records: Iterable[DataclassInstance]) -> list[Document]:
    """Return records as objects, one each, with the names of their fields."""
    return [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(record).items()
        }
        for record in records
    ]


def error_document(error: ConduitError) -> Document:
    """Return an error; `code` and `param` are stable, the words are not."""
    return {
        "error": {
            "type": type(error).__name__,
            "code": error.code,
            "param": getattr(error, "param", None),
            "message": str(error),
            "hint": error.hint or None,
            "retryable": error.retryable,
        }
    }


def _plan_summary(plan: Plan) -> Document:
    required = plan.required
    asked = plan.request.models if plan.request else (None,) * len(plan.models)
    return {
        "models": [
            _model(model, question) for model, question in zip(plan.models, asked, strict=True)
        ],
        "runtime": plan.runtime,
        "runtime_version": plan.runtime_version,
        "tensor_parallel": plan.tensor_parallel,
        "pipeline_parallel": plan.pipeline_parallel,
        "replicas": plan.replicas,
        "device_count": plan.device_count,
        "largest_device_gib": _gib(plan.largest_device_bytes),
        "total_gib": _gib(plan.total_bytes),
        "kv_bytes_per_token": plan.kv_bytes_per_token,
        "requires": {
            "dtypes": sorted(required.dtypes),
            "compute_capability": _version(required.compute_capability),
            "cuda": _version(required.cuda),
            "driver": _version(required.driver),
        },
    }


def _model(model: ModelPlan, asked: PlannedModel | None) -> Document:
    document: Document = {
        "model_id": model.model_id,
        "weights_gib": _gib(model.weights_bytes),
        "kv_bytes_per_token": model.kv_bytes_per_token,
        "kv_gib": _gib(model.kv_bytes),
        "max_model_len": model.max_model_len,
        "max_model_concurrency": model.max_model_concurrency,
        "active_weight_gib_per_token": _gib(model.active_weight_bytes_per_token),
        "gflop_per_token": round(model.flops_per_token / 1e9, 3),
        "state_bytes_per_request": model.state_bytes_per_request,
        "remarks": list(model.remarks),
    }
    if asked is not None:
        spec = asked.spec
        stored = spec.quantization.label if spec.quantization else None
        document |= {
            "weights_source": asked.weights.source,
            "architecture": spec.architectures[0] if spec.architectures else None,
            "layers": spec.layers,
            "context_limit": spec.context_tokens,
            "stored_dtype": stored or spec.dtype,
            "dtype": asked.dtype,
            "kv_dtype": asked.kv_dtype,
            "quantization": asked.quantization or stored,
        }
    return document


def _device(device: DevicePlan, fits: bool | None, target: Target | None) -> Document:
    return {
        "stage": device.stage,
        "rank": device.rank,
        "weights_gib": _gib(device.weights_bytes),
        "kv_bytes_per_token": device.kv_bytes_per_token,
        "kv_gib": _gib(device.kv_bytes),
        "activation_gib": _gib(device.activation_bytes),
        "overhead_gib": _gib(device.overhead_bytes),
        "total_gib": _gib(device.total_bytes),
        "memory_gib": _gib(target.memory_bytes) if target else None,
        "fits": fits,
        "terms": [_term(term) for term in device.terms],
    }


def _term(term: Term) -> Document:
    return {
        "part": term.part,
        "name": term.name,
        "gib": _gib(term.bytes),
        "bytes": term.bytes,
        "formula": term.formula,
        "source": term.source,
    }


def _target(target: Target | None) -> Document | None:
    if target is None:
        return None
    return {
        "name": target.name,
        "count": target.count,
        "memory_gib": _gib(target.memory_bytes),
        "is_this_machine": target.is_local,
        "note": target.note or None,
    }


def _explanation(one: Explanation, choice: Choice) -> Document:
    offering = one.offering
    return {
        "rank": one.rank,
        "provider": offering.provider,
        "id": offering.id,
        "region": offering.region,
        "accelerator": offering.hardware.name if offering.accelerator else None,
        "count": offering.count,
        "nodes": offering.nodes,
        "memory_gib": round(offering.hardware.memory_gib, 3),
        "total_gib": round(offering.total_gib, 3),
        "usd_per_hour": offering.usd_per_hour,
        "usd_per_gib_hour": round(offering.usd_per_gib_hour, 6),
        "price_as_of": _moment(offering.price_as_of),
        "availability": offering.availability,
        "availability_as_of": _moment(offering.availability_as_of),
        "interruptible": offering.interruptible,
        "enterprise": offering.enterprise,
        "launchable": choice.is_launchable(offering),
        "fits": one.fits if choice.plan else None,
        "instances": one.instances,
        "total_usd_per_hour": one.usd_per_hour,
        "value": one.value,
        "tokens_per_s": _range(one.tokens_per_s),
        "why_not": [{"code": reason.code, "text": reason.text} for reason in one.reasons],
    }


def _range(value: Range | None) -> Mapping[str, float] | None:
    if value is None:
        return None
    parts = {"low": value.low, "expected": value.expected, "high": value.high}
    return {name: round(number, 3) for name, number in parts.items()}


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _version(parts: tuple[int, ...] | None) -> str | None:
    return ".".join(map(str, parts)) if parts else None


def _gib(size_bytes: int) -> float:
    return round(size_bytes / GIB, 6)
