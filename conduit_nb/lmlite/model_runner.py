"""Runs one forward over a whole batch: all chunks side by side, prefill and decoding alike."""

from __future__ import annotations

from collections import abc
from collections.abc import Mapping
from typing import Any, Literal

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import NAME, register_attention
from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.kv_cache import KvCache, LayerShape
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.model_loader import LoadedModel, first_line
from conduit_nb.lmlite.probe import (
    FAILURES,
    ONE_AT_A_TIME,
    PROBE_TOKENS,
    attending,
    differ,
    own_logits,
    probe_tokens,
    short_windows,
)
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.scheduler import Batch, Chunk, Sequence

PROBE_PAGES = 4
PROBE_SEQUENCES = ((0, [0, 1]), (1, [3, 2]))
"""The number and the pages of each."""


class ModelRunner:
    """A loaded model with its cache; used by one thread at a time."""

    attention: Literal["packed"] = "packed"

    def __init__(
        self, loaded: LoadedModel, layers: abc.Sequence[LayerShape], *, pages: int
    ) -> None:
        self._loaded = loaded
        self._model: Any = loaded.model  # transformers types its models in part only
        self._cache = KvCache(
            layers, pages=max(pages, PROBE_PAGES), dtype=loaded.dtype, device=loaded.device
        )
        self._masks = Masks(loaded.vocab_size)
        self._logits = torch.empty(0)  # of the last step, `[sampled tokens, vocab]`
        self._first: dict[Sequence, int] = {}  # where those of a sequence begin

    @torch.inference_mode()
    def run(self, batch: Batch, replies: Mapping[Sequence, Reply]) -> dict[Sequence, SampledToken]:
        """Do one step; return the next token of every sequence that samples one."""
        for copy in batch.copies:
            self._cache.copy(copy)
        self._logits = self._forward(batch)
        self._first = {}
        count = 0
        for chunk in batch.chunks:
            if chunk.samples:
                self._first[chunk.sequence] = count
                count += 1 + len(chunk.draft)
        return self.follow(dict.fromkeys(self._first, 0), replies)

    @torch.inference_mode()
    def follow(
        self, drafted: Mapping[Sequence, int], replies: Mapping[Sequence, Reply]
    ) -> dict[Sequence, SampledToken]:
        """Return the token behind so many of the drafted ones, for sequences of the last step."""
        if not drafted:
            return {}
        indices = [self._first[sequence] + count for sequence, count in drafted.items()]
        logits = self._logits
        if len(indices) < len(logits):
            logits = logits[torch.tensor(indices, device=logits.device)]
        tokens = choose_tokens(logits, [replies[sequence] for sequence in drafted], self._masks)
        return dict(zip(drafted, tokens, strict=True))

    def forget(self, sequence: Sequence) -> None:
        """Do nothing: what a sequence leaves in its pages is the scheduler's."""

    @torch.inference_mode()
    def start(self) -> None:
        """Compare a batch of two sequences, prefilled in chunks, with the model's own attention.

        From then on the model attends to batches. Raises ModelError where the two differ or one
        fails: better no text than wrong text.
        """
        register_attention()
        try:
            with short_windows(self._loaded), attending(self._model, "eager"):
                own = own_logits(self._loaded, probe_tokens(self._loaded))
                with attending(self._model, NAME):
                    batched = self._probe()
        except FAILURES as err:
            raise _unsupported(f"its first text failed: {first_line(err)}") from err
        if (far := differ(self._loaded, batched, own)) is not None:
            raise _unsupported(f"batched and alone it answers differently (by {far:.2g})")
        self._model.set_attn_implementation(NAME)

    def _probe(self) -> torch.Tensor:
        """Return the last logits `[sequences, vocab]` of sequences that are all the same text."""
        tokens = probe_tokens(self._loaded)
        sequences = [
            Sequence(number=number, tokens=tokens, pages=pages) for number, pages in PROBE_SEQUENCES
        ]
        logits = torch.empty(0)
        half = PROBE_TOKENS // 2
        for start, end in ((0, half), (half, PROBE_TOKENS - 1), (PROBE_TOKENS - 1, PROBE_TOKENS)):
            chunks = [Chunk(sequence=one, start=start, end=end, samples=True) for one in sequences]
            logits = self._forward(Batch(copies=[], chunks=chunks))
        return logits

    def _forward(self, batch: Batch) -> torch.Tensor:
        """Return logits `[sampled tokens, vocab]`."""
        inputs = self._cache.forward_batch(batch.chunks)
        self._cache.begin(inputs)
        logits = self._model(
            input_ids=inputs.input_ids,
            position_ids=inputs.position_ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=inputs.sampled,
            lmlite_batch=inputs,
        ).logits[0]
        # A model that does not know `logits_to_keep` gives those of all tokens.
        return logits if len(logits) == len(inputs.sampled) else logits[inputs.sampled]


def _unsupported(why: str) -> ModelError:
    return ModelError(
        f"The sequences of this model cannot be batched: {why}.",
        hint=ONE_AT_A_TIME,
    )
