"""Keys and values of all rows in one pool of pages per layer, and where a step puts and finds them.

Layout `[kv_heads, pool_tokens, head_dim]`: a row whose pages lie side by side is read as a view.
Gathering each row's pages instead cost 2 to 4 times the attention itself (32 rows, CPU), and a
padded batch of rows costs as much as its longest row.
Layer 3: torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.scheduler import Copy, Slice

PAGE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One row's share of a pack: queries `[begin, end)` of it look at `length` cached tokens.

    `runs` are the pool's token ranges that hold those, in order. `mask` `[queries, length]` is
    added to the scores; None where every query sees everything, or (`is_first`) a plain triangle.
    """

    begin: int
    end: int
    length: int
    runs: tuple[tuple[int, int], ...]
    is_first: bool
    mask: torch.Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Everything the model is told about one pack. Tensors are `[tokens]` or `[1, tokens]`."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    slots: torch.Tensor
    parts: tuple[Part, ...]
    sampled: torch.Tensor


class KvCache:
    """The pool, in the place of a transformers cache: the model calls `update` in each layer."""

    def __init__(
        self,
        *,
        layers: int,
        kv_heads: int,
        head_dim: int,
        pages: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (kv_heads, pages * PAGE_TOKENS, head_dim)
        # On the CPU memory is taken when it is first written: an idle pool costs nothing.
        self._keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._device = device
        self._dtype = dtype
        self._slots: torch.Tensor | None = None

    @staticmethod
    def bytes_per_page(*, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
        """Return what one page costs over all layers."""
        return 2 * layers * kv_heads * head_dim * PAGE_TOKENS * dtype.itemsize

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: object,
        **__: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write `[1, kv_heads, tokens, head_dim]` to the step's slots; return the layer's pools."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        if key_states.shape[1::2] != keys.shape[::2] or value_states.shape != key_states.shape:
            raise ModelError(
                f"Keys of shape {tuple(key_states.shape)} are not what the configuration says.",
                hint="Models with another kind of attention cannot be served yet.",
            )
        assert self._slots is not None
        keys.index_copy_(1, self._slots, key_states[0])
        values.index_copy_(1, self._slots, value_states[0])
        return keys, values

    def begin(self, step: Step) -> None:
        """Say where the next forward writes."""
        self._slots = step.slots

    def copy(self, copy: Copy) -> None:
        """Copy what lies in some pages to others that are not among them."""
        blocks = _blocks(copy)
        for pool in (*self._keys, *self._values):
            for source, target, tokens in blocks:
                pool[:, target : target + tokens] = pool[:, source : source + tokens]

    def step(self, slices: Sequence[Slice]) -> Step:
        """Lay the slices side by side as one pack."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        sampled: list[int] = []
        parts: list[Part] = []
        for part in slices:
            begin = len(tokens)
            tokens.extend(part.row.tokens[part.start : part.end])
            positions.extend(range(part.start, part.end))
            slots.extend(_slots(part.row.pages, part.start, part.end))
            if part.samples:
                sampled.append(len(tokens) - 1)
            parts.append(
                Part(
                    begin=begin,
                    end=len(tokens),
                    length=part.end,
                    runs=_runs(part.row.pages, part.end),
                    is_first=part.start == 0,
                    mask=self._mask(part.start, part.end),
                )
            )
        return Step(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=torch.tensor([positions], device=self._device),
            slots=torch.tensor(slots, device=self._device),
            parts=tuple(parts),
            sampled=torch.tensor(sampled, dtype=torch.long, device=self._device),
        )

    def _mask(self, start: int, end: int) -> torch.Tensor | None:
        """Hide from each of several queries behind a cached beginning what comes after it."""
        if start == 0 or end - start == 1:
            return None
        mask = torch.full((end - start, end), -torch.inf, dtype=self._dtype, device=self._device)
        return mask.triu_(diagonal=start + 1)


def _slots(pages: Sequence[int], start: int, end: int) -> list[int]:
    """Return where in the pool a row's tokens `[start, end)` lie."""
    slots: list[int] = []
    for index in range(start // PAGE_TOKENS, -(-end // PAGE_TOKENS)):
        first = max(start - index * PAGE_TOKENS, 0)
        last = min(end - index * PAGE_TOKENS, PAGE_TOKENS)
        base = pages[index] * PAGE_TOKENS
        slots.extend(range(base + first, base + last))
    return slots


def _blocks(copy: Copy) -> list[tuple[int, int, int]]:
    """Return from where in the pool to where how many tokens go, neighbours as one."""
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
