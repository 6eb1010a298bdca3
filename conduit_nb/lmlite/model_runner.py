"""One forward over one pack: all rows of a step side by side, whatever each has to read.

Layer 3: torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import NAME, register_attention
from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.kv_cache import KvCache, LayerShape
from conduit_nb.lmlite.logprobs import Chosen
from conduit_nb.lmlite.model_loader import LoadedModel, first_line
from conduit_nb.lmlite.probe import (
    FAILURES,
    PROBE_TOKENS,
    ROW_BY_ROW,
    attending,
    differ,
    own_logits,
    probe_tokens,
    short_windows,
)
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.scheduler import Plan, Row, Slice

PROBE_PAGES = 4
PROBE_ROWS = ((0, [0, 1]), (1, [3, 2]))


class ModelRunner:
    """A loaded model with its cache; used by one thread at a time."""

    attention: Literal["packed"] = "packed"

    def __init__(self, loaded: LoadedModel, layers: Sequence[LayerShape], *, pages: int) -> None:
        self._loaded = loaded
        self._model: Any = loaded.model  # transformers types its models in part only
        self._cache = KvCache(
            layers, pages=max(pages, PROBE_PAGES), dtype=loaded.dtype, device=loaded.device
        )
        self._masks = Masks(loaded.vocab_size)
        self._logits = torch.empty(0)  # of the last step, `[wanted tokens, vocab]`
        self._first: dict[Row, int] = {}  # where those of a row begin

    @torch.inference_mode()
    def run(self, plan: Plan, replies: Mapping[Row, Reply]) -> dict[Row, Chosen]:
        """Do one step; return the next token of every row that wants one."""
        for copy in plan.copies:
            self._cache.copy(copy)
        self._logits = self._forward(plan)
        self._first = {}
        count = 0
        for part in plan.slices:
            if part.samples:
                self._first[part.row] = count
                count += 1 + len(part.draft)
        return self.follow(dict.fromkeys(self._first, 0), replies)

    @torch.inference_mode()
    def follow(self, drafted: Mapping[Row, int], replies: Mapping[Row, Reply]) -> dict[Row, Chosen]:
        """Return the token behind so many of the drafted ones, for rows of the last step."""
        if not drafted:
            return {}
        places = [self._first[row] + count for row, count in drafted.items()]
        logits = self._logits
        if len(places) < len(logits):
            logits = logits[torch.tensor(places, device=logits.device)]
        tokens = choose_tokens(logits, [replies[row] for row in drafted], self._masks)
        return dict(zip(drafted, tokens, strict=True))

    def forget(self, row: Row) -> None:
        """Do nothing: what a row leaves in its pages is the scheduler's."""

    @torch.inference_mode()
    def start(self) -> None:
        """Compare a pack of two rows, read in pieces, with the model's own attention.

        From then on the model attends to packs. Raises ModelError where the two differ or one
        fails: better no text than wrong text.
        """
        register_attention()
        try:
            with short_windows(self._loaded), attending(self._model, "eager"):
                own = own_logits(self._loaded, probe_tokens(self._loaded))
                with attending(self._model, NAME):
                    packed = self._probe()
        except FAILURES as err:
            raise _unserved(f"its first text failed: {first_line(err)}") from err
        if (far := differ(self._loaded, packed, own)) is not None:
            raise _unserved(f"packed and alone it answers differently (by {far:.2g})")
        self._model.set_attn_implementation(NAME)

    def _probe(self) -> torch.Tensor:
        """Return the last logits `[rows, vocab]` of rows that are all the same text."""
        tokens = probe_tokens(self._loaded)
        rows = [Row(number=number, tokens=tokens, pages=pages) for number, pages in PROBE_ROWS]
        logits = torch.empty(0)
        half = PROBE_TOKENS // 2
        for start, end in ((0, half), (half, PROBE_TOKENS - 1), (PROBE_TOKENS - 1, PROBE_TOKENS)):
            slices = [Slice(row=row, start=start, end=end, samples=True) for row in rows]
            logits = self._forward(Plan(copies=[], slices=slices))
        return logits

    def _forward(self, plan: Plan) -> torch.Tensor:
        """Return logits `[sampling rows, vocab]`."""
        step = self._cache.step(plan.slices)
        self._cache.begin(step)
        logits = self._model(
            input_ids=step.input_ids,
            position_ids=step.position_ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=step.sampled,
            lmlite_step=step,
        ).logits[0]
        # A model that does not know `logits_to_keep` gives those of all tokens.
        return logits if len(logits) == len(step.sampled) else logits[step.sampled]


def _unserved(why: str) -> ModelError:
    return ModelError(
        f"The rows of this model cannot be packed: {why}.",
        hint=ROW_BY_ROW,
    )
