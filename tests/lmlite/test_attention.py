from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from transformers.masking_utils import (
    and_masks,
    bidirectional_mask_function,
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import (
    MAX_FOLDED_QUERIES,
    OtherMask,
    Window,
    batched_attention,
    batched_mask,
)
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS, KvCache, LayerShape
from conduit_nb.lmlite.scheduler import Chunk, Sequence

HEADS, KV_HEADS, DIM, VALUE_DIM = 6, 2, 8, 5
SHAPES = ((HEADS, DIM), (KV_HEADS, DIM), (KV_HEADS, VALUE_DIM))
SINKS = torch.linspace(-2, 3, HEADS)


def by_hand(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    *,
    window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend with queries `[heads, n, d]` that stand at the end of `[kv_heads, length, d]`."""
    group = HEADS // KV_HEADS
    scores = query @ keys.repeat_interleave(group, 0).transpose(1, 2) / DIM**0.5
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    count, length = scores.shape[1:]
    hidden = torch.ones(count, length, dtype=torch.bool).triu(length - count + 1)
    if window is not None:
        hidden |= torch.ones(count, length, dtype=torch.bool).tril(length - count - window)
    weights = scores.masked_fill(hidden, -torch.inf).exp()
    total = weights.sum(-1, keepdim=True)
    if s_aux is not None:
        total = total + s_aux.view(-1, 1, 1).exp()
    return (weights / total @ values.repeat_interleave(group, 0)).transpose(0, 1)


@pytest.mark.parametrize(
    "kind",
    [{}, {"softcap": 2.0}, {"s_aux": SINKS}, {"softcap": 2.0, "s_aux": SINKS}],
    ids=["plain", "soft cap", "sinks", "both"],
)
@pytest.mark.parametrize("window", [None, 6, 17])
@pytest.mark.parametrize("pages", [[2, 3, 4, 5], [5, 1, 2, 7]], ids=["a run", "pages apart"])
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, 40), (9, 10), (16, 17), (60, 64), (5, 5 + MAX_FOLDED_QUERIES), (3, 60)],
)
def test_each_sequence_of_a_batch_attends_to_its_own_pages(
    pages: list[int], start: int, end: int, window: int | None, kind: dict[str, Any]
):
    torch.manual_seed(0)
    cache = make(pages=12)
    sequences = [
        Sequence(number=0, tokens=[0] * end, pages=pages),
        Sequence(number=1, tokens=[0] * 7, pages=[9]),
    ]
    keys = [torch.randn(1, KV_HEADS, len(sequence.tokens), DIM) for sequence in sequences]
    values = [torch.randn(1, KV_HEADS, len(sequence.tokens), VALUE_DIM) for sequence in sequences]
    if start:
        cache.begin(
            cache.forward_batch([Chunk(sequence=sequences[0], start=0, end=start, samples=False)])
        )
        cache.update(keys[0][:, :, :start], values[0][:, :, :start], 0)
    batch = cache.forward_batch(
        [
            Chunk(sequence=sequences[0], start=start, end=end, samples=True),
            Chunk(sequence=sequences[1], start=0, end=7, samples=True),
        ]
    )
    cache.begin(batch)
    pools = cache.update(
        torch.cat([keys[0][:, :, start:], keys[1]], 2),
        torch.cat([values[0][:, :, start:], values[1]], 2),
        0,
    )
    query = torch.randn(1, HEADS, end - start + 7, DIM)
    mask = None if window is None else Window(tokens=window)

    out, _ = batched_attention(
        torch.nn.Identity(), query, *pools, mask, scaling=DIM**-0.5, lmlite_batch=batch, **kind
    )

    own = by_hand(query[0, :, : end - start], keys[0][0], values[0][0], window=window, **kind)
    other = by_hand(query[0, :, end - start :], keys[1][0], values[1][0], window=window, **kind)
    assert end <= len(pages) * PAGE_TOKENS
    torch.testing.assert_close(out[0], torch.cat([own, other]))


@pytest.mark.parametrize("kind", [{}, {"softcap": 2.0, "s_aux": SINKS.to("meta")}])
def test_everything_stays_on_the_device_of_the_pool(kind: dict[str, Any]):
    device = torch.device("meta")
    layer = LayerShape(heads=KV_HEADS, key_dim=DIM, value_dim=VALUE_DIM)
    cache = KvCache([layer], pages=8, dtype=torch.bfloat16, device=device)
    sequences = [Sequence(number=0, tokens=[0] * 60, pages=[0, 1, 3, 4])]
    sequences.append(Sequence(number=1, tokens=[0] * 7, pages=[6]))
    batch = cache.forward_batch(
        [
            Chunk(sequence=sequence, start=3, end=len(sequence.tokens), samples=True)
            for sequence in sequences
        ]
    )
    cache.begin(batch)
    states = [torch.empty(1, n, 61, d, dtype=torch.bfloat16, device=device) for n, d in SHAPES]
    query, keys, values = states

    out, _ = batched_attention(
        torch.nn.Identity(),
        query,
        *cache.update(keys, values, 0),
        Window(tokens=6),
        lmlite_batch=batch,
        **kind,
    )

    assert (out.device, out.dtype, out.shape) == (device, torch.bfloat16, (1, 61, 6, VALUE_DIM))


def test_a_mask_is_known_by_what_it_shows():
    none = torch.zeros(1, dtype=torch.long)

    def mask_of(shows: Any, **options: Any) -> Any:
        return batched_mask(mask_function=shows, dtype=torch.float32, **options)

    assert mask_of(causal_mask_function) is None
    for size in (1, 2, 16, 4096):
        shows = sliding_window_causal_mask_function(size)
        assert mask_of(shows, local_size=size) == Window(tokens=size)
        assert mask_of(shows, local_size=size + 1) == OtherMask()
    for size in (2, 16, 8192):
        chunks = chunked_causal_mask_function(size, none)
        assert mask_of(chunks, local_size=size) == OtherMask()
    assert mask_of(bidirectional_mask_function) == OtherMask()
    assert mask_of(and_masks(causal_mask_function, causal_mask_function)) is None
    assert mask_of(and_masks(causal_mask_function), use_vmap=True) == OtherMask()


@pytest.mark.parametrize(
    ("mask", "options", "why"),
    [
        (None, {"lmlite_batch": None}, "lmlite_batch"),
        (OtherMask(), {}, "OtherMask"),
        (torch.zeros(1, 1, 1, 1), {}, "Tensor"),
        (None, {"sliding_window": 4}, "sliding_window=4"),
    ],
)
def test_a_layer_with_another_mask_is_refused(mask: Any, options: dict[str, Any], why: str):
    cache = make(pages=1)
    batch = cache.forward_batch(
        [Chunk(sequence=Sequence(number=0, tokens=[1], pages=[0]), start=0, end=1, samples=True)]
    )
    cache.begin(batch)
    pools = cache.update(
        torch.zeros(1, KV_HEADS, 1, DIM), torch.zeros(1, KV_HEADS, 1, VALUE_DIM), 0
    )
    query = torch.zeros(1, HEADS, 1, DIM)

    with pytest.raises(ModelError, match=why):
        batched_attention(
            torch.nn.Identity(), query, *pools, mask, **{"lmlite_batch": batch, **options}
        )


def make(pages: int) -> KvCache:
    layer = LayerShape(heads=KV_HEADS, key_dim=DIM, value_dim=VALUE_DIM)
    return KvCache([layer], pages=pages, dtype=torch.float32, device=torch.device("cpu"))
