"""Which weights lie on which device, and what they take there: tensor and pipeline splits.

The rules are those of vLLM 0.19: `distributed/utils.py` (get_pp_indices), `linear.py`,
`vocab_parallel_embedding.py` and `models/deepseek_v2.py`; of SGLang they are the same. What a
tensor takes on a CUDA device follows `c10/cuda/CUDACachingAllocator.cpp` of PyTorch 2.
Layer 2: pure.
"""

from __future__ import annotations

import bisect
import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conduit_nb.compute.overheads import Overheads
from conduit_nb.models.layer_caches import ENCODERS
from conduit_nb.models.spec import ModelSpec, rope_scalings, scaling_kind
from conduit_nb.models.tensors import ITEM_BYTES, Role, Tensor, TensorDtype

MIB = 2**20

_WHOLE: frozenset[Role] = frozenset({"position", "norm", "router", "latent"})
"""Every rank of a tensor-parallel group holds these in full."""

# Their positions are learned, linear, or not needed.
_NO_ROPE = ENCODERS | {
    *("gpt2", "opt", "bloom", "mpt", "gpt_neo", "gpt_bigcode", "xglm", "biogpt", "bart", "mbart"),
    *("t5", "mt5", "umt5", "whisper", "mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "jamba"),
    *("nemotron_h", "granitemoehybrid"),
}

_ROW_BIAS = re.compile(r"\.(o_proj|out_proj|dense|down_proj|fc2|c_proj|dense_4h_to_h)\.bias$")
# Projections of one input that runtimes keep as one tensor.
_FUSED = (
    (re.compile(r"\.experts\.\d+\."), ".experts."),
    (re.compile(r"\.(q|k|v)_proj\."), ".qkv_proj."),
    (re.compile(r"\.(gate|up)_proj\."), ".gate_up_proj."),
    (re.compile(r"\.(w1|w3)\."), ".w13."),
    (re.compile(r"\.(q_a_proj|kv_a_proj_with_mqa)\."), ".qkv_a_proj."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWeights:
    """What each device of one pipeline stage holds: bytes of weights by the part they play."""

    bytes_by_role: Mapping[Role, int]
    rope_bytes: int
    latent_copy_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return all of it."""
        return sum(self.bytes_by_role.values()) + self.rope_bytes + self.latent_copy_bytes


def stage_of_layers(layers: int, stages: int) -> list[int]:
    """Return the stage of each layer; those that remain go to the stages before the last."""
    sizes = [layers // stages] * stages
    for index in range(layers % stages):
        sizes[-(index + 2) % stages] += 1
    return [stage for stage, size in enumerate(sizes) for _ in range(size)]


def padded(size: int, multiple: int) -> int:
    """Return `size` rounded up to a multiple."""
    return -(-size // multiple) * multiple


def allocated_bytes(sizes: Iterable[int]) -> Iterator[int]:
    """Yield what PyTorch's CUDA allocator counts for tensors of `sizes` bytes, made in that order.

    Up to 1 MiB it counts what is asked. Above, it takes the smallest free piece that is large
    enough, or a new segment: of 20 MiB, or from 10 MiB on of whole 2 MiB. It splits off what is
    left only where that is more than 1 MiB.
    """
    free: list[int] = []
    for size in sizes:
        exact = padded(size, 512)
        if exact <= MIB:
            yield exact
            continue
        at = bisect.bisect_left(free, exact)
        if at < len(free):
            piece = free.pop(at)
        else:
            piece = 20 * MIB if exact < 10 * MIB else padded(exact, 2 * MIB)
        if piece - exact > MIB:
            bisect.insort(free, piece - exact)
            yield exact
        else:
            yield piece


def stage_weights(
    spec: ModelSpec,
    tensors: Iterable[Tensor],
    overheads: Overheads,
    *,
    dtype: TensorDtype,
    tensor_parallel: int,
    pipeline_parallel: int,
    head_dtype: TensorDtype | None = None,
) -> tuple[StageWeights, ...]:
    """Return what each stage's devices hold of `tensors`; all ranks of a stage hold the same.

    `head_dtype` is that of the head where it is not as stored.
    """
    stages = stage_of_layers(spec.layers, pipeline_parallel)
    fused: list[dict[str, tuple[Role, int]]] = [{} for _ in range(pipeline_parallel)]
    has_copy = spec.has_tied_embeddings and (pipeline_parallel > 1 or overheads.copies_tied_head)
    for tensor in _with_tied_head(tensors) if has_copy else tensors:
        stage = _stage(tensor, stages, pipeline_parallel)
        is_other = head_dtype is not None and tensor.role == "head"
        served = replace(tensor, dtype=head_dtype) if is_other else tensor
        size = rank_bytes(spec, served, overheads, tensor_parallel)
        name = _fused_name(tensor.name)
        role, before = fused[stage].get(name, (tensor.role, 0))
        fused[stage][name] = (role, before + size)
    rope = rope_table_bytes(spec, overheads)
    latent = latent_copy_bytes(spec, overheads, dtype=dtype) // tensor_parallel
    return tuple(
        StageWeights(
            bytes_by_role=_by_role(held.values(), overheads),
            rope_bytes=rope,
            latent_copy_bytes=stages.count(stage) * latent,
        )
        for stage, held in enumerate(fused)
    )


def rank_bytes(spec: ModelSpec, tensor: Tensor, overheads: Overheads, tensor_parallel: int) -> int:
    """Return what one rank holds of `tensor`, before the allocator rounds it."""
    role = tensor.role
    size = ITEM_BYTES[tensor.dtype or "float32"]
    if role in ("embedding", "head") and tensor.shape[0] == spec.vocab_tokens:
        rows = math.ceil(padded(tensor.shape[0], overheads.vocab_multiple) / tensor_parallel)
        return rows * math.prod(tensor.shape[1:]) * size
    if role in _WHOLE or _ROW_BIAS.search(tensor.name):
        return tensor.elements * size
    parts = tensor_parallel
    if role == "key_value" and spec.kv_heads:
        parts = min(tensor_parallel, spec.kv_heads)  # more ranks than heads hold copies
    held = tensor.elements * size / parts
    if role == "expert" and overheads.pads_mxfp4:
        held *= _mxfp4_padding(spec, tensor, tensor_parallel)
    return math.ceil(held)


def rope_table_bytes(spec: ModelSpec, overheads: Overheads) -> int:
    """Return the table of rotations that a runtime keeps for every position it may meet.

    vLLM's `rotary_embedding/`: as many rows as positions; linear and dynamic scaling multiply
    them, YaRN counts from the original length. Gemma 3 has a second, unscaled one.
    """
    config, rows = spec.config, spec.positions
    if overheads.rope_bytes is None or not rows or _has_no_rope(spec):
        return 0
    scaling: Mapping[str, Any] = next(rope_scalings(config), dict[str, Any]())
    kind = scaling_kind(scaling)
    original = int(scaling.get("original_max_position_embeddings") or rows)
    factor = float(scaling.get("factor") or 1.0)
    size = overheads.rope_bytes
    if kind in ("linear", "dynamic"):
        scaled = int(rows * factor)
    elif kind == "yarn":
        scaled = int(original * factor)
        size = 4 if spec.latent_dim else size
    elif kind == "longrope":
        scaled = original + rows
    else:
        scaled = rows
    tables = scaled + (rows if config.get("rope_local_base_freq") or kind == "linear" else 0)
    width = int(config.get("qk_rope_head_dim") or 0) or spec.head_dim or 0
    share = float(config.get("partial_rotary_factor") or scaling.get("partial_rotary_factor") or 1)
    return int(tables * int(width * share) * size)


def latent_copy_bytes(spec: ModelSpec, overheads: Overheads, *, dtype: TensorDtype) -> int:
    """Return what a layer's kv_b_proj takes once more, in full, for absorbed attention.

    vLLM `layers/attention/mla_attention.py`: W_UK and W_UV, whatever the weights are stored in.
    """
    if not overheads.keeps_latent_copies or not spec.latent_dim or not spec.heads:
        return 0
    config = spec.config
    width = int(config.get("qk_nope_head_dim") or 0) + int(config.get("v_head_dim") or 0)
    return spec.heads * width * int(config["kv_lora_rank"]) * ITEM_BYTES[dtype]


def _has_no_rope(spec: ModelSpec) -> bool:
    return str(spec.config.get("model_type")) in _NO_ROPE or bool(spec.config.get("alibi"))


def _with_tied_head(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield `tensors`, and the embedding once more as the head that it is as well."""
    for tensor in tensors:
        yield tensor
        if tensor.role == "embedding":
            yield replace(tensor, name="lm_head.weight")


def _stage(tensor: Tensor, stages: list[int], pipeline_parallel: int) -> int:
    if tensor.layer is not None and tensor.layer < len(stages):
        return stages[tensor.layer]
    is_last = tensor.role in ("head", "norm") or "project_out" in tensor.name
    return pipeline_parallel - 1 if is_last else 0


@functools.lru_cache(maxsize=1 << 16)
def _fused_name(name: str) -> str:
    for pattern, fused in _FUSED:
        name = pattern.sub(fused, name)
    return name


def _by_role(held: Iterable[tuple[Role, int]], overheads: Overheads) -> dict[Role, int]:
    sums: dict[Role, int] = {}
    listed = list(held)
    sizes = [size for _, size in listed]
    takes = allocated_bytes(sizes) if overheads.has_caching_allocator else sizes
    for (role, _), taken in zip(listed, takes, strict=True):
        part: Role = "attention" if role in ("query", "key_value", "latent") else role
        sums[part] = sums.get(part, 0) + taken
    return sums


def _mxfp4_padding(spec: ModelSpec, tensor: Tensor, tensor_parallel: int) -> float:
    """Return how much larger vLLM's kernels make a rank's packed experts.

    vLLM `quantization/mxfp4.py` and the kernels' own layout: what is summed over is padded to 256,
    what comes out to 64. On H100 gpt-oss-20b took 13.47 GiB alone and 7.01 on each of two.
    """
    if not tensor.name.endswith(("_blocks", "_scales")):
        return 2.0 if tensor.name.endswith("bias") else 1.0  # their biases become float32
    hidden = spec.hidden_size or 1
    inner = spec.expert_size or hidden
    share = inner // tensor_parallel
    kept = share if share % 64 == 0 else padded(share, 128)
    if "gate_up" in tensor.name:
        return padded(hidden, 256) / hidden * padded(2 * kept, 64) / (2 * share)
    return padded(kept, 256) / share * padded(hidden, 64) / hidden
