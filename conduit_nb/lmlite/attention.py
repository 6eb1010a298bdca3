"""Attention over a pack: each row looks at its own pages, and the model's code stays as it is.

transformers calls it in every layer (`attn_implementation="lmlite"`), with the layer's pools in
the place of keys and values (`KvCache.update` returns them) and the step as a keyword.
Layer 3: torch.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.kv_cache import Part, Step

NAME = "lmlite"
FOLDED_QUERIES = 32
"""Up to so many queries of a row, the heads that share keys are folded into the query axis."""


def pack_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    lmlite_step: Step | None = None,
    **options: object,
) -> tuple[torch.Tensor, None]:
    """Return `[1, tokens, heads, head_dim]` for query `[1, heads, tokens, head_dim]`.

    `key` and `value` are the layer's pools, `[kv_heads, pool_tokens, head_dim]`.
    """
    if lmlite_step is None or attention_mask is not None:
        raise _unserved(module, "its layers are not told which rows they work on")
    for option in ("sliding_window", "softcap", "s_aux"):
        if options.get(option) is not None:
            raise _unserved(module, f"its attention uses {option}")
    heads, tokens, head_dim = query.shape[1:]
    rows = query[0].transpose(0, 1)  # [tokens, heads, head_dim]
    grouped = rows.reshape(tokens, key.shape[0], -1, head_dim)  # [tokens, kv_heads, group, d]
    out = torch.empty_like(grouped)
    for part in lmlite_step.parts:
        keys, values = _cached(key, part), _cached(value, part)
        queries = part.end - part.begin
        if queries == 1:
            out[part.begin : part.end] = scaled_dot_product_attention(
                grouped[part.begin : part.end], keys, values, scale=scaling
            )
        elif queries <= FOLDED_QUERIES and not part.is_first:
            out[part.begin : part.end] = _folded(
                grouped[part.begin : part.end], keys, values, part, scaling
            )
        else:
            attended = scaled_dot_product_attention(
                query[:, :, part.begin : part.end],
                keys,
                values,
                attn_mask=part.mask,
                is_causal=part.is_first,
                scale=scaling,
                enable_gqa=True,
            )  # [1, heads, queries, head_dim]
            out[part.begin : part.end] = (
                attended[0].transpose(0, 1).view_as(out[part.begin : part.end])
            )
    return out.view(1, tokens, heads, head_dim), None


def _cached(pool: torch.Tensor, part: Part) -> torch.Tensor:
    """Return `[1, kv_heads, length, head_dim]`, without a copy where the pages are neighbours."""
    if len(part.runs) == 1:
        begin, end = part.runs[0]
        return pool[:, begin:end].unsqueeze(0)
    return torch.cat([pool[:, begin:end] for begin, end in part.runs], dim=1).unsqueeze(0)


def _folded(
    grouped: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    part: Part,
    scaling: float | None,
) -> torch.Tensor:
    """Attend with `[queries, kv_heads, group, head_dim]`, reading keys once for the whole group."""
    queries, kv_heads, group, head_dim = grouped.shape
    assert part.mask is not None
    attended = scaled_dot_product_attention(
        grouped.permute(1, 2, 0, 3).reshape(1, kv_heads, group * queries, head_dim),
        keys,
        values,
        attn_mask=part.mask.repeat(group, 1),
        scale=scaling,
    )
    return attended.view(kv_heads, group, queries, head_dim).permute(2, 0, 1, 3)


def _unserved(module: torch.nn.Module, why: str) -> ModelError:
    return ModelError(
        f"{type(module).__name__} cannot be served yet: {why}.",
        hint="Choose a Llama-like model with full attention, or another runtime.",
    )
