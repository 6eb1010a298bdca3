"""How weights are stored in fewer bits: what config.json says of it, and what that makes of them.

Layer 1: pure.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from conduit_nb.errors import ArgumentError
from conduit_nb.models.tensors import Role, Tensor, TensorDtype
from conduit_nb.spelling import nearest

Method = Literal["fp8", "int8", "gptq", "awq", "packed", "bitsandbytes", "mxfp4", "gguf"]
METHODS: tuple[Method, ...] = get_args(Method)

QUANTIZED_ROLES: frozenset[Role] = frozenset(
    {"query", "key_value", "attention", "latent", "mlp", "expert", "other"}
)
"""Embeddings, the head, norms, routers and what sees or hears keep their precision."""

_PACKED_BITS = 32
_NF4_BLOCK, _NF4_NESTED_BLOCK = 64, 256  # bitsandbytes' defaults, with double quantization
_MXFP4_BLOCK = 32
_IGNORED_FIELDS = (
    "modules_to_not_convert",
    "ignored_layers",
    "ignore",
    "llm_int8_skip_modules",
    "exclude_modules",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """What is done to the weights of linear layers.

    `group_size` numbers of a row share a scale (None: the whole row). `block` is the shape of
    fp8's square blocks, None where a tensor or, with `is_per_channel`, a row has one scale.
    `ignored` are names, patterns with `*`, or regular expressions behind `re:` of what is left as
    it is. `level` is a GGUF mixture such as Q4_K_M.
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

    def applies_to(self, tensor: Tensor) -> bool:
        """Return whether `tensor` is stored in fewer bits."""
        is_matrix = len(tensor.shape) >= 2 and not tensor.name.endswith("bias")
        if not is_matrix or tensor.role not in QUANTIZED_ROLES or "conv1d" in tensor.name:
            return False
        if self.method == "mxfp4" and tensor.role != "expert":
            return False
        return not any(_names(pattern, tensor.name) for pattern in self.ignored)


def quantization_of(config: Mapping[str, Any]) -> Quantization | None:
    """Return what the `quantization_config` of a config.json says, None where it says nothing.

    Raises ArgumentError for a method that is not known.
    """
    said = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(said, dict):
        return None
    fields = cast("dict[str, Any]", said)
    method = str(fields.get("quant_method", "")).lower()
    ignored = tuple(
        str(name) for key in _IGNORED_FIELDS for name in cast("list[object]", fields.get(key) or [])
    )
    match method:
        case "fp8" | "fbgemm_fp8":
            size = cast("list[int] | None", fields.get("weight_block_size"))
            return Quantization(
                method="fp8",
                bits=8,
                block=(size[0], size[1]) if size else None,
                is_per_channel=method == "fbgemm_fp8",
                ignored=ignored,
            )
        case "gptq" | "gptq_marlin" | "awq" | "awq_marlin":
            bits = int(fields.get("bits", fields.get("w_bit", 4)))
            group = int(fields.get("group_size", fields.get("q_group_size", 128)))
            return Quantization(
                method="gptq" if method.startswith("gptq") else "awq",
                bits=bits,
                group_size=group if group > 0 else None,
                has_zero_points=True,
                ignored=ignored,
            )
        case "bitsandbytes":
            bits = 8 if fields.get("load_in_8bit") or fields.get("_load_in_8bit") else 4
            nested = bool(fields.get("bnb_4bit_use_double_quant", False))
            return Quantization(method="bitsandbytes", bits=bits, is_nested=nested, ignored=ignored)
        case "mxfp4":
            return Quantization(method="mxfp4", bits=4, ignored=ignored)
        case "compressed-tensors":
            return _compressed(fields, ignored)
        case _:
            raise ArgumentError(
                f"Quantization {method!r} is not known.",
                hint=f"Known are {', '.join(METHODS)}; plan with the sizes of the files instead.",
            )


def named_quantization(name: str) -> Quantization:
    """Return what a user means by `name`: a method as a runtime applies it, or a GGUF mixture.

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
            hint=nearest(
                method, presets, then=f"Use one of {', '.join([*presets, 'gguf:Q4_K_M'])}."
            ),
        )
    return presets[method]


def quantized(tensors: Iterable[Tensor], quantization: Quantization) -> tuple[Tensor, ...]:
    """Return what is stored in the place of `tensors`, in the layouts of the methods' own files."""
    return tuple(
        stored
        for tensor in tensors
        for stored in (
            _stored(tensor, quantization) if quantization.applies_to(tensor) else (tensor,)
        )
    )


def _compressed(fields: Mapping[str, Any], ignored: tuple[str, ...]) -> Quantization:
    """Read compressed-tensors' form: the weights of its first group of layers."""
    groups = cast("dict[str, dict[str, Any]]", fields.get("config_groups") or {})
    first = next(iter(groups.values()), cast("dict[str, Any]", {}))
    weights = cast("dict[str, Any]", first.get("weights") or {})
    bits = int(weights.get("num_bits", 8))
    strategy = str(weights.get("strategy", "tensor"))
    group = weights.get("group_size")
    if bits == 4 or "pack" in str(fields.get("format", "")):
        return Quantization(
            method="packed",
            bits=bits,
            group_size=int(group) if group and int(group) > 0 else None,
            has_zero_points=not weights.get("symmetric", True),
            ignored=ignored,
        )
    block = cast("list[int] | None", weights.get("block_structure"))
    return Quantization(
        method="fp8" if weights.get("type") == "float" else "int8",
        bits=8,
        is_per_channel=strategy == "channel",
        block=(block[0], block[1]) if strategy == "block" and block else None,
        ignored=ignored,
    )


def _stored(tensor: Tensor, quantization: Quantization) -> Iterator[Tensor]:
    """Yield what holds `tensor` `[..., out, in]`, its scales and its zero points."""
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
        case "gguf":
            yield tensor  # a file's types differ by tensor: models/gguf.py


def _nf4(tensor: Tensor, *, is_nested: bool) -> Iterator[Tensor]:
    """Yield bitsandbytes' form: half a byte a number, a scale a block, and its tables."""
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


def _names(pattern: str, name: str) -> bool:
    module = name.removesuffix(".weight")
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), module) is not None
    if "*" in pattern:
        return fnmatch.fnmatch(module, f"{pattern}*")
    return module == pattern or f".{pattern}." in f".{module}."
