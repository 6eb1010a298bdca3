"""What keys and values take: for one token, and for requests of some length.

Layer 2: pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conduit_nb.compute.overheads import Overheads
from conduit_nb.compute.sharding import padded
from conduit_nb.models.spec import AttentionKind, ModelSpec
from conduit_nb.models.tensors import ITEM_BYTES, TensorDtype

_STATE_BYTES = 4  # linear attention sums its state in float32
_NEAR = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class KvNeed:
    """What the layers of one device keep.

    `full_layers` and `sliding_layers` count what a runtime gives room for, which may be more than
    the model has. `layer_bytes` are of one token in one layer, `state_bytes` of one request's
    linear layers, whatever its length. `sliding_tokens` is the most that a sliding layer keeps.
    """

    full_layers: int
    sliding_layers: int
    layer_bytes: int
    state_bytes: int
    sliding_tokens: int | None
    page_tokens: int

    @property
    def bytes_per_token(self) -> int:
        """Return what a token takes while every layer still keeps it."""
        return (self.full_layers + self.sliding_layers) * self.layer_bytes

    def request_bytes(self, tokens: int) -> int:
        """Return what a request of that many tokens takes at most, in whole pages."""
        kept = padded(tokens, self.page_tokens)
        sliding = kept
        if self.sliding_tokens is not None:
            # One page more: the window seldom begins where a page does.
            room = padded(self.sliding_tokens, self.page_tokens) + self.page_tokens
            sliding = min(kept, room)
        by_layers = self.full_layers * kept + self.sliding_layers * sliding
        return by_layers * self.layer_bytes + self.state_bytes


def kv_need(
    spec: ModelSpec,
    kinds: Sequence[AttentionKind],
    overheads: Overheads,
    *,
    kv_dtype: TensorDtype,
    dtype: TensorDtype,
    tensor_parallel: int,
) -> KvNeed:
    """Return what a device with the layers `kinds` keeps; latent caches are not split.

    Keys and values: 2 x kv_heads x head_dim x bytes, with at least one head a rank. Latent
    attention: (kv_lora_rank + qk_rope_head_dim) x bytes. Where full and sliding layers mix, vLLM
    (`v1/core/kv_cache_utils.py`) makes groups of as many layers and fills the last with padding.
    """
    counts = Counter(kinds)
    full, sliding = counts["full"], counts["sliding"]
    if overheads.groups_kv_layers and full and sliding:
        few, many = min(full, sliding), max(full, sliding)
        group = many if many < few * _NEAR else few
        full, sliding = padded(full, group), padded(sliding, group)
    item = ITEM_BYTES[kv_dtype]
    if spec.latent_dim:
        layer_bytes = spec.latent_dim * item
    else:
        heads = max((spec.kv_heads or 0) // tensor_parallel, 1)
        layer_bytes = 2 * heads * (spec.head_dim or 0) * item
    window = None if overheads.keeps_sliding_whole else spec.window_tokens
    return KvNeed(
        full_layers=full,
        sliding_layers=sliding,
        layer_bytes=layer_bytes,
        state_bytes=-(-counts["linear"] * linear_state_bytes(spec, dtype) // tensor_parallel),
        sliding_tokens=window - 1 + overheads.step_tokens if window and sliding else None,
        page_tokens=overheads.page_tokens,
    )


def linear_state_bytes(spec: ModelSpec, dtype: TensorDtype) -> int:
    """Return the state of one request in one linear layer: a gated delta network's.

    Value heads x key size x value size, and the last inputs of the convolution.
    """
    config = spec.config
    key_heads = int(config.get("linear_num_key_heads") or 0)
    value_heads = int(config.get("linear_num_value_heads") or 0)
    key_dim = int(config.get("linear_key_head_dim") or 0)
    value_dim = int(config.get("linear_value_head_dim") or 0)
    kernel = int(config.get("linear_conv_kernel_dim") or 1)
    mixed = 2 * key_heads * key_dim + value_heads * value_dim
    state = value_heads * key_dim * value_dim * _STATE_BYTES
    return state + mixed * (kernel - 1) * ITEM_BYTES[dtype]
