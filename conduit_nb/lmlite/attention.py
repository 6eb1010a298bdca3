"""Attention over a batch: each sequence attends to its own pages; the model's code is unchanged.

transformers calls it in every layer (`attn_implementation="lmlite"`), with the layer's pools in
the place of keys and values (`KvCache.update` returns them) and the batch as a keyword. Whether a
layer has a sliding window is known from the mask that its model's own code requests: `batched_mask`
returns the window in place of a mask, and layers with masks of any other kind are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import causal_mask_function

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.kv_cache import AttentionSpan, ForwardBatch

NAME = "lmlite"
MAX_FOLDED_QUERIES = 32
"""Up to so many queries of a sequence, the heads that share keys are folded into the query axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Stands in the place of a mask where each query looks at the last `tokens` tokens only."""

    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMask:
    """Stands in the place of a mask that nothing here answers to; no layer may use it."""


def register_attention() -> None:
    """Make `attn_implementation="lmlite"` known to transformers. Idempotent."""
    attention: Any = AttentionInterface  # transformers types its registries in part only
    masks: Any = AttentionMaskInterface
    attention.register(NAME, batched_attention)
    masks.register(NAME, batched_mask)


def batched_mask(
    *,
    mask_function: Callable[[int, int, torch.Tensor, torch.Tensor], torch.Tensor],
    local_size: int | None = None,
    use_vmap: bool = False,
    **_: object,
) -> Window | OtherMask | None:
    """Return the window of a mask that slides, None for one that hides just what comes after.

    `mask_function` returns for pairs of positions, query and key, whether the one sees the other.
    """
    if mask_function is causal_mask_function and local_size is None:
        return None
    # The last query of a window's length and the two after it, at the borders of what they see: a
    # window moves with them, a chunk ends.
    size = local_size or 64
    queries = torch.arange(3).add(2 * size).repeat_interleave(4)
    keys = queries + torch.tensor([-size, 1 - size, 0, 1]).repeat(3)
    slides = [False, True, True, False] * 3
    grows = [True, True, True, False] * 3
    shown = slides if local_size else grows
    if use_vmap or not mask_function(0, 0, queries, keys).equal(torch.tensor(shown)):
        return OtherMask()
    return Window(tokens=local_size) if local_size else None


def batched_attention(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Window | OtherMask | torch.Tensor | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    sliding_window: int | None = None,
    lmlite_batch: ForwardBatch | None = None,
    **__: object,
) -> tuple[torch.Tensor, None]:
    """Return `[1, tokens, heads, value_dim]` for query `[1, heads, tokens, key_dim]`.

    `key` and `value` are the layer's pools, `[kv_heads, pool_tokens, dim]`. `softcap` bounds the
    scores to ±softcap by a tanh (Gemma 2); `s_aux` `[heads]` are scores of a sink that takes its
    share of the weights and gives nothing (gpt-oss).
    """
    if lmlite_batch is None:
        raise _unsupported("its layers do not pass on which sequences they work on (lmlite_batch)")
    if isinstance(attention_mask, OtherMask | torch.Tensor):
        kind = type(attention_mask).__name__
        raise _unsupported(f"its attention mask ({kind}) is neither causal nor a sliding window")
    if sliding_window is not None and attention_mask is None:
        raise _unsupported(
            "its layers and its masks do not agree on which of them slide"
            f" (sliding_window={sliding_window})"
        )
    heads, tokens, _dim = query.shape[1:]
    kv_heads, value_dim = value.shape[0], value.shape[2]
    by_token = query[0].transpose(0, 1)  # [tokens, heads, key_dim]
    grouped = by_token.reshape(tokens, kv_heads, heads // kv_heads, -1)
    out = query.new_empty(tokens, kv_heads, heads // kv_heads, value_dim)
    for span in lmlite_batch.spans_within(attention_mask.tokens if attention_mask else None):
        keys, values = _cached(key, span), _cached(value, span)
        here = slice(span.begin, span.end)
        queries = span.end - span.begin
        if softcap is not None or s_aux is not None:
            out[here] = _eager_attention(grouped[here], keys, values, span, scaling, softcap, s_aux)
        elif queries == 1:
            out[here] = scaled_dot_product_attention(grouped[here], keys, values, scale=scaling)
        elif queries <= MAX_FOLDED_QUERIES and not span.is_first:
            out[here] = _folded(grouped[here], keys, values, span, scaling)
        else:
            attended = scaled_dot_product_attention(
                query[:, :, here],
                keys,
                values,
                attn_mask=span.mask,
                is_causal=span.is_first,
                scale=scaling,
                enable_gqa=True,
            )  # [1, heads, queries, value_dim]
            out[here] = attended[0].transpose(0, 1).view_as(out[here])
    return out.view(1, tokens, heads, value_dim), None


def _cached(pool: torch.Tensor, span: AttentionSpan) -> torch.Tensor:
    """Return `[1, kv_heads, length, head_dim]`, without a copy where the pages are adjacent."""
    if len(span.runs) == 1:
        begin, end = span.runs[0]
        return pool[:, begin:end].unsqueeze(0)
    return torch.cat([pool[:, begin:end] for begin, end in span.runs], dim=1).unsqueeze(0)


def _folded(
    grouped: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    span: AttentionSpan,
    scaling: float | None,
) -> torch.Tensor:
    """Attend with `[queries, kv_heads, group, key_dim]`, reading keys once for the whole group."""
    queries, kv_heads, group, key_dim = grouped.shape
    assert span.mask is not None
    attended = scaled_dot_product_attention(
        grouped.permute(1, 2, 0, 3).reshape(1, kv_heads, group * queries, key_dim),
        keys,
        values,
        attn_mask=span.mask.repeat(group, 1),
        scale=scaling,
    )
    return attended.view(kv_heads, group, queries, -1).permute(2, 0, 1, 3)


def _eager_attention(
    grouped: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    span: AttentionSpan,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attend with `[queries, kv_heads, group, key_dim]` where torch has no function that does."""
    queries, kv_heads, group, key_dim = grouped.shape
    folded = grouped.permute(1, 2, 0, 3).reshape(kv_heads, group * queries, key_dim)
    scores = folded @ keys[0].transpose(1, 2)
    scores = scores.view(kv_heads, group, queries, -1) * (scaling or key_dim**-0.5)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if span.mask is not None:
        scores = scores + span.mask
    elif span.is_first:
        later = torch.ones(queries, queries, dtype=torch.bool, device=scores.device).triu_(1)
        scores = scores.masked_fill(later, -torch.inf)
    if sinks is not None:
        sink = sinks.to(scores.dtype).view(kv_heads, group, 1, 1)
        scores = torch.cat([scores, sink.expand(-1, -1, queries, -1)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)[..., : span.length]
    attended = weights.to(values.dtype).flatten(1, 2) @ values[0]
    return attended.view(kv_heads, group, queries, -1).permute(2, 0, 1, 3)


def _unsupported(why: str) -> ModelError:
    return ModelError(
        f"The sequences of this model cannot be batched: {why}.",
        hint="They are served one at a time instead, which is slower.",
    )
