"""What a request keeps on a device: keys and values of its tokens, and states of one size.

Layer 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conduit_nb.compute.overheads import Overheads
from conduit_nb.compute.sharding import padded
from conduit_nb.models.layer_caches import CachePart
from conduit_nb.models.tensors import ITEM_BYTES, TensorDtype

_NEAR = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLayers:
    """Layers that keep the same: how many a runtime gives room for, and bytes of one entry.

    One entry is made of `stride` tokens. `window_tokens` is the most that they keep of a request,
    `fixed_tokens` what they keep of any; None where that does not apply.
    """

    layers: int
    entry_bytes: int
    is_sliding: bool
    stride: int = 1
    window_tokens: int | None = None
    fixed_tokens: int | None = None

    def bytes_of(self, tokens: int, page_tokens: int) -> int:
        """Return what they take of a request of that many tokens, in whole pages."""
        kept = padded(tokens if self.fixed_tokens is None else self.fixed_tokens, page_tokens)
        if self.window_tokens is not None:
            # One page more: the window seldom begins where a page does.
            kept = min(kept, padded(self.window_tokens, page_tokens) + page_tokens)
        return self.layers * -(-kept // self.stride) * self.entry_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KvNeed:
    """What the layers of one device keep.

    `kept` may count more layers than the model has: `padding_layers` of them are a runtime's
    padding. `state_bytes` are of one request, whatever its length.
    """

    kept: tuple[KeptLayers, ...]
    state_bytes: int
    page_tokens: int
    padding_layers: int = 0

    @property
    def bytes_per_token(self) -> int:
        """Return what a token takes while every layer still keeps it."""
        return sum(
            -(-one.layers * one.entry_bytes // one.stride)
            for one in self.kept
            if one.fixed_tokens is None
        )

    @property
    def sliding_tokens(self) -> int | None:
        """Return the most tokens that a sliding layer keeps, None where none slides."""
        return max((one.window_tokens for one in self.kept if one.window_tokens), default=None)

    @property
    def request_state_bytes(self) -> int:
        """Return what a request takes whatever its length: states, and what an encoder made."""
        fixed = (one for one in self.kept if one.fixed_tokens is not None)
        return self.state_bytes + sum(one.bytes_of(0, self.page_tokens) for one in fixed)

    def request_bytes(self, tokens: int) -> int:
        """Return what a request of that many tokens takes at most, in whole pages."""
        return self.state_bytes + sum(one.bytes_of(tokens, self.page_tokens) for one in self.kept)


def kv_need(
    layers: Sequence[Sequence[CachePart]],
    overheads: Overheads,
    *,
    kv_dtype: TensorDtype,
    dtype: TensorDtype,
    tensor_parallel: int,
) -> KvNeed:
    """Return what a device with `layers` keeps, by the parts of each; latents are not split.

    Keys and values: 2 x kv_heads x head_dim x bytes, with at least one head a rank. Latent
    attention: (kv_lora_rank + qk_rope_head_dim) x bytes. Where full and sliding layers mix, vLLM
    (`v1/core/kv_cache_utils.py`) makes groups of as many layers and fills the last with padding.
    """
    counts = Counter(part for parts in layers for part in parts)
    padding = _padding(counts, overheads)
    kept: list[KeptLayers] = []
    for part, count in counts.items():
        if part.kind == "state":
            continue
        is_sliding = part.kind == "sliding"
        window = part.window_tokens if is_sliding and not overheads.keeps_sliding_whole else None
        kept.append(
            KeptLayers(
                layers=count,
                entry_bytes=entry_bytes(part, kv_dtype, tensor_parallel),
                is_sliding=is_sliding,
                stride=part.stride,
                window_tokens=window - 1 + overheads.step_tokens if window else None,
                fixed_tokens=part.fixed_tokens,
            )
        )
    states = sum(
        count * state_bytes(part, overheads, dtype)
        for part, count in counts.items()
        if part.kind == "state"
    )
    return KvNeed(
        kept=_with_padding(kept, padding),
        state_bytes=-(-states // tensor_parallel),
        page_tokens=overheads.page_tokens,
        padding_layers=sum(padding.values()),
    )


def entry_bytes(part: CachePart, kv_dtype: TensorDtype, tensor_parallel: int) -> int:
    """Return what a rank keeps of one token in one layer."""
    heads = 1 if part.is_shared else max(part.kv_heads // tensor_parallel, 1)
    return heads * part.numbers * ITEM_BYTES[kv_dtype] + part.extra_bytes


def state_bytes(part: CachePart, overheads: Overheads, dtype: TensorDtype) -> int:
    """Return the state of one request in one linear layer, before ranks split it.

    The inputs of its convolution are in the model's precision, its sums in that which config.json
    or the runtime chooses.
    """
    summed = part.state_dtype or overheads.state_dtype or dtype
    inputs = part.conv_inputs + overheads.extra_conv_inputs
    return part.conv_width * inputs * ITEM_BYTES[dtype] + part.state_numbers * ITEM_BYTES[summed]


def _padding(counts: Counter[CachePart], overheads: Overheads) -> dict[bool, int]:
    """Return how many layers a runtime adds to the full (False) and to the sliding ones (True)."""
    sums: Counter[bool] = Counter()
    for part, count in counts.items():
        if part.kind != "state" and part.fixed_tokens is None and part.stride == 1:
            sums[part.kind == "sliding"] += count
    full, sliding = sums[False], sums[True]
    if not overheads.groups_kv_layers or not full or not sliding:
        return {}
    few, many = min(full, sliding), max(full, sliding)
    group = many if many < few * _NEAR else few
    return {False: padded(full, group) - full, True: padded(sliding, group) - sliding}


def _with_padding(kept: list[KeptLayers], padding: dict[bool, int]) -> tuple[KeptLayers, ...]:
    """Return `kept` with the padding among the largest layers of each kind."""
    added = list(kept)
    for is_sliding, layers in padding.items():
        alike = [
            one
            for one in kept
            if one.is_sliding == is_sliding and one.stride == 1 and one.fixed_tokens is None
        ]
        if layers and alike:
            largest = max(alike, key=lambda one: one.entry_bytes)
            at = kept.index(largest)
            added[at] = KeptLayers(
                layers=largest.layers + layers,
                entry_bytes=largest.entry_bytes,
                is_sliding=largest.is_sliding,
                window_tokens=largest.window_tokens,
            )
    return tuple(added)
