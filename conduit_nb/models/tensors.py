"""A model's tensors: names, shapes, precision, and the role of each.

Names are those of a checkpoint, or of transformers, whose experts lie fused in one tensor
`[experts, out, in]`. Knows nothing of files.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Literal

# fmt: off
TensorDtype = Literal["float64", "float32", "bfloat16", "float16", "float8",
                      "int64", "int32", "int16", "int8", "uint8", "bool"]
Role = Literal["embedding", "position", "head", "norm", "router", "latent", "query", "key_value",
               "attention", "mlp", "expert", "vision", "other"]
# fmt: on

ITEM_BYTES: dict[TensorDtype, int] = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
FLOATS: frozenset[TensorDtype] = frozenset({"float32", "bfloat16", "float16"})

_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
# The first pattern that matches decides.
_ROLES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    (
        "vision",
        re.compile(
            r"vision|visual|multi_modal_projector|audio|mm_projector|resampler|(^|\.)vpm\.|^mlp1\."
            r"|sam_model|aligner"
        ),
    ),
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output_layer)\.|^output\.")),
    ("position", re.compile(r"(^|\.)(wpe|embed_positions|position_embeddings?)\.")),
    (
        "embedding",
        re.compile(
            r"(^|\.)(embed_tokens\w*|wte|word_embeddings|embed_in|tok_embeddings|embeddings?"
            r"|shared|token_embedding)\."
        ),
    ),
    (
        "norm",
        re.compile(r"(norm|layernorm|ln_\w+|ln\w*)\d?\.(weight|bias)$|(^|\.)(q|k)_norm\."),
    ),
    ("expert", re.compile(r"\.experts\.")),
    ("router", re.compile(r"\.(gate|router|shared_expert_gate)\.|e_score_correction_bias$")),
    ("latent", re.compile(r"\.(q_a_proj|kv_a_proj_with_mqa)\.")),
    ("key_value", re.compile(r"attn\.(k|v)_proj\.")),
    ("query", re.compile(r"attn\.(q_proj|qkv_proj|c_attn|query_key_value)\.")),
    ("attention", re.compile(r"attn|attention")),
    ("mlp", re.compile(r"mlp|feed_forward|shared_expert|\.fc[12]\.")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One weight. `dtype` None: the precision in which the model is served."""

    name: str
    shape: tuple[int, ...]
    dtype: TensorDtype | None = None

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def bytes_in(self, dtype: TensorDtype) -> int:
        """Return its size in bytes; `dtype` is used where it has none of its own."""
        return self.elements * ITEM_BYTES[self.dtype or dtype]

    @property
    def role(self) -> Role:
        """The role in the model, derived from the name."""
        return _role_and_layer(self.name)[0]

    @property
    def layer(self) -> int | None:
        """The number of its layer; None outside the layers and in a vision tower."""
        return _role_and_layer(self.name)[1]


def parameter_count(tensors: tuple[Tensor, ...]) -> int:
    """Return the number of elements of all tensors."""
    return sum(tensor.elements for tensor in tensors)


@functools.lru_cache(maxsize=1 << 16)  # plans ask it of every tensor several times
def _role_and_layer(name: str) -> tuple[Role, int | None]:
    """Return the role of a tensor, and its layer."""
    found = _LAYER.search(name)
    layer = int(found[1]) if found else None
    for role, pattern in _ROLES:
        if pattern.search(name):
            return role, None if role == "vision" else layer
    return "other", layer
