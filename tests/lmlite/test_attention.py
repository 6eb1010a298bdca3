from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import FOLDED_QUERIES, pack_attention
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS, KvCache
from conduit_nb.lmlite.scheduler import Row, Slice

HEADS, KV_HEADS, DIM = 6, 2, 8


def by_hand(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attend with queries `[heads, n, d]` that stand at the end of `[kv_heads, length, d]`."""
    group = HEADS // KV_HEADS
    scores = query @ keys.repeat_interleave(group, 0).transpose(1, 2) / DIM**0.5
    count, length = scores.shape[1:]
    hidden = torch.ones(count, length, dtype=torch.bool).triu(length - count + 1)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    return (weights @ values.repeat_interleave(group, 0)).transpose(0, 1)


@pytest.mark.parametrize("pages", [[2, 3, 4, 5], [5, 1, 2, 7]], ids=["a run", "pages apart"])
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, 40), (9, 10), (16, 17), (60, 64), (5, 5 + FOLDED_QUERIES), (3, 60)],
)
def test_each_row_of_a_pack_attends_to_its_own_pages(pages: list[int], start: int, end: int):
    torch.manual_seed(0)
    cache = KvCache(
        layers=1,
        kv_heads=KV_HEADS,
        head_dim=DIM,
        pages=12,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    rows = [Row(number=0, tokens=[0] * end, pages=pages), Row(number=1, tokens=[0] * 7, pages=[9])]
    keys = [torch.randn(1, KV_HEADS, len(row.tokens), DIM) for row in rows]
    values = [torch.randn(1, KV_HEADS, len(row.tokens), DIM) for row in rows]
    if start:
        cache.begin(cache.step([Slice(row=rows[0], start=0, end=start, samples=False)]))
        cache.update(keys[0][:, :, :start], values[0][:, :, :start], 0)
    step = cache.step(
        [
            Slice(row=rows[0], start=start, end=end, samples=True),
            Slice(row=rows[1], start=0, end=7, samples=True),
        ]
    )
    cache.begin(step)
    pools = cache.update(
        torch.cat([keys[0][:, :, start:], keys[1]], 2),
        torch.cat([values[0][:, :, start:], values[1]], 2),
        0,
    )
    query = torch.randn(1, HEADS, end - start + 7, DIM)

    out, _ = pack_attention(
        torch.nn.Identity(), query, *pools, None, scaling=DIM**-0.5, lmlite_step=step
    )

    own = by_hand(query[0, :, : end - start], keys[0][0], values[0][0])
    other = by_hand(query[0, :, end - start :], keys[1][0], values[1][0])
    assert end <= len(pages) * PAGE_TOKENS
    torch.testing.assert_close(out[0], torch.cat([own, other]))


@pytest.mark.parametrize("option", ["sliding_window", "softcap", "s_aux"])
def test_options_that_it_does_not_heed_are_refused(option: str):
    cache = KvCache(
        layers=1, kv_heads=1, head_dim=2, pages=1, dtype=torch.float32, device=torch.device("cpu")
    )
    step = cache.step(
        [Slice(row=Row(number=0, tokens=[1], pages=[0]), start=0, end=1, samples=True)]
    )
    cache.begin(step)
    one = torch.zeros(1, 1, 1, 2)
    pools = cache.update(one, one, 0)

    with pytest.raises(ModelError, match=f"uses {option}"):
        pack_attention(torch.nn.Identity(), one, *pools, None, lmlite_step=step, **{option: 4})


def test_a_model_that_does_not_pass_the_step_on_is_refused():
    with pytest.raises(ModelError, match="cannot be served yet"):
        pack_attention(torch.nn.Identity(), *[torch.zeros(1, 1, 1, 2)] * 3, None)
