"""Read the tensors of GGUF files from their headers, and apply llama.cpp's mixtures to a model.

Types and block sizes: `ggml-common.h`; the mixtures: `llama_tensor_get_type` in `llama-quant.cpp`
of llama.cpp (2026), for models without experts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from conduit_nb.errors import ArgumentError, ModelFilesError
from conduit_nb.models.files import GGUF_MAGIC, GGUF_VERSIONS
from conduit_nb.models.tensors import Tensor
from conduit_nb.spelling import nearest

# The number of a type in the file: its name, numbers in a block, bytes of a block.
TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
_BLOCKS: Mapping[str, tuple[int, int]] = {
    name: (numbers, size) for name, numbers, size in TYPES.values()
}

# A mixture: the types of most tensors, of the sensitive ones, and of the head.
_MIXTURES: Mapping[str, tuple[str, str, str]] = {
    "F16": ("F16", "F16", "F16"),
    "BF16": ("BF16", "BF16", "BF16"),
    "Q8_0": ("Q8_0", "Q8_0", "Q8_0"),
    "Q6_K": ("Q6_K", "Q6_K", "Q6_K"),
    "Q5_K_M": ("Q5_K", "Q6_K", "Q6_K"),
    "Q5_K_S": ("Q5_K", "Q5_K", "Q6_K"),
    "Q4_K_M": ("Q4_K", "Q6_K", "Q6_K"),
    "Q4_K_S": ("Q4_K", "Q4_K", "Q6_K"),
    "Q4_0": ("Q4_0", "Q4_0", "Q6_K"),
    "Q4_1": ("Q4_1", "Q4_1", "Q6_K"),
}
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MAX_ITEMS = 1 << 26
_NAMES = (
    ("token_embd.", "model.embed_tokens."),
    ("output_norm.", "model.norm."),
    ("output.", "lm_head."),
    ("blk.", "model.layers."),
    (".attn_q.", ".self_attn.q_proj."),
    (".attn_k.", ".self_attn.k_proj."),
    (".attn_v.", ".self_attn.v_proj."),
    (".attn_output.", ".self_attn.o_proj."),
    (".ffn_gate_inp.", ".mlp.gate."),
    (".ffn_gate_exps.", ".mlp.experts.gate_proj."),
    (".ffn_up_exps.", ".mlp.experts.up_proj."),
    (".ffn_down_exps.", ".mlp.experts.down_proj."),
    (".ffn_gate.", ".mlp.gate_proj."),
    (".ffn_up.", ".mlp.up_proj."),
    (".ffn_down.", ".mlp.down_proj."),
)


def gguf_tensors(path: Path) -> tuple[Tensor, ...]:
    """Return the tensors of a GGUF file as bytes, under the names that checkpoints use.

    Raises ModelFilesError where the header is broken, cut short or of a type that is not known.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.", hint="Check its permissions."
        ) from err
    except (struct.error, UnicodeDecodeError) as err:
        raise ModelFilesError(
            f"{path} has a broken header: {err}.", hint="Check that the download is complete."
        ) from err


def mixed(tensors: tuple[Tensor, ...], level: str, *, layers: int) -> tuple[Tensor, ...]:
    """Return what a mixture such as Q4_K_M makes of `tensors`, as bytes.

    Raises ArgumentError for a mixture that is not known.
    """
    if level not in _MIXTURES:
        raise ArgumentError(
            f"The GGUF mixture {level!r} is not known.",
            param="level",
            hint=nearest(
                level,
                _MIXTURES,
                then=f"Use one of {', '.join(_MIXTURES)}, or name the file itself.",
            ),
        )
    default, sensitive, head = _MIXTURES[level]
    has_head = any(tensor.role == "head" for tensor in tensors)
    return tuple(
        _as_bytes(tensor, _type(tensor, default, sensitive, head, layers, has_head=has_head))
        for tensor in tensors
    )


def _type(
    tensor: Tensor, default: str, sensitive: str, head: str, layers: int, *, has_head: bool
) -> str:
    if len(tensor.shape) < 2 or tensor.role in ("norm", "router"):
        return "F32"
    if tensor.role == "head":
        return head
    if tensor.role == "embedding":
        return default if has_head else head  # a tied table serves as the head, too
    is_sensitive = ".v_proj." in tensor.name or ".down_proj" in tensor.name
    if is_sensitive and tensor.layer is not None and _has_more_bits(tensor.layer, layers):
        return sensitive
    return default


def _has_more_bits(layer: int, layers: int) -> bool:
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _as_bytes(tensor: Tensor, kind: str) -> Tensor:
    numbers, size = _BLOCKS[kind]
    return Tensor(name=tensor.name, shape=(-(-tensor.elements // numbers) * size,), dtype="uint8")


def _read(file: BinaryIO, path: Path) -> tuple[Tensor, ...]:
    magic, version = file.read(4), _number(file, "<I")
    if magic != GGUF_MAGIC or version not in GGUF_VERSIONS:
        raise ModelFilesError(
            f"{path} is no GGUF file of version {' or '.join(map(str, GGUF_VERSIONS))}.",
            hint="Check that the download is complete.",
        )
    tensors, fields = _number(file, "<Q"), _number(file, "<Q")
    for _ in range(fields):
        _text(file)
        _skip(file, _number(file, "<I"))
    return tuple(_tensor(file, path) for _ in range(tensors))


def _tensor(file: BinaryIO, path: Path) -> Tensor:
    name = _text(file)
    shape = tuple(_number(file, "<Q") for _ in range(_number(file, "<I")))
    kind = _number(file, "<I")
    _number(file, "<Q")  # where it lies
    if kind not in TYPES:
        raise ModelFilesError(
            f"{path}: {name!r} is of a type that is not known ({kind}).",
            hint="Plan with the model's safetensors instead.",
        )
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours) if theirs.startswith(".") else _swap(name, theirs, ours)
    return _as_bytes(Tensor(name=name, shape=shape), TYPES[kind][0])


def _swap(name: str, theirs: str, ours: str) -> str:
    return ours + name.removeprefix(theirs) if name.startswith(theirs) else name


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _text(file)
    elif kind == _ARRAY:
        item, length = _number(file, "<I"), _number(file, "<Q")
        if item in _SCALARS:
            file.seek(_SCALARS[item] * length, 1)
        else:
            for _ in range(min(length, _MAX_ITEMS)):
                _skip(file, item)
    elif kind in _SCALARS:
        file.seek(_SCALARS[kind], 1)
    else:
        raise struct.error(f"a value of kind {kind}")


def _text(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _MAX_ITEMS:
        raise struct.error(f"a text of {length} bytes")
    return file.read(length).decode()


def _number(file: BinaryIO, layout: str) -> int:
    return int(struct.unpack(layout, file.read(struct.calcsize(layout)))[0])
