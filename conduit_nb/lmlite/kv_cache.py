"""The paged KV cache: one pool of pages per layer, and where a batch writes and reads in it.

Layout `[kv_heads, pool_tokens, head_dim]`: a sequence whose pages are adjacent is read as a view.
Gathering each sequence's pages instead cost 2 to 4 times the attention itself (32 sequences, CPU),
and a padded batch costs as much as its longest sequence.

A layer with sliding-window attention reads only the last tokens of a sequence; the pages before
them stay in use, because other layers and later sequences read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.scheduler import Chunk, Copy

PAGE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What one layer keeps of a token: a key and a value for each of its heads."""

    heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpan:
    """One sequence's share of a batch: queries `[begin, end)` attend to `length` cached tokens.

    `runs` are the pool's token ranges that hold those, in order. `mask` `[queries, length]` is
    added to the scores; None where every query sees everything, or (`is_first`) a plain triangle.
    """

    begin: int
    end: int
    length: int
    runs: tuple[tuple[int, int], ...]
    is_first: bool
    mask: torch.Tensor | None

    @property
    def start(self) -> int:
        """The position of the first query."""
        return self.length - (self.end - self.begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardBatch:
    """A batch as the model's inputs. Tensors are `[tokens]` or `[1, tokens]`."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    slots: torch.Tensor
    spans: tuple[AttentionSpan, ...]
    sampled: torch.Tensor
    dtype: torch.dtype
    _windowed: dict[int, tuple[AttentionSpan, ...]] = field(
        default_factory=dict[int, tuple[AttentionSpan, ...]], init=False
    )

    def spans_within(self, window: int | None) -> tuple[AttentionSpan, ...]:
        """Return the spans for a layer whose queries attend to the last `window` tokens only.

        A query's own token is one of those, as transformers counts.
        """
        if window is None:
            return self.spans
        if window not in self._windowed:
            self._windowed[window] = tuple(self._within(span, window) for span in self.spans)
        return self._windowed[window]

    def _within(self, span: AttentionSpan, window: int) -> AttentionSpan:
        """Leave out what no query of the span sees, and mask from each what lies before its own."""
        if span.length <= window:
            return span
        first = max(span.start - window + 1, 0)
        mask = None
        if span.end - span.begin > 1:
            shape = (span.end - span.begin, span.length - first)
            diagonal = span.start - first  # where a query's own token lies
            seen = torch.ones(shape, dtype=torch.bool, device=self.input_ids.device)
            seen = seen.tril_(diagonal).triu_(diagonal - window + 1)
            mask = torch.zeros(shape, dtype=self.dtype, device=self.input_ids.device)
            mask.masked_fill_(~seen, -torch.inf)
        return replace(
            span,
            length=span.length - first,
            runs=_without_first(span.runs, first),
            is_first=False,
            mask=mask,
        )


class KvCache:
    """The pool, in the place of a transformers cache: the model calls `update` in each layer."""

    def __init__(
        self,
        layers: Sequence[LayerShape],
        *,
        pages: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        tokens = pages * PAGE_TOKENS

        # On the CPU memory is taken when it is first written: an idle pool costs nothing.
        def pool(heads: int, dim: int) -> torch.Tensor:
            return torch.empty((heads, tokens, dim), dtype=dtype, device=device)

        self._keys = [pool(layer.heads, layer.key_dim) for layer in layers]
        self._values = [pool(layer.heads, layer.value_dim) for layer in layers]
        self._device = device
        self._dtype = dtype
        self._slots: torch.Tensor | None = None

    @staticmethod
    def bytes_per_page(layers: Sequence[LayerShape], dtype: torch.dtype) -> int:
        """Return what one page costs over all layers."""
        numbers = sum(layer.heads * (layer.key_dim + layer.value_dim) for layer in layers)
        return numbers * PAGE_TOKENS * dtype.itemsize

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write `[1, kv_heads, tokens, head_dim]` to its slots; return the layer's pools."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        for states, pool in ((key_states, keys), (value_states, values)):
            if states.shape[1::2] != pool.shape[::2]:
                raise ModelError(
                    f"Layer {layer_idx} keeps {tuple(states.shape)} of a batch and has room for"
                    f" {pool.shape[0]} heads of {pool.shape[2]}.",
                    hint="Name the model in a bug report; its sequences cannot be batched.",
                )
        assert self._slots is not None
        keys.index_copy_(1, self._slots, key_states[0])
        values.index_copy_(1, self._slots, value_states[0])
        return keys, values

    def get_seq_length(self, *_: object) -> int:
        """Return 0 to models that ask: each token of a batch has its own position id."""
        return 0

    def get_query_offset(self, *_: object) -> int:
        """Return 0 to transformers' masks, of which only the kind is read (`attention.py`)."""
        return 0

    def get_mask_sizes(self, query_length: int, *_: object) -> tuple[int, int]:
        """Return the length and the offset of the keys for transformers' masks: the batch."""
        return query_length, 0

    def begin(self, batch: ForwardBatch) -> None:
        """Set the slots that the next forward writes to."""
        self._slots = batch.slots

    def copy(self, copy: Copy) -> None:
        """Copy what lies in some pages to others that are not among them."""
        blocks = _blocks(copy)
        for pool in (*self._keys, *self._values):
            for source, target, tokens in blocks:
                pool[:, target : target + tokens] = pool[:, source : source + tokens]

    def forward_batch(self, chunks: Sequence[Chunk]) -> ForwardBatch:
        """Lay the chunks side by side as one batch."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        sampled: list[int] = []
        spans: list[AttentionSpan] = []
        for chunk in chunks:
            begin, end = len(tokens), chunk.end + len(chunk.draft)
            tokens.extend(chunk.sequence.tokens[chunk.start : chunk.end])
            tokens.extend(chunk.draft)
            positions.extend(range(chunk.start, end))
            slots.extend(_slots(chunk.sequence.pages, chunk.start, end))
            if chunk.samples:
                sampled.extend(range(len(tokens) - len(chunk.draft) - 1, len(tokens)))
            spans.append(
                AttentionSpan(
                    begin=begin,
                    end=len(tokens),
                    length=end,
                    runs=_runs(chunk.sequence.pages, end),
                    is_first=chunk.start == 0,
                    mask=self._mask(chunk.start, end),
                )
            )
        return ForwardBatch(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=torch.tensor([positions], device=self._device),
            slots=torch.tensor(slots, device=self._device),
            spans=tuple(spans),
            sampled=torch.tensor(sampled, dtype=torch.long, device=self._device),
            dtype=self._dtype,
        )

    def _mask(self, start: int, end: int) -> torch.Tensor | None:
        """Mask from each of several queries behind a cached prefix what comes after it."""
        if start == 0 or end - start == 1:
            return None
        mask = torch.full((end - start, end), -torch.inf, dtype=self._dtype, device=self._device)
        return mask.triu_(diagonal=start + 1)


def _slots(pages: Sequence[int], start: int, end: int) -> list[int]:
    """Return where in the pool a sequence's tokens `[start, end)` lie."""
    slots: list[int] = []
    for index in range(start // PAGE_TOKENS, -(-end // PAGE_TOKENS)):
        first = max(start - index * PAGE_TOKENS, 0)
        last = min(end - index * PAGE_TOKENS, PAGE_TOKENS)
        base = pages[index] * PAGE_TOKENS
        slots.extend(range(base + first, base + last))
    return slots


def _blocks(copy: Copy) -> list[tuple[int, int, int]]:
    """Return from where in the pool to where how many tokens go, adjacent pages as one."""
    blocks: list[tuple[int, int, int]] = []
    left = copy.tokens
    for source_page, target_page in zip(copy.source, copy.target, strict=True):
        source, target = source_page * PAGE_TOKENS, target_page * PAGE_TOKENS
        tokens = min(left, PAGE_TOKENS)
        left -= tokens
        if blocks:
            first_source, first_target, before = blocks[-1]
            if (source, target) == (first_source + before, first_target + before):
                blocks[-1] = (first_source, first_target, before + tokens)
                continue
        blocks.append((source, target, tokens))
    return blocks


def _runs(pages: Sequence[int], length: int) -> tuple[tuple[int, int], ...]:
    """Return the pool's token ranges that hold the first `length` tokens, merged where adjacent."""
    runs: list[tuple[int, int]] = []
    left = length
    for page in pages:
        if left <= 0:
            break
        begin = page * PAGE_TOKENS
        end = begin + min(left, PAGE_TOKENS)
        if runs and runs[-1][1] == begin:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((begin, end))
        left -= PAGE_TOKENS
    return tuple(runs)


def _without_first(runs: Sequence[tuple[int, int]], tokens: int) -> tuple[tuple[int, int], ...]:
    """Return the token ranges without the first `tokens` of them."""
    left: list[tuple[int, int]] = []
    for begin, end in runs:
        skipped = min(tokens, end - begin)
        tokens -= skipped
        if begin + skipped < end:
            left.append((begin + skipped, end))
    return tuple(left)
