"""Read the quantization of a model from its config.json, in the form of each tool.

`READERS` has one row for each value of `quant_method`; ModelOpt also writes a file of its own,
hf_quant_config.json. Any other method is read as "unknown".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from conduit_nb.models.fields import first, list_at, mapping_at, numbers_at, positive
from conduit_nb.models.quantization import Quantization, normal_name

Fields = Mapping[str, Any]

MODELOPT_FILE = "hf_quant_config.json"
FP8_KV_REMARK = (
    "The checkpoint asks for an FP8 KV cache; this plan keeps the precision of kv_dtype"
    " (kv_dtype='fp8' plans half)."
)
_IGNORED_FIELDS = (
    "modules_to_not_convert",
    "ignored_layers",
    "ignore",
    "llm_int8_skip_modules",
    "exclude_modules",
    "exclude",
    "modules_to_not_quantize",
)


def quantization_of(config: Fields) -> Quantization | None:
    """Return the quantization in a config.json, None where it has none."""
    section = (
        config.get("quantization_config")
        or config.get("compression_config")
        or config.get("quantization")  # MLX
    )
    if not isinstance(section, dict):
        return None
    fields = cast("dict[str, Any]", section)
    if isinstance(nested := fields.get("quantization"), dict):  # ModelOpt's file as a whole
        fields = {**fields, **cast("dict[str, Any]", nested)}
    name = str(fields.get("quant_method") or "").lower()
    if "quant_algo" in fields:  # ModelOpt, whatever method stands beside it
        name = name if name.startswith("modelopt") else f"{name} modelopt".strip()
    elif not name and "bits" in fields:
        name = "mlx"
    elif not name:
        return None
    reader = READERS.get(name.split()[-1])
    found = reader(fields) if reader else None
    if found is None:
        return Quantization(method="unknown", name=name, bits=16)
    experts = config.get("expert_dtype") or fields.get("expert_dtype")
    if experts == "fp4":  # DeepSeek V4: the routed experts as OCP's MXFP4
        found = replace(found, experts=Quantization(method="mxfp4", bits=4, group_size=32))
    kv = fields.get("kv_cache_quant_algo") or fields.get("kv_cache_scheme")
    return replace(found, name=name.split()[0], ignored=_ignored(fields), has_fp8_kv=bool(kv))


def with_modelopt_file(config: Fields, content: object) -> Fields:
    """Return `config`, with ModelOpt's hf_quant_config.json where it has no quantization itself."""
    if not isinstance(content, dict) or config.get("quantization_config"):
        return config
    fields = cast("dict[str, Any]", content).get("quantization")
    if not isinstance(fields, dict):
        return config
    return {**config, "quantization_config": {**fields, "quant_method": "modelopt"}}


def _ignored(fields: Fields) -> tuple[str, ...]:
    return tuple(str(name) for key in _IGNORED_FIELDS for name in list_at(fields, key))


def _fp8(fields: Fields) -> Quantization:
    return Quantization(
        method="fp8",
        bits=8,
        block=_block(fields, "weight_block_size"),
        is_per_channel=fields.get("quant_method") in ("fbgemm_fp8", "ptpc_fp8"),
    )


def _int8(_: Fields) -> Quantization:
    return Quantization(method="int8", bits=8, is_per_channel=True)


def _gptq(fields: Fields) -> Quantization:
    return _grouped("gptq", fields)


def _awq(fields: Fields) -> Quantization:
    return _grouped("awq", fields)


def _auto_round(fields: Fields) -> Quantization | None:
    """Read AutoRound, which packs as GPTQ or AWQ do."""
    if not str(fields.get("data_type") or "int").startswith("int"):
        return _named_type(str(fields.get("data_type")), fields)
    return _grouped("awq" if "awq" in str(fields.get("packing_format")) else "gptq", fields)


def _grouped(method: str, fields: Fields) -> Quantization:
    group = _number(fields, "group_size", "q_group_size", default=128)
    return Quantization(
        method="awq" if method == "awq" else "gptq",
        bits=_number(fields, "bits", "w_bit", default=4),
        group_size=group if group > 0 else None,
        has_zero_points=True,
    )


def _bitsandbytes(fields: Fields) -> Quantization:
    bits = 8 if fields.get("load_in_8bit") or fields.get("_load_in_8bit") else 4
    is_nested = bool(fields.get("bnb_4bit_use_double_quant", False))
    return Quantization(method="bitsandbytes", bits=bits, is_nested=is_nested)


def _mxfp4(_: Fields) -> Quantization:
    return Quantization(method="mxfp4", bits=4, only_experts=True)


def _modelopt(fields: Fields) -> Quantization | None:
    """Read ModelOpt's `quant_algo`, for all layers or for those that `quantized_layers` names."""
    algorithm = str(fields.get("quant_algo") or "").upper()
    if algorithm != "MIXED_PRECISION":
        return _algorithm(algorithm, fields)
    listed = mapping_at(fields, "quantized_layers")
    layers: dict[str, Quantization] = {}
    for name in listed:
        section = mapping_at(listed, name)
        found = _algorithm(str(section.get("quant_algo") or "").upper(), section)
        if found is not None:
            layers[normal_name(name)] = found
    # Beside what is listed, a checkpoint that was FP8 already stays so (DeepSeek V4 NVFP4).
    rest = _fp8(fields) if fields.get("quant_method") == "fp8" else None
    base = rest or Quantization(method="none", bits=16)
    return replace(base, by_layer=layers)


def _algorithm(name: str, fields: Fields) -> Quantization | None:
    group = positive(fields, "group_size")
    if "NVFP4" in name:
        return Quantization(method="nvfp4", bits=4, group_size=group or 16)
    if "MXFP4" in name:
        return Quantization(method="mxfp4", bits=4, group_size=group or 32)
    if "MXFP8" in name:
        return Quantization(method="mxfp8", bits=8, group_size=group or 32)
    if name.startswith(("W4A16", "W4A8", "INT4")):
        return Quantization(method="packed", bits=4, group_size=group or 128)
    if name.startswith("FP8_PB"):
        return Quantization(method="fp8", bits=8, block=(128, 128))
    if name.startswith("FP8"):
        return Quantization(method="fp8", bits=8, is_per_channel="CHANNEL" in name)
    if name.startswith(("INT8", "W8A8", "W8A16")):
        return Quantization(method="int8", bits=8, is_per_channel=True)
    return None


def _compressed(fields: Fields) -> Quantization | None:
    """Read compressed-tensors' groups: each holds for the layers that its targets name."""
    groups = mapping_at(fields, "config_groups")
    form = str(fields.get("format") or "")
    base: Quantization | None = None
    targeted: list[tuple[tuple[str, ...], Quantization]] = []
    for name in groups:
        group = mapping_at(groups, name)
        found = _group_weights(mapping_at(group, "weights"), str(group.get("format") or form))
        targets = tuple(str(target) for target in list_at(group, "targets"))
        if not targets or "Linear" in targets:
            base = base or found
        else:
            targeted.append((targets, found))
    if base is None and not targeted:
        return Quantization(method="fp8", bits=8)
    return replace(base or Quantization(method="none", bits=16), by_target=tuple(targeted))


def _group_weights(weights: Fields, form: str) -> Quantization:
    bits = _number(weights, "num_bits", default=8)
    strategy = str(weights.get("strategy") or "tensor")
    group = positive(weights, "group_size")
    is_float = weights.get("type") == "float"
    if is_float and bits == 4:
        # MXFP4 has a scale of one byte for 32 numbers, NVFP4 one for 16.
        is_mx = "mxfp4" in form or group == 32
        return Quantization(
            method="mxfp4" if is_mx else "nvfp4", bits=4, group_size=group or (32 if is_mx else 16)
        )
    if is_float and group == 32:
        return Quantization(method="mxfp8", bits=8, group_size=32)
    if not is_float and (bits != 8 or "pack" in form):
        return Quantization(
            method="packed",
            bits=bits,
            group_size=group,
            has_zero_points=not weights.get("symmetric", True),
        )
    return Quantization(
        method="fp8" if is_float else "int8",
        bits=8,
        is_per_channel=strategy == "channel",
        block=_block(weights, "block_structure") if strategy == "block" else None,
    )


def _torchao(fields: Fields) -> Quantization | None:
    """Read torchao: the name of a configuration class, or the older name of a function."""
    kind: object = fields.get("quant_type")
    section: Mapping[str, Any] = mapping_at(fields, "quant_type_kwargs")
    if isinstance(kind, dict):
        default = cast("dict[str, Any]", kind).get("default")
        nested = cast("dict[str, Any]", default if isinstance(default, dict) else kind)
        section = mapping_at(nested, "_data") or nested
        kind = nested.get("_type") or ""
    return _named_type(str(kind), section)


def _named_type(name: str, fields: Fields) -> Quantization | None:
    """Return the quantization of a name such as Int4WeightOnlyConfig or fp8_e4m3."""
    low = name.lower().replace("_", "")
    group = first(fields, "group_size", "block_size")
    if "nvfp4" in low:
        return Quantization(method="nvfp4", bits=4, group_size=16)
    if "mxfp8" in low:
        return Quantization(method="mxfp8", bits=8, group_size=32)
    if "mx" in low or low in ("fp4", "mxfp4"):
        return Quantization(method="mxfp4", bits=4, group_size=32)
    if "int4" in low or "uint4" in low or "4w" in low:
        return Quantization(
            method="affine", bits=4, group_size=group or (32 if "8da4w" in low else 128)
        )
    if "intx" in low or "uintx" in low:
        bits = re.search(r"int(\d)", str(fields.get("weight_dtype") or fields.get("dtype") or ""))
        return Quantization(
            method="affine", bits=int(bits[1]) if bits else 8, group_size=group or 32
        )
    if "float8" in low or "fp8" in low:
        return Quantization(method="fp8", bits=8, is_per_channel=True)
    if "int8" in low:
        return Quantization(method="int8", bits=8, is_per_channel=True)
    if "int2" in low:
        return Quantization(method="affine", bits=2, group_size=group or 64)
    return None


def _quark(fields: Fields) -> Quantization | None:
    """Read AMD Quark: one configuration for all layers, and others for some."""
    base = _quark_weights(mapping_at(fields, "global_quant_config"))
    layers = mapping_at(fields, "layer_quant_config")
    targeted = [
        ((name,), found) for name in layers if (found := _quark_weights(mapping_at(layers, name)))
    ]
    if base is None:
        return None
    return replace(base, by_target=tuple(targeted))


def _quark_weights(section: Fields) -> Quantization | None:
    weights: object = section.get("weight")
    if isinstance(weights, list):  # one step after the other: the last is what is stored
        steps = cast("list[object]", weights)
        weights = steps[-1] if steps else None
    if not isinstance(weights, dict):
        return None
    fields = cast("dict[str, Any]", weights)
    kind, group = str(fields.get("dtype") or ""), positive(fields, "group_size")
    if kind.startswith("fp4") and group == 16:
        return Quantization(method="nvfp4", bits=4, group_size=16)
    found = _named_type(kind, fields)
    scheme = str(fields.get("qscheme") or "")
    if found is not None and found.method in ("fp8", "int8"):
        return replace(found, is_per_channel="channel" in scheme)
    return found


def _hqq(fields: Fields) -> Quantization:
    """Read HQQ: packed numbers, a scale and a zero point of 16 bits for each group."""
    nested = mapping_at(fields, "quant_config")
    weights = mapping_at(nested, "weight_quant_params") or nested or fields
    return Quantization(
        method="affine",
        bits=_number(weights, "nbits", "bits", default=4),
        group_size=_number(weights, "group_size", default=64),
    )


def _affine(fields: Fields) -> Quantization | None:
    mode = str(fields.get("mode") or "affine")
    if mode != "affine":
        return _named_type(mode, fields)
    return Quantization(
        method="affine",
        bits=_number(fields, "bits", "nbits", "num_bits", default=4),
        group_size=_number(fields, "group_size", default=64),
    )


def _fp_quant(fields: Fields) -> Quantization | None:
    return _named_type(str(fields.get("forward_dtype") or "mxfp4"), fields)


def _quanto(fields: Fields) -> Quantization | None:
    return _named_type(str(fields.get("weights") or "int8"), {"group_size": 128, **fields})


def _bitnet(_: Fields) -> Quantization:
    return Quantization(method="affine", bits=2)


def _exl(fields: Fields) -> Quantization:
    """Read ExLlama, whose bits are an average: 4.25, for example, and more for the head."""
    bits, head = fields.get("bits"), fields.get("head_bits")
    mean = float(bits) if isinstance(bits, int | float) else 8.0
    return Quantization(
        method="average",
        bits=round(mean),
        mean_bits=mean,
        head_bits=float(head) if isinstance(head, int | float) else None,
    )


def _aqlm(fields: Fields) -> Quantization:
    """Read AQLM: codes for groups of inputs, and their codebooks."""
    books, width = positive(fields, "num_codebooks") or 1, positive(fields, "nbits_per_codebook")
    size = (positive(fields, "in_group_size") or 8) * (positive(fields, "out_group_size") or 1)
    code = width or 16
    return Quantization(
        method="average",
        bits=max(round(books * code / size), 1),
        mean_bits=books * code / size,
        table_bytes=books * 2**code * size * 2,
    )


def _gguf(_: Fields) -> Quantization | None:
    return None


def _block(fields: Fields, name: str) -> tuple[int, int] | None:
    size = numbers_at(fields, name)
    return (size[0], size[1]) if size and len(size) == 2 and min(size) > 0 else None


def _number(fields: Fields, *names: str, default: int) -> int:
    for name in names:
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
    return default


READERS: Mapping[str, Callable[[Fields], Quantization | None]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "ptpc_fp8": _fp8,
    "w8a8_fp8": _fp8,
    "gptq": _gptq,
    "gptq_marlin": _gptq,
    "moe_wna16": _gptq,
    "awq": _awq,
    "awq_marlin": _awq,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "inc": _auto_round,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "mxfp8": lambda _: Quantization(method="mxfp8", bits=8, group_size=32),
    "nvfp4": lambda _: Quantization(method="nvfp4", bits=4, group_size=16),
    "fouroversix": lambda _: Quantization(method="nvfp4", bits=4, group_size=16),
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
    "modelopt_mxfp8": _modelopt,
    "torchao": _torchao,
    "quark": _quark,
    "hqq": _hqq,
    "mlx": _affine,
    "metal": _affine,
    "sinq": _affine,
    "higgs": _affine,
    "fp_quant": _fp_quant,
    "quanto": _quanto,
    "eetq": _int8,
    "experts_int8": _int8,
    "tpu_int8": _int8,
    "w8a8_int8": _int8,
    "blockwise_int8": _int8,
    "bitnet": _bitnet,
    "exl2": _exl,
    "exl3": _exl,
    "aqlm": _aqlm,
    "gguf": _gguf,
}
"""The reader of each `quant_method`; one that returns None does not know the form."""
