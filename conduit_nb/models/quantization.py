"""Quantization: how it changes the tensors that a model stores.

It is read from a config.json in `quantization_configs`.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from conduit_nb.errors import ArgumentError
from conduit_nb.models.tensors import Role, Tensor, TensorDtype
from conduit_nb.spelling import nearest

# fmt: off
Method = Literal["fp8", "int8", "gptq", "awq", "packed", "affine", "bitsandbytes", "mxfp4", "mxfp8",
                 "nvfp4", "average", "gguf", "none", "unknown"]
# fmt: on

QUANTIZED_ROLES: frozenset[Role] = frozenset(
    {"query", "key_value", "attention", "latent", "mlp", "expert", "other"}
)
"""Embeddings, the head, norms, routers, vision and audio towers keep their precision."""

_PACKED_BITS = 32
_NF4_BLOCK, _NF4_NESTED_BLOCK = 64, 256  # bitsandbytes' defaults, with double quantization
_MXFP4_BLOCK = 32
_SAME_MODULE = (
    (re.compile(r"^.*?(?=layers\.\d)"), ""),  # whatever the stack of layers is called
    (re.compile(r"\.(ffn|feed_forward|block_sparse_moe|moe)(?=\.|$)"), ".mlp"),
    (re.compile(r"\.experts\..*$"), ".experts"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How the weights of linear layers are stored.

    `group_size` numbers of a row share a scale (None: the whole row). `block` is the shape of
    fp8's square blocks, None where a tensor or, with `is_per_channel`, a row has one scale.
    `ignored` are names, patterns with `*`, or regular expressions behind `re:` of what is left as
    it is. `level` is a GGUF mixture such as Q4_K_M.

    Where layers differ, `by_layer` (normal names, see `normal_name`) and `by_target` (patterns)
    say what holds for some in place of this, and `experts` what holds for routed experts; method
    "none" leaves the others alone. An "average" of `mean_bits` a number is all that is known of
    some forms, with `table_bytes` for each matrix. "unknown" is planned in full precision.
    `name` is what config.json calls it.
    """

    method: Method
    bits: int
    group_size: int | None = None
    has_zero_points: bool = False
    is_per_channel: bool = False
    is_nested: bool = True
    block: tuple[int, int] | None = None
    ignored: tuple[str, ...] = ()
    level: str = ""
    name: str = ""
    only_experts: bool = False
    experts: Quantization | None = None
    by_layer: Mapping[str, Quantization] = field(default_factory=dict[str, "Quantization"])
    by_target: tuple[tuple[tuple[str, ...], Quantization], ...] = ()
    mean_bits: float = 0.0
    head_bits: float | None = None
    table_bytes: int = 0
    has_fp8_kv: bool = False

    @property
    def label(self) -> str:
        """The name in config.json, else the method."""
        return self.name or self.method

    def of(self, tensor: Tensor) -> Quantization | None:
        """Return the quantization of `tensor`, None where it is not quantized."""
        if self.method == "unknown" or not _is_linear(tensor):
            return None
        if _is_named(self.ignored, tensor.name):
            return None
        if (listed := self._listed(tensor)) is not None:
            return listed
        for patterns, found in self.by_target:
            if _is_named(patterns, tensor.name):
                return found
        if tensor.role == "head" and self.head_bits:
            return self
        if tensor.role not in QUANTIZED_ROLES:
            return None
        if tensor.role == "expert" and self.experts is not None:
            return self.experts
        if self.method == "none" or (self.only_experts and tensor.role != "expert"):
            return None
        return self

    def applies_to(self, tensor: Tensor) -> bool:
        """Return whether `tensor` is quantized."""
        return self.of(tensor) is not None

    def _listed(self, tensor: Tensor) -> Quantization | None:
        module = normal_name(tensor.name.removesuffix(".weight"))
        while self.by_layer and module:
            if (found := self.by_layer.get(module)) is not None:
                return found
            module = module.rpartition(".")[0]
        return None


@functools.lru_cache(maxsize=1 << 16)
def normal_name(module: str) -> str:
    """Return the normalised name of a module, without the checkpoint's own prefix of its layers.

    All experts of a layer have one name, as they are one tensor in transformers.
    """
    for pattern, same in _SAME_MODULE:
        module = pattern.sub(same, module)
    return module


def named_quantization(name: str) -> Quantization:
    """Return the quantization of that name: a method of a runtime, or a GGUF mixture.

    `gguf:Q4_K_M` names a mixture. Raises ArgumentError for a name that is not known.
    """
    method, _, level = name.lower().partition(":")
    if method == "gguf":
        return Quantization(method="gguf", bits=4, level=level.upper() or "Q4_K_M")
    presets: dict[str, Quantization] = {
        "fp8": Quantization(method="fp8", bits=8),
        "int8": Quantization(method="int8", bits=8, is_per_channel=True),
        "gptq": Quantization(method="gptq", bits=4, group_size=128, has_zero_points=True),
        "awq": Quantization(method="awq", bits=4, group_size=128, has_zero_points=True),
        "bitsandbytes": Quantization(method="bitsandbytes", bits=4),
        "mxfp4": Quantization(method="mxfp4", bits=4),
    }
    if method not in presets:
        raise ArgumentError(
            f"quantization={name!r} is not known.",
            param="quantization",
            hint=nearest(
                method, presets, then=f"Use one of {', '.join([*presets, 'gguf:Q4_K_M'])}."
            ),
        )
    return presets[method]


def quantized(tensors: Iterable[Tensor], quantization: Quantization) -> tuple[Tensor, ...]:
    """Return the stored tensors in the place of `tensors`, in the layout of each method's files."""
    stored: list[Tensor] = []
    for tensor in tensors:
        found = quantization.of(tensor)
        stored.extend((tensor,) if found is None else _stored(tensor, found))
    return tuple(stored)


def _stored(tensor: Tensor, quantization: Quantization) -> Iterator[Tensor]:
    """Yield the stored form of a `tensor` `[..., out, in]`: data, scales and zero points."""
    *before, rows, columns = tensor.shape
    module = tensor.name.removesuffix(".weight")
    groups = math.ceil(columns / (quantization.group_size or columns))
    packed_columns = columns * quantization.bits // _PACKED_BITS
    packed_rows = math.ceil(rows * quantization.bits / _PACKED_BITS)

    def part(name: str, dtype: TensorDtype | None, *shape: int) -> Tensor:
        return Tensor(name=f"{module}.{name}", shape=(*before, *shape), dtype=dtype)

    match quantization.method:
        case "fp8" | "int8":
            yield part(
                "weight", "float8" if quantization.method == "fp8" else "int8", rows, columns
            )
            if quantization.block:
                high, wide = quantization.block
                blocks = (math.ceil(rows / high), math.ceil(columns / wide))
                yield part("weight_scale_inv", "float32", *blocks)
            else:
                yield part("weight_scale", "float32", rows if quantization.is_per_channel else 1)
        case "gptq":
            yield part("qweight", "int32", packed_columns, rows)
            yield part("qzeros", "int32", groups, packed_rows)
            yield part("scales", "float16", groups, rows)
            yield part("g_idx", "int32", columns)
        case "awq":
            yield part("qweight", "int32", columns, packed_rows)
            yield part("qzeros", "int32", groups, packed_rows)
            yield part("scales", "float16", groups, rows)
        case "packed":
            yield part("weight_packed", "int32", rows, packed_columns)
            yield part("weight_scale", None, rows, groups)
            yield part("weight_shape", "int64", 2)
            if quantization.has_zero_points:
                yield part("weight_zero_point", "int32", packed_rows, groups)
        case "affine":
            yield part("weight_packed", "uint8", rows, math.ceil(columns * quantization.bits / 8))
            yield part("weight_scale", "float16", rows, groups)
            yield part("weight_zero_point", "float16", rows, groups)
        case "nvfp4":
            yield part("weight_packed", "uint8", rows, math.ceil(columns / 2))
            yield part("weight_scale", "float8", rows, groups)
            yield part("weight_scale_2", "float32", 1)
        case "mxfp8":
            yield part("weight", "float8", rows, columns)
            yield part("weight_scale", "uint8", rows, groups)
        case "average":
            is_head = tensor.role == "head" and quantization.head_bits
            bits = quantization.head_bits if is_head else quantization.mean_bits
            size = math.ceil(columns * (bits or quantization.mean_bits) / 8)
            yield part("weight_packed", "uint8", rows, size)
            yield part("weight_scale", "float16", rows)
            if quantization.table_bytes:
                yield part("weight_table", "uint8", quantization.table_bytes)
        case "bitsandbytes" if quantization.bits == 8:
            yield part("weight", "int8", rows, columns)
            yield part("weight.SCB", "float32", rows)
        case "bitsandbytes":
            yield from _nf4(tensor, is_nested=quantization.is_nested)
        case "mxfp4":
            yield Tensor(
                name=f"{module}_blocks", shape=(*before, rows, columns // 2), dtype="uint8"
            )
            scales = (*before, rows, math.ceil(columns / _MXFP4_BLOCK))
            yield Tensor(name=f"{module}_scales", shape=scales, dtype="uint8")
        case "gguf" | "none" | "unknown":
            yield tensor  # a GGUF's types differ by tensor: models/gguf.py


def _nf4(tensor: Tensor, *, is_nested: bool) -> Iterator[Tensor]:
    """Yield the form of bitsandbytes: half a byte per element, a scale per block, its tables."""
    blocks = math.ceil(tensor.elements / _NF4_BLOCK)
    name = tensor.name
    yield Tensor(name=name, shape=(math.ceil(tensor.elements / 2), 1), dtype="uint8")
    yield Tensor(name=f"{name}.quant_map", shape=(16,), dtype="float32")
    if not is_nested:
        yield Tensor(name=f"{name}.absmax", shape=(blocks,), dtype="float32")
        return
    nested = math.ceil(blocks / _NF4_NESTED_BLOCK)
    yield Tensor(name=f"{name}.absmax", shape=(blocks,), dtype="uint8")
    yield Tensor(name=f"{name}.nested_absmax", shape=(nested,), dtype="float32")
    yield Tensor(name=f"{name}.nested_quant_map", shape=(256,), dtype="float32")


def _is_linear(tensor: Tensor) -> bool:
    """Return whether it is the matrix of a linear layer, or of a layer's experts together."""
    if len(tensor.shape) < 2 or "conv1d" in tensor.name:
        return False
    is_fused = tensor.role == "expert" and not tensor.name.endswith(("bias", "scale"))
    return tensor.name.endswith(".weight") or is_fused


def _is_named(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether one of `patterns` matches the module of a tensor, or an outer one."""
    if not patterns:
        return False
    modules, expressions = _compiled(patterns)
    module = name.removesuffix(".weight")
    if any(one.match(module) for one in expressions):
        return True
    normal = normal_name(module)
    parts = normal.split(".")
    inside = {
        ".".join(parts[begin:end])
        for begin in range(len(parts))
        for end in range(begin + 1, len(parts) + 1)
    }
    return not inside.isdisjoint(modules)


@functools.lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """Return the plain names among `patterns`, and the others as regular expressions."""
    modules: set[str] = set()
    expressions: list[str] = []
    for pattern in patterns:
        if pattern.startswith("re:"):
            expressions.append(pattern.removeprefix("re:"))
        elif "*" in pattern:
            expressions.append(fnmatch.translate(f"{pattern}*"))
            stack = _SAME_MODULE[0][0].sub("*", pattern)
            expressions.append(fnmatch.translate(f"{stack}*"))
        else:
            modules.add(normal_name(pattern))
    return frozenset(modules), tuple(re.compile(one) for one in expressions)
