"""Models, and how they are asked to be served, to the plan of what each device must hold.

Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conduit_nb.compute.activations import activation_bytes, runtime_bytes
from conduit_nb.compute.kv_cache import KvNeed, kv_need
from conduit_nb.compute.limits import check_model, check_split
from conduit_nb.compute.overheads import Overheads, overheads_of
from conduit_nb.compute.sharding import StageWeights, stage_of_layers, stage_weights
from conduit_nb.compute.vram import (
    ComputeDtype,
    DevicePlan,
    ModelPlan,
    Plan,
    PlannedModel,
    PlanRequest,
    Requirements,
    Term,
)
from conduit_nb.errors import ArgumentError
from conduit_nb.models.quantization import Quantization, named_quantization
from conduit_nb.models.spec import ModelDtype, ModelSpec
from conduit_nb.models.tensors import ITEM_BYTES, Tensor, TensorDtype
from conduit_nb.models.weights import served_tensors

DEFAULT_TOKENS = 2048
"""The length of a request where config.json sets no limit and nobody asks for one, as in vLLM."""

_COMPUTE: dict[ModelDtype, ComputeDtype] = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
}
_KV_DTYPES: dict[str, TensorDtype] = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "fp8": "float8",
}
# NVIDIA's first generation that multiplies a type: CUDA C++ Programming Guide, tensor cores.
_CAPABILITY: dict[ComputeDtype, tuple[int, int]] = {
    "bf16": (8, 0),
    "fp8": (8, 9),
    "fp4": (10, 0),
    "int8": (7, 5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """A model with every choice made: precisions, length, and what its stages hold."""

    asked: PlannedModel
    spec: ModelSpec
    tensors: tuple[Tensor, ...]
    dtype: ModelDtype
    kv_dtype: TensorDtype
    quantization: Quantization | None
    tokens: int
    weights: tuple[StageWeights, ...]
    kv: tuple[KvNeed, ...]


def plan(
    models: Sequence[PlannedModel],
    *,
    runtime: str = "lmlite",
    runtime_version: str | None = None,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    replicas: int = 1,
) -> Plan:
    """Return what `models` together need on each device.

    Raises PlanError where a split, a length or a precision is not possible for a model or the
    runtime, ArgumentError for a runtime or a quantization that is not known.
    """
    for model in models:
        _require_planned(model)
    overheads = overheads_of(runtime, runtime_version)
    request = PlanRequest(
        models=tuple(models),
        runtime=runtime,
        runtime_version=runtime_version,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=replicas,
    )
    check_split(request, overheads)
    served = tuple(_served(model, request, overheads) for model in models)
    devices = tuple(
        _device(served, request, overheads, stage, rank)
        for stage in range(pipeline_parallel)
        for rank in range(tensor_parallel)
    )
    return Plan(
        runtime=runtime,
        runtime_version=overheads.version,
        models=tuple(_model_plan(model, tensor_parallel) for model in served),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=replicas,
        devices=devices,
        required=_required(served, overheads),
        request=request,
    )


def _require_planned(model: object) -> None:
    if not isinstance(model, PlannedModel):
        raise ArgumentError(
            f"{model!r:.80} is neither a plan nor a planned model.",
            param="models",
            hint="Give conduit_nb.plan(ID, …).plan, or PlannedModel(…).",
        )


def _served(asked: PlannedModel, request: PlanRequest, overheads: Overheads) -> _Served:
    spec = asked.spec
    check_model(asked, request, overheads)
    dtype = _dtype(asked, overheads)
    quantization = named_quantization(asked.quantization) if asked.quantization else None
    if quantization is not None:
        quantization = replace(quantization, ignored=overheads.unquantized)
    tensors = served_tensors(spec, asked.weights, dtype=dtype, quantization=quantization)
    tensor_parallel, pipeline_parallel = request.tensor_parallel, request.pipeline_parallel
    stages = stage_of_layers(spec.layers, pipeline_parallel)
    takes_head = quantization is not None and overheads.quantizes_head
    kv_dtype: TensorDtype = dtype if asked.kv_dtype == "auto" else _KV_DTYPES[asked.kv_dtype]
    return _Served(
        asked=asked,
        spec=spec,
        tensors=tensors,
        dtype=dtype,
        kv_dtype=kv_dtype,
        quantization=spec.quantization or quantization,
        tokens=asked.max_model_len or spec.context_tokens or DEFAULT_TOKENS,
        weights=stage_weights(
            spec,
            tensors,
            overheads,
            dtype=dtype,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            head_dtype="int8" if takes_head else None,
        ),
        kv=tuple(
            kv_need(
                [parts for parts, of in zip(spec.caches, stages, strict=True) if of == stage],
                overheads,
                kv_dtype=kv_dtype,
                dtype=dtype,
                tensor_parallel=tensor_parallel,
            )
            for stage in range(pipeline_parallel)
        ),
    )


def _dtype(asked: PlannedModel, overheads: Overheads) -> ModelDtype:
    """Return the precision that the runtime takes where none is asked for."""
    if asked.dtype != "auto":
        return asked.dtype
    if overheads.runtime == "lmlite":
        return "float32"  # on the CPU, which is what its row was measured on
    if overheads.runtime == "llama.cpp":
        return "float16"
    return asked.spec.dtype if asked.spec.dtype in ("bfloat16", "float16") else "bfloat16"


def _device(
    served: tuple[_Served, ...], request: PlanRequest, overheads: Overheads, stage: int, rank: int
) -> DevicePlan:
    terms = [
        term
        for index, model in enumerate(served)
        for term in _terms(model, request, overheads, stage, is_first=index == 0)
    ]
    sums = {"weights": 0, "kv": 0, "activation": 0, "overhead": 0}
    for term in terms:
        sums[term.part] += term.bytes
    return DevicePlan(
        stage=stage,
        rank=rank,
        weights_bytes=sums["weights"],
        kv_bytes_per_token=sum(model.kv[stage].bytes_per_token for model in served),
        kv_bytes=sums["kv"],
        activation_bytes=sums["activation"],
        overhead_bytes=sums["overhead"],
        terms=tuple(terms),
    )


def _terms(
    model: _Served, request: PlanRequest, overheads: Overheads, stage: int, *, is_first: bool
) -> Iterator[Term]:
    """Yield what one model adds to a device of `stage`."""
    spec, asked, held = model.spec, model.asked, model.weights[stage]
    stored = model.quantization.label if model.quantization else model.dtype
    split = f" / {request.tensor_parallel} ranks" if request.tensor_parallel > 1 else ""
    for role, size in held.bytes_by_role.items():
        yield Term(
            name=f"{asked.model_id} {role}",
            part="weights",
            bytes=size,
            formula=f"numbers x bytes ({stored}){split}",
            source=asked.weights.source,
        )
    for name, size, formula in (
        ("rotations", held.rope_bytes, "positions x rotated size x bytes"),
        ("latent copies", held.latent_copy_bytes, "kv_b_proj once more, for absorbed attention"),
    ):
        if size:
            yield Term(
                name=f"{asked.model_id} {name}",
                part="weights",
                bytes=size,
                formula=formula,
                source=f"{overheads.runtime} {overheads.version}",
            )
    need, rows = model.kv[stage], asked.max_model_concurrency
    fixed = rows * need.request_state_bytes
    yield Term(
        name=f"{asked.model_id} KV cache",
        part="kv",
        bytes=rows * need.request_bytes(model.tokens) - fixed,
        formula=f"{rows} requests x {model.tokens:,} tokens x {need.bytes_per_token:,} bytes"
        + (f", sliding layers {need.sliding_tokens:,} tokens" if need.sliding_tokens else ""),
        source=_kv_formula(spec),
    )
    if fixed:
        yield Term(
            name=f"{asked.model_id} states",
            part="kv",
            bytes=fixed,
            formula=f"{rows} requests x {need.request_state_bytes:,} bytes, whatever their length",
            source="convolutions and sums of linear layers, what a decoder keeps of its encoder",
        )
    if overheads.scattered_kv_share and rows > 1:
        yield Term(
            name=f"{asked.model_id} scattered pages",
            part="activation",
            bytes=int(overheads.scattered_kv_share * rows * need.request_bytes(model.tokens)),
            formula=f"{overheads.scattered_kv_share:.0%} of the KV cache of several requests",
            source=overheads.source,
        )
    layers = stage_of_layers(spec.layers, request.pipeline_parallel).count(stage)
    yield Term(
        name=f"{asked.model_id} activations",
        part="activation",
        bytes=activation_bytes(
            spec,
            overheads,
            dtype=model.dtype,
            tensor_parallel=request.tensor_parallel,
            pipeline_parallel=request.pipeline_parallel,
            is_last_stage=stage == request.pipeline_parallel - 1,
        ),
        formula=f"max(logits of {overheads.step_rows} rows, layer of {overheads.step_tokens} "
        "tokens) + what lives through the forward",
        source=overheads.activation_source,
    )
    outside, graphs = runtime_bytes(
        spec, overheads, layers=layers, tensor_parallel=request.tensor_parallel
    )
    if overheads.is_shared_by_models and not is_first:
        outside = overheads.bytes_per_model
    yield Term(
        name=f"{overheads.runtime} itself",
        part="overhead",
        bytes=outside,
        formula="measured",
        source=overheads.source,
    )
    if graphs:
        yield Term(
            name="CUDA graphs",
            part="overhead",
            bytes=graphs,
            formula=f"base + {layers} layers x {overheads.graph_bytes_per_layer >> 20} MiB",
            source=overheads.source,
        )


def _kv_formula(spec: ModelSpec) -> str:
    if not any(spec.caches):
        return "an encoder keeps nothing of a text that it has read"
    if spec.latent_dim:
        return "(kv_lora_rank + qk_rope_head_dim) x bytes x layers, not split by tensor parallel"
    return "2 x KV heads of a rank x head size x bytes x layers"


def _model_plan(model: _Served, tensor_parallel: int) -> ModelPlan:
    spec, asked = model.spec, model.asked
    active_bytes, active_numbers = _active(model)
    return ModelPlan(
        model_id=asked.model_id,
        weights_bytes=tensor_parallel * sum(held.total_bytes for held in model.weights),
        kv_bytes_per_token=tensor_parallel * sum(need.bytes_per_token for need in model.kv),
        state_bytes_per_request=tensor_parallel
        * sum(need.request_state_bytes for need in model.kv),
        remarks=_remarks(model),
        kv_bytes=tensor_parallel
        * asked.max_model_concurrency
        * sum(need.request_bytes(model.tokens) for need in model.kv),
        active_weight_bytes_per_token=active_bytes,
        flops_per_token=2 * active_numbers * (1 if spec.layers else 0),
        max_model_len=model.tokens,
        max_model_concurrency=asked.max_model_concurrency,
    )


def _remarks(model: _Served) -> tuple[str, ...]:
    """Return what was assumed of the model, and what a runtime adds to it."""
    remarks = [*model.spec.remarks, *model.asked.weights.remarks]
    if lacks := ", ".join(model.spec.lacks):
        remarks.append(
            f"config.json leaves out {lacks}, and the defaults of its type are not known here: the"
            " usual ones are planned."
        )
    if model.asked.max_model_len is None and not model.spec.context_tokens:
        remarks.append(
            f"config.json sets no limit of the context; {model.tokens:,} tokens are planned, as"
            " vLLM does. Set max_model_len."
        )
    if padding := sum(need.padding_layers for need in model.kv):
        remarks.append(f"The runtime pads the KV cache by {padding} layers.")
    return tuple(remarks)


def _active(model: _Served) -> tuple[int, int]:
    """Return the bytes and numbers that one token is multiplied with.

    Of experts their share that works; of an embedding only a row, unless it is the head as well;
    what sees or hears does not work for text.
    """
    spec = model.spec
    share = (spec.experts_per_token or 0) / spec.experts if spec.experts else 1.0
    size = numbers = 0.0
    for tensor in model.tensors:
        works = {"expert": share, "vision": 0.0, "position": 0.0}.get(tensor.role, 1.0)
        if tensor.role == "embedding" and not spec.has_tied_embeddings:
            works = 0.0
        size += works * tensor.bytes_in(model.dtype)
    for tensor in model.asked.weights.tensors:
        works = {"expert": share, "vision": 0.0, "position": 0.0}.get(tensor.role, 1.0)
        if tensor.role == "embedding" and not spec.has_tied_embeddings:
            works = 0.0
        numbers += works * _numbers(tensor, model.quantization)
    return int(size), int(numbers)


def _numbers(tensor: Tensor, quantization: Quantization | None) -> float:
    """Return how many weights a stored tensor stands for: packed ones hold several in a number."""
    is_scale = tensor.name.endswith(("scales", "qzeros", "g_idx", "absmax", "_map", "SCB"))
    if is_scale or "scale" in tensor.name or "zero_point" in tensor.name:
        return 0.0
    if quantization is None or tensor.dtype not in ("int32", "uint8"):
        return float(tensor.elements)
    return tensor.elements * ITEM_BYTES[tensor.dtype] * 8 / quantization.bits


def _required(served: tuple[_Served, ...], overheads: Overheads) -> Requirements:
    needed: set[ComputeDtype] = set()
    for model in served:
        needed.add(_COMPUTE[model.dtype])
        method = model.quantization.method if model.quantization else None
        if method == "fp8" or model.kv_dtype == "float8":
            needed.add("fp8")
        if method == "int8":
            needed.add("int8")
    capabilities: list[Any] = [_CAPABILITY[dtype] for dtype in needed if dtype in _CAPABILITY]
    if overheads.least_capability:
        capabilities.append(overheads.least_capability)
    return Requirements(
        dtypes=frozenset(needed),
        compute_capability=max(capabilities, default=None) if overheads.least_capability else None,
        cuda=overheads.least_cuda,
        driver=overheads.least_driver,
    )
