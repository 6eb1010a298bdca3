"""The memory that a model needs on a device, by the planner, and the error where it does not fit.

Reads the headers of a model's files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conduit_nb.compute.activations import activation_bytes
from conduit_nb.compute.fit import largest_model_len
from conduit_nb.compute.overheads import Overheads, overheads_of
from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import GIB, Plan, PlannedModel
from conduit_nb.errors import DoesNotFitError, ModelError, PlanError
from conduit_nb.lmlite.placement import MemoryNeed
from conduit_nb.models.config import DType, WeightQuantization
from conduit_nb.models.spec import ModelDtype, ModelSpec
from conduit_nb.models.weights import Weights, read_model, served_tensors

MIN_CONTEXT_TOKENS = 2048
"""The context that a model must have room for where no max_model_len is requested."""

UNKNOWN_CACHE_BYTES = GIB
"""How large the cache may be where the configuration does not say what a token takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded, on devices of which kind ("cpu", "cuda", "mps").

    `max_model_len` None takes MIN_CONTEXT_TOKENS.
    """

    device: str
    dtype: DType = "auto"
    quantization: WeightQuantization | None = None
    max_model_len: int | None = None
    max_concurrency: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a model needs, and of what that is made up.

    `tokens` is the context that must fit. `plan` is None where the planner does not know such
    models: then what its weights take is all that is known.
    """

    model_id: str
    need: MemoryNeed
    tokens: int
    weight_bytes: int
    plan: Plan | None

    def cache_bytes(self, granted: int) -> int:
        """Return how large the cache itself may be, of what is granted for it and its use.

        The pages of several sequences are gathered for attention; one alone needs nothing for that.
        """
        several = int(granted / (1 + overheads_of("lmlite").scattered_kv_share))
        return max(several, min(granted, self.need.min_cache_bytes))

    def refusal(self, available_bytes: int) -> DoesNotFitError:
        """Return why the model cannot be loaded where so much can be had, and what would help."""
        need = self.need
        other = need.fixed_bytes - self.weight_bytes
        length = None
        if self.plan is not None:
            # The plan holds the process as well, which our budget has left out already.
            whole = available_bytes + overheads_of("lmlite").runtime_bytes
            length = largest_model_len(self.plan, whole)
        return DoesNotFitError(
            f"{self.model_id} needs {_gib(need.min_bytes)} GiB (weights"
            f" {_gib(self.weight_bytes)}, KV cache of {self.tokens:,} tokens"
            f" {_gib(need.min_cache_bytes)}, work {_gib(other)}); {_gib(available_bytes)} GiB of"
            " the memory budget can be had for it.",
            needed_gib=need.min_bytes / GIB,
            available_gib=available_bytes / GIB,
            largest_model_len=length,
            largest_concurrency=None,
            hint=_hint(length),
        )


def estimate(model_id: str, folder: Path, options: LoadOptions) -> Estimate:
    """Return what the model in `folder` needs.

    Raises ModelFilesError where its files are broken, ModelError where they are of no known form.
    """
    overheads = overheads_of("lmlite")
    spec, weights = read_model(folder)
    if spec.quantization is not None and spec.quantization.method == "unknown":
        raise ModelError(
            f"Quantization {spec.quantization.name!r} is not known.",
            hint="Choose the model's unquantized form.",
        )
    context = spec.context_tokens or MIN_CONTEXT_TOKENS
    tokens = min(options.max_model_len or MIN_CONTEXT_TOKENS, context)
    model = PlannedModel(
        model_id=model_id,
        spec=spec,
        weights=weights,
        dtype=served_dtype(spec, options),
        max_model_len=tokens,
        quantization=options.quantization,
    )
    try:
        planned = plan([model])
    except PlanError:  # a layout that it does not know
        return _unplanned(model, weights, overheads, options)
    (device,) = planned.devices
    states = planned.models[0].state_bytes_per_request
    sequence_bytes = device.kv_bytes_per_token * context + states
    several = int((1 + overheads.scattered_kv_share) * sequence_bytes * options.max_concurrency)
    return Estimate(
        model_id=model_id,
        need=MemoryNeed(
            fixed_bytes=device.total_bytes - device.kv_bytes - overheads.runtime_bytes,
            min_cache_bytes=device.kv_bytes,
            max_cache_bytes=max(several, device.kv_bytes),
        ),
        tokens=tokens,
        weight_bytes=device.weights_bytes,
        plan=planned,
    )


def served_dtype(spec: ModelSpec, options: LoadOptions) -> ModelDtype:
    """Return the precision that a model is loaded in: lmlite/model_loader.py's rule."""
    if options.dtype != "auto":
        return options.dtype
    return "float32" if options.device == "cpu" or spec.dtype is None else spec.dtype


def _unplanned(
    model: PlannedModel, weights: Weights, overheads: Overheads, options: LoadOptions
) -> Estimate:
    dtype = served_dtype(model.spec, options)
    tensors = served_tensors(model.spec, weights, dtype=dtype, quantization=None)
    stored = sum(tensor.bytes_in(dtype) for tensor in tensors)
    work = activation_bytes(
        model.spec,
        overheads,
        dtype=dtype,
        tensor_parallel=1,
        pipeline_parallel=1,
        is_last_stage=True,
    )
    return Estimate(
        model_id=model.model_id,
        need=MemoryNeed(
            fixed_bytes=stored + work + overheads.bytes_per_model,
            min_cache_bytes=0,
            max_cache_bytes=UNKNOWN_CACHE_BYTES,
        ),
        tokens=model.max_model_len or MIN_CONTEXT_TOKENS,
        weight_bytes=stored,
        plan=None,
    )


def _hint(length: int | None) -> str:
    remedies = [f"Set max_model_len to {length:,} or less"] if length is not None else []
    remedies += [
        "take a smaller dtype (bfloat16) or quantization='int8'",
        "unload another model (conduit_nb.unload_model)",
        "raise CONDUIT_LMLITE_MEMORY_GIB where the machine has more",
    ]
    text = ", ".join(remedies)
    return f"{text[0].upper()}{text[1:]}, or choose a smaller model."


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}"
