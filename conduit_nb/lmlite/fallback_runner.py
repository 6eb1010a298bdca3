"""Any language model at all, row by row: each row has a transformers cache of its own.

Slower than packs, for as many rows as many forwards are made, and no row takes over what another
has read. What is done is what `generate` does, and is compared with it before the first request.
Layer 3: torch, transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers import DynamicCache

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.logprobs import Chosen
from conduit_nb.lmlite.model_loader import LoadedModel, first_line
from conduit_nb.lmlite.probe import (
    FAILURES,
    accepted,
    differ,
    probe_tokens,
)
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.scheduler import Plan, Row, Slice

Reading = Literal["in pieces", "one by one", "from the start"]
READINGS: tuple[Reading, ...] = ("in pieces", "one by one", "from the start")
"""How a row is read, the quickest first: any number of tokens behind those in the cache; the
prompt as a whole and then one token at a time; everything anew for each token, without a cache."""

CHECKED_TOKENS = 4
"""So many tokens of `generate` are compared with ours."""


@dataclass(slots=True, kw_only=True)
class _Read:
    """What a row has read: `tokens` of its tokens are in `cache`."""

    cache: DynamicCache
    tokens: int = 0


class FallbackRunner:
    """A loaded model without a pool; used by one thread at a time.

    Rows only ever grow: a token that was read is not taken back.
    """

    attention: Literal["fallback"] = "fallback"

    def __init__(self, loaded: LoadedModel) -> None:
        self.reading: Reading = READINGS[0]
        self._loaded = loaded
        self._model: Any = loaded.model  # transformers types its models in part only
        self._masks = Masks(loaded.vocab_size)
        self._accepted = accepted(loaded.model)
        self._read: dict[Row, _Read] = {}

    @property
    def rows(self) -> int:
        """Rows that have something in a cache."""
        return len(self._read)

    @torch.inference_mode()
    def run(self, plan: Plan, replies: Mapping[Row, Reply]) -> dict[Row, Chosen]:
        """Do one step; return the next token of every row that wants one."""
        for row in [row for row in self._read if not row.pages]:  # preempted: it begins again
            del self._read[row]
        wanted = {part.row: self._advance(part) for part in plan.slices}
        logits = {row: one for row, one in wanted.items() if one is not None}
        if not logits:
            return {}
        tokens = choose_tokens(
            torch.stack(list(logits.values())), [replies[row] for row in logits], self._masks
        )
        return dict(zip(logits, tokens, strict=True))

    def follow(self, drafted: Mapping[Row, int], replies: Mapping[Row, Reply]) -> dict[Row, Chosen]:
        """Return nothing: rows that only ever grow are given no drafts."""
        assert not drafted, f"drafts for some of {len(replies)} rows"
        return {}

    def forget(self, row: Row) -> None:
        """Free what the row has read. Idempotent."""
        self._read.pop(row, None)

    @torch.inference_mode()
    def start(self) -> None:
        """Find the quickest way of reading that writes what `generate` writes.

        Raises ModelError where there is none.
        """
        reasons: list[str] = []
        try:
            text, own = self._generated()
            looks_ahead = self._looks_ahead(text)
        except FAILURES as err:
            raise self._unserved(f"its first text failed: {first_line(err)}") from err
        if looks_ahead:
            raise self._unserved(
                "it is not causal: what it says of a text depends on what comes after"
            )
        for self.reading in READINGS:
            self._read.clear()
            try:
                written = self._probe(text)
            except FAILURES as err:
                reasons.append(first_line(err))
                continue
            if (far := differ(self._loaded, written, own)) is None:
                return
            reasons.append(f"it answers differently (by {far:.2g})")
        raise self._unserved(f"read {self.reading}, {reasons[-1]}")

    @torch.inference_mode()
    def cache_bytes(self) -> tuple[int, int]:
        """Return what a row's cache takes: for each of its tokens, and whatever its length."""
        text = probe_tokens(self._loaded)
        half = len(text) // 2
        short, long = (self._cache_bytes(text[:count]) for count in (half, 2 * half))
        per_token = max(long - short, 0) // half
        return per_token, max(short - half * per_token, 0)

    def _cache_bytes(self, text: list[int]) -> int:
        row = Row(number=0, tokens=text)
        self._advance(Slice(row=row, start=0, end=len(text), samples=True))
        read = self._read.pop(row, None)
        return _sizes([vars(layer) for layer in read.cache.layers]) if read else 0

    def _generated(self) -> tuple[list[int], torch.Tensor]:
        """Return a text that `generate` went on with, and the logits `[tokens, vocab]` it had."""
        prompt = torch.tensor([probe_tokens(self._loaded)], device=self._loaded.device)
        written = self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=1,
            min_new_tokens=CHECKED_TOKENS,
            max_new_tokens=CHECKED_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
        )
        return written.sequences[0].tolist(), torch.cat(written.logits)

    def _looks_ahead(self, text: Sequence[int]) -> bool:
        """Whether the logits after half of the text are others where the text goes on."""
        half = len(text) // 2
        whole, first = (
            self._model(input_ids=torch.tensor([text[:end]], device=self._loaded.device)).logits[0]
            for end in (len(text), half)
        )
        return differ(self._loaded, whole[half - 1], first[-1]) is not None

    def _probe(self, text: Sequence[int]) -> torch.Tensor:
        """Return the logits `[CHECKED_TOKENS, vocab]` of a row that reads the text bit by bit.

        Another row reads something else in between, which must not matter.
        """
        row, other = Row(number=0, tokens=[]), Row(number=1, tokens=list(reversed(text)))
        logits: list[torch.Tensor] = []
        start = len(text) - CHECKED_TOKENS
        cuts = [start // 2, *range(start, len(text))]
        for begin, end in zip([0, *cuts], cuts, strict=False):
            row.tokens = list(text[:end])
            samples = end >= start
            found = self._advance(Slice(row=row, start=begin, end=end, samples=samples))
            logits.extend([] if found is None else [found])
            self._advance(Slice(row=other, start=begin, end=end, samples=samples))
        self.forget(row)
        self.forget(other)
        return torch.stack(logits)

    def _advance(self, part: Slice) -> torch.Tensor | None:
        """Read a slice; return the logits `[vocab]` after it where a next token is wanted."""
        tokens = part.row.tokens[: part.end]
        if self.reading == "from the start":
            return self._forward(tokens, 0, None) if part.samples else None
        read = self._read.get(part.row)
        if read is None or self._turns(read.tokens, part.end):
            read = self._read[part.row] = _Read(cache=DynamicCache(config=self._model.config))
        if self.reading == "in pieces":
            logits = self._forward(tokens, read.tokens, read.cache)
        elif not part.samples:
            return None
        else:
            logits = None
            while logits is None or read.tokens < part.end:
                end = read.tokens + 1 if read.tokens else part.end
                logits = self._forward(tokens[:end], read.tokens, read.cache)
                read.tokens = end
        read.tokens = part.end
        return logits if part.samples else None

    def _turns(self, before: int, after: int) -> bool:
        """Whether the row grows to where the model turns all of its keys in another way."""
        return before <= self._loaded.steady_tokens < after

    def _forward(
        self, tokens: Sequence[int], start: int, cache: DynamicCache | None
    ) -> torch.Tensor:
        """Read `tokens` from `start` on, those before are in the cache; return logits `[vocab]`."""
        device = self._loaded.device
        given: dict[str, Any] = {
            "position_ids": torch.arange(start, len(tokens), device=device).unsqueeze(0),
            "past_key_values": cache,
            "cache_params": cache,
            "use_cache": cache is not None,
            "logits_to_keep": 1,
        }
        output = self._model(
            input_ids=torch.tensor([list(tokens[start:])], device=device),
            **{name: value for name, value in given.items() if name in self._accepted},
        )
        return output.logits[0, -1]

    def _unserved(self, why: str) -> ModelError:
        return ModelError(
            f"A model of the architecture {self._loaded.architecture!r} cannot be served: {why}.",
            hint="Choose another model, or another runtime; the README lists families that are.",
        )


def _sizes(value: object) -> int:
    """Return the bytes of all tensors in what a cache's layer holds."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    items: list[Any] = []
    if isinstance(value, dict):
        items = list(cast("dict[Any, Any]", value).values())
    elif isinstance(value, list | tuple):
        items = list(cast("list[Any]", value))
    return sum(_sizes(item) for item in items)
