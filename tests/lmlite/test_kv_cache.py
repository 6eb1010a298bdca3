from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from transformers.masking_utils import sliding_window_causal_mask_function

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS, KvCache, LayerShape
from conduit_nb.lmlite.scheduler import Chunk, Copy, Sequence

CPU = torch.device("cpu")


def make(pages: int = 8) -> KvCache:
    layers = [LayerShape(heads=2, key_dim=4, value_dim=4)] * 2
    return KvCache(layers, pages=pages, dtype=torch.float32, device=CPU)


def chunk(pages: list[int], start: int, end: int, *, length: int | None = None) -> Chunk:
    tokens = list(range(length or end))
    return Chunk(
        sequence=Sequence(number=0, tokens=tokens, pages=pages),
        start=start,
        end=end,
        samples=end == len(tokens),
    )


def test_a_batch_holds_the_chunks_side_by_side_each_at_its_own_positions():
    batch = make().forward_batch(
        [chunk([0, 1], 3, 5), chunk([5], 0, 2, length=4), chunk([2], 7, 8)]
    )

    assert batch.input_ids.tolist() == [[3, 4, 0, 1, 7]]
    assert batch.position_ids.tolist() == [[3, 4, 0, 1, 7]]
    assert batch.slots.tolist() == [3, 4, 80, 81, 39]
    assert batch.sampled.tolist() == [1, 4]
    assert [(one.begin, one.end, one.length) for one in batch.spans] == [
        (0, 2, 5),
        (2, 4, 2),
        (4, 5, 8),
    ]


def test_pages_side_by_side_are_one_run_and_others_several():
    batch = make().forward_batch([chunk([2, 3, 4], 0, 40), chunk([0, 6, 7], 0, 33)])

    assert [one.runs for one in batch.spans] == [((32, 72),), ((0, 16), (96, 113))]


def test_queries_behind_a_cached_prefix_see_it_and_what_stands_before_them():
    first, several, single = (
        make().forward_batch([chunk([0], 0, 3), chunk([1], 2, 4), chunk([2], 3, 4)]).spans
    )

    assert (first.is_first, first.mask, single.mask) == (True, None, None)
    assert several.mask is not None
    assert (several.mask == 0).tolist() == [[True, True, True, False], [True] * 4]


def test_what_a_layer_writes_lies_in_the_sequences_pages():
    cache = make()
    batch = cache.forward_batch([chunk([3], 0, 2), chunk([1], 15, 16)])
    cache.begin(batch)
    written = torch.arange(24.0).view(1, 2, 3, 4)

    keys, values = cache.update(written, written + 100, 1)

    assert torch.equal(keys[:, [48, 49, 31]], written[0])
    assert torch.equal(values[:, [48, 49, 31]], written[0] + 100)


def test_a_copy_takes_all_tokens_of_all_layers_along():
    cache = make()
    length = PAGE_TOKENS + 3
    batch = cache.forward_batch([chunk([4, 0], 0, length)])
    cache.begin(batch)
    written = torch.randn(1, 2, length, 4)
    for layer in range(2):
        cache.update(written + layer, written - layer, layer)

    cache.copy(Copy(source=(4, 0), target=(5, 6), tokens=length))

    cache.begin(cache.forward_batch([chunk([0], 0, 1)]))
    for layer in range(2):
        keys, values = cache.update(written[:, :, :1], written[:, :, :1], layer)
        assert torch.equal(keys[:, 80 : 80 + length], written[0] + layer)
        assert torch.equal(values[:, 80 : 80 + length], written[0] - layer)


def test_pages_are_copied_to_wherever_they_go_and_nothing_else_changes():
    cache = make()
    cache.begin(cache.forward_batch([chunk(list(range(8)), 0, 8 * PAGE_TOKENS)]))
    written = torch.randn(1, 2, 8 * PAGE_TOKENS, 4)
    cache.update(written, written, 0)

    cache.copy(Copy(source=(1, 2, 5), target=(6, 7, 0), tokens=2 * PAGE_TOKENS + 5))

    cache.begin(cache.forward_batch([chunk([3], 0, 1)]))
    keys, _ = cache.update(written[:, :, 48:49], written[:, :, 48:49], 0)
    expected = written[0].clone()
    expected[:, 96:128] = written[0][:, 16:48]
    expected[:, :5] = written[0][:, 80:85]
    assert torch.equal(keys, expected)


def test_keys_of_an_unforeseen_shape_are_refused_not_written():
    cache = make()
    cache.begin(cache.forward_batch([chunk([0], 0, 1)]))

    with pytest.raises(ModelError, match=r"\(1, 3, 1, 4\)"):
        cache.update(torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 4), 0)


def test_a_layer_may_keep_other_values_than_keys():
    cache = KvCache(
        [LayerShape(heads=2, key_dim=4, value_dim=3)], pages=1, dtype=torch.float32, device=CPU
    )
    cache.begin(cache.forward_batch([chunk([0], 0, 1)]))

    keys, values = cache.update(torch.ones(1, 2, 1, 4), torch.ones(1, 2, 1, 3), 0)

    assert (keys.shape, values.shape) == ((2, 16, 4), (2, 16, 3))
    assert KvCache.bytes_per_page([LayerShape(heads=2, key_dim=4, value_dim=3)], torch.float32) == (
        2 * 7 * 4 * PAGE_TOKENS
    )


@pytest.mark.parametrize("window", [1, 3, 4, 16, 17, 31, 32, 40, 41])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 4), (0, 40), (3, 40), (15, 17), (39, 40)])
def test_a_window_shows_each_query_what_transformers_shows_it(window: int, start: int, end: int):
    """Queries at positions `[start, end)` of a sequence whose pages lie apart."""
    pages = [5, 1, 2]
    (seen,) = make().forward_batch([chunk(pages, start, end)]).spans_within(window)

    slots = [slot for begin, stop in seen.runs for slot in range(begin, stop)]
    positions = [
        pages.index(slot // PAGE_TOKENS) * PAGE_TOKENS + slot % PAGE_TOKENS for slot in slots
    ]
    assert len(positions) == seen.length
    shows = sliding_window_causal_mask_function(window)
    for query in range(start, end):
        if seen.mask is not None:
            shown = [
                at
                for at, hidden in zip(positions, seen.mask[query - start], strict=True)
                if hidden == 0
            ]
        else:
            shown = [at for at in positions if at <= query] if seen.is_first else positions
        every = torch.arange(end)
        assert shown == every[shows(0, 0, torch.tensor(query), every)].tolist()


def test_pages_before_a_window_are_not_read():
    (seen,) = make().forward_batch([chunk([0, 4, 5, 6], 60, 64)]).spans_within(16)

    assert seen.runs == ((93, 112),)


def test_a_page_costs_keys_and_values_of_all_layers():
    layers = [LayerShape(heads=3, key_dim=64, value_dim=64)] * 30

    cost = KvCache.bytes_per_page(layers, torch.float32)

    assert cost == 46_080 * PAGE_TOKENS
