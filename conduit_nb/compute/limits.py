"""Which splits, lengths and precisions a model and a runtime allow at all.

Layer 2: pure.
"""

from __future__ import annotations

from conduit_nb.compute.overheads import Overheads
from conduit_nb.compute.sharding import padded
from conduit_nb.compute.vram import PlannedModel, PlanRequest
from conduit_nb.errors import ArgumentError, ContextLengthError, PlanError


def check_split(request: PlanRequest, overheads: Overheads) -> None:
    """Raise ArgumentError for numbers that cannot be meant, PlanError for what it cannot split."""
    for name in ("tensor_parallel", "pipeline_parallel", "replicas"):
        _whole(name, getattr(request, name))
    for model in request.models:
        _whole("max_model_concurrency", model.max_model_concurrency)
        if model.max_model_len is not None:
            _whole("max_model_len", model.max_model_len)
    if not request.models:
        raise ArgumentError("A plan needs a model.", param="models", hint="Name one at least.")
    devices = request.tensor_parallel * request.pipeline_parallel
    if overheads.max_devices is not None and devices > overheads.max_devices:
        raise PlanError(
            f"{overheads.runtime} runs a model on {overheads.max_devices} device, not {devices}.",
            param="tensor_parallel" if request.tensor_parallel > 1 else "pipeline_parallel",
            hint="Leave tensor_parallel and pipeline_parallel at 1, or use another runtime.",
        )


def check_model(model: PlannedModel, request: PlanRequest, overheads: Overheads) -> None:
    """Raise PlanError where the split does not suit the model, ContextLengthError for its length.

    vLLM: the attention heads (`config/model.py`, verify_with_parallel_config) and the padded
    vocabulary (`vocab_parallel_embedding.py`, `pad_vocab_size`, to 64) must divide by the ranks;
    KV heads divide, or each rank holds a copy.
    """
    spec, ranks = model.spec, request.tensor_parallel
    keeps_tokens = any(part.kind != "state" for parts in spec.caches for part in parts)
    if not spec.layers or (keeps_tokens and not (spec.heads and spec.head_dim)):
        raise PlanError(
            f"The config.json of {model.model_id} does not say how many layers and heads it has.",
            hint="Install transformers, which knows the defaults of its type: "
            'pip install "conduit-nb[lmlite]"; or name a language model.',
        )
    if spec.heads and spec.heads % ranks:
        raise PlanError(
            f"{model.model_id} has {spec.heads} attention heads: {ranks} ranks cannot share them.",
            param="tensor_parallel",
            hint=f"Set tensor_parallel to one of {_divisors(spec.heads)}.",
        )
    vocab = padded(spec.vocab_tokens or 0, overheads.vocab_multiple)
    if vocab % ranks:
        raise PlanError(
            f"{model.model_id} has {vocab:,} tokens in its padded vocabulary: {ranks} ranks cannot "
            "share them.",
            param="tensor_parallel",
            hint="Set tensor_parallel to a power of two.",
        )
    kv_heads = spec.kv_heads or spec.heads or 1
    if keeps_tokens and not spec.latent_dim and kv_heads % ranks and ranks % kv_heads:
        raise PlanError(
            f"{model.model_id} has {kv_heads} KV heads: {ranks} ranks can neither share nor copy "
            "them evenly.",
            param="tensor_parallel",
            hint=f"Set tensor_parallel to one of {_divisors(kv_heads)}, or a multiple of "
            f"{kv_heads}.",
        )
    if request.pipeline_parallel > spec.layers:
        raise PlanError(
            f"{model.model_id} has {spec.layers} layers: not enough for "
            f"{request.pipeline_parallel} stages.",
            param="pipeline_parallel",
            hint="Lower pipeline_parallel.",
        )
    _check_length(model)


def _check_length(model: PlannedModel) -> None:
    limit, asked = model.spec.context_tokens, model.max_model_len
    if limit is not None and asked is not None and asked > limit:
        raise ContextLengthError(
            f"{model.model_id} was made for {limit:,} tokens; max_model_len={asked:,} is more.",
            hint=f"Lower max_model_len to {limit} or less.",
        )


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(
            f"{name}={value!r} is not a whole number of at least 1.",
            param=name,
            hint=f"Leave {name} out to get the default.",
        )


def _divisors(number: int) -> str:
    return ", ".join(str(part) for part in range(1, number + 1) if number % part == 0)
