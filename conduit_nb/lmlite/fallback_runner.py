"""Runs any language model, one sequence at a time, each with a transformers cache of its own.

Slower than a batch: every sequence needs a forward of its own, and none shares a prefix with
another. It does what `generate` does, and is compared with it before the first request.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from transformers import DynamicCache

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.model_loader import LoadedModel, first_line
from conduit_nb.lmlite.probe import (
    FAILURES,
    accepted,
    differ,
    probe_tokens,
)
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.scheduler import Batch, Chunk, Sequence

PrefillMode = Literal["chunked", "whole", "recompute"]
PREFILL_MODES: tuple[PrefillMode, ...] = ("chunked", "whole", "recompute")
"""How tokens are computed, the fastest first: any number of them behind those in the cache; the
whole prompt at once and then one token at a time; all again for each token, without a cache."""

CHECKED_TOKENS = 4
"""So many tokens of `generate` are compared with ours."""


@dataclass(slots=True, kw_only=True)
class _SequenceCache:
    """The first `tokens` tokens of a sequence are in `cache`."""

    cache: DynamicCache
    tokens: int = 0


class FallbackRunner:
    """A loaded model without a pool; used by one thread at a time.

    Sequences only ever grow: a token that is in a cache is not taken back.
    """

    attention: Literal["fallback"] = "fallback"

    def __init__(self, loaded: LoadedModel) -> None:
        self.prefill_mode: PrefillMode = PREFILL_MODES[0]
        self._loaded = loaded
        self._model: Any = loaded.model  # transformers types its models in part only
        self._masks = Masks(loaded.vocab_size)
        self._accepted = accepted(loaded.model)
        self._caches: dict[Sequence, _SequenceCache] = {}

    @property
    def sequences(self) -> int:
        """Sequences that have something in a cache."""
        return len(self._caches)

    @torch.inference_mode()
    def run(self, batch: Batch, replies: Mapping[Sequence, Reply]) -> dict[Sequence, SampledToken]:
        """Do one step; return the next token of every sequence that samples one."""
        for sequence in [
            one for one in self._caches if not one.pages
        ]:  # preempted: it begins again
            del self._caches[sequence]
        computed = {chunk.sequence: self._forward_chunk(chunk) for chunk in batch.chunks}
        logits = {sequence: one for sequence, one in computed.items() if one is not None}
        if not logits:
            return {}
        tokens = choose_tokens(
            torch.stack(list(logits.values())), [replies[one] for one in logits], self._masks
        )
        return dict(zip(logits, tokens, strict=True))

    def follow(
        self, drafted: Mapping[Sequence, int], replies: Mapping[Sequence, Reply]
    ) -> dict[Sequence, SampledToken]:
        """Return nothing: sequences that only ever grow are given no drafts."""
        assert not drafted, f"drafts for some of {len(replies)} sequences"
        return {}

    def forget(self, sequence: Sequence) -> None:
        """Free the sequence's cache. Idempotent."""
        self._caches.pop(sequence, None)

    @torch.inference_mode()
    def start(self) -> None:
        """Find the fastest prefill mode that writes what `generate` writes.

        Raises ModelError where there is none.
        """
        reasons: list[str] = []
        try:
            text, own = self._generated()
            looks_ahead = self._looks_ahead(text)
        except FAILURES as err:
            raise self._unsupported(f"its first text failed: {first_line(err)}") from err
        if looks_ahead:
            raise self._unsupported(
                "it is not causal: its logits after a text depend on what comes next"
            )
        for self.prefill_mode in PREFILL_MODES:
            self._caches.clear()
            try:
                written = self._probe(text)
            except FAILURES as err:
                reasons.append(first_line(err))
                continue
            if (far := differ(self._loaded, written, own)) is None:
                return
            reasons.append(f"it answers differently (by {far:.2g})")
        raise self._unsupported(f"with prefill mode {self.prefill_mode!r}, {reasons[-1]}")

    @torch.inference_mode()
    def cache_bytes(self) -> tuple[int, int]:
        """Return the bytes of a sequence's cache: per token, and independent of its length."""
        text = probe_tokens(self._loaded)
        half = len(text) // 2
        short, long = (self._cache_bytes(text[:count]) for count in (half, 2 * half))
        per_token = max(long - short, 0) // half
        return per_token, max(short - half * per_token, 0)

    def _cache_bytes(self, text: list[int]) -> int:
        sequence = Sequence(number=0, tokens=text)
        self._forward_chunk(Chunk(sequence=sequence, start=0, end=len(text), samples=True))
        cached = self._caches.pop(sequence, None)
        return _sizes([vars(layer) for layer in cached.cache.layers]) if cached else 0

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

    def _looks_ahead(self, text: abc.Sequence[int]) -> bool:
        """Whether the logits after half of the text are others where the text goes on."""
        half = len(text) // 2
        whole, first = (
            self._model(input_ids=torch.tensor([text[:end]], device=self._loaded.device)).logits[0]
            for end in (len(text), half)
        )
        return differ(self._loaded, whole[half - 1], first[-1]) is not None

    def _probe(self, text: abc.Sequence[int]) -> torch.Tensor:
        """Return the logits `[CHECKED_TOKENS, vocab]` of a sequence that is computed in chunks.

        Another sequence is computed in between, which must not matter.
        """
        sequence = Sequence(number=0, tokens=[])
        other = Sequence(number=1, tokens=list(reversed(text)))
        logits: list[torch.Tensor] = []
        start = len(text) - CHECKED_TOKENS
        cuts = [start // 2, *range(start, len(text))]
        for begin, end in zip([0, *cuts], cuts, strict=False):
            sequence.tokens = list(text[:end])
            samples = end >= start
            chunk = Chunk(sequence=sequence, start=begin, end=end, samples=samples)
            found = self._forward_chunk(chunk)
            logits.extend([] if found is None else [found])
            self._forward_chunk(Chunk(sequence=other, start=begin, end=end, samples=samples))
        self.forget(sequence)
        self.forget(other)
        return torch.stack(logits)

    def _forward_chunk(self, chunk: Chunk) -> torch.Tensor | None:
        """Compute a chunk; return the logits `[vocab]` after it where a next token is sampled."""
        tokens = chunk.sequence.tokens[: chunk.end]
        if self.prefill_mode == "recompute":
            return self._forward(tokens, 0, None) if chunk.samples else None
        cached = self._caches.get(chunk.sequence)
        if cached is None or self._changes_rotation(cached.tokens, chunk.end):
            cached = _SequenceCache(cache=DynamicCache(config=self._model.config))
            self._caches[chunk.sequence] = cached
        if self.prefill_mode == "chunked":
            logits = self._forward(tokens, cached.tokens, cached.cache)
        elif not chunk.samples:
            return None
        else:
            logits = None
            while logits is None or cached.tokens < chunk.end:
                end = cached.tokens + 1 if cached.tokens else chunk.end
                logits = self._forward(tokens[:end], cached.tokens, cached.cache)
                cached.tokens = end
        cached.tokens = chunk.end
        return logits if chunk.samples else None

    def _changes_rotation(self, before: int, after: int) -> bool:
        """Whether the sequence grows to a length where the model rotates all keys differently."""
        return before <= self._loaded.stable_rope_tokens < after

    def _forward(
        self, tokens: abc.Sequence[int], start: int, cache: DynamicCache | None
    ) -> torch.Tensor:
        """Compute `tokens` from `start` on (the cache has the others); return logits `[vocab]`."""
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

    def _unsupported(self, why: str) -> ModelError:
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
