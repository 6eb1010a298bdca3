"""One reply while it is written: each new token becomes text, forced tokens and perhaps the end.

Layer 3: no torch.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from conduit_nb.lmlite.detokenizer import Detokenizer, StopStrings
from conduit_nb.lmlite.guided import Guide
from conduit_nb.lmlite.loops import LoopGuard
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.lmlite.scheduler import Row
from conduit_nb.protocol import FinishReason


class Reply:
    """Writes at most `max_tokens` tokens into `row`, the one list that the scheduler reads."""

    def __init__(
        self,
        *,
        row: Row,
        max_tokens: int,
        sampling: SamplingParams,
        guide: Guide | None,
        detokenizer: Detokenizer,
        end_tokens: frozenset[int],
        loop_guard: LoopGuard,
    ) -> None:
        self.row = row
        self.sampling = sampling
        self.guide = guide
        self.draws = random.Random(sampling.seed)  # noqa: S311  # texts, not secrets
        self._left = max_tokens
        self._detokenizer = detokenizer
        self._stops = StopStrings(sampling.stop)
        self._end_tokens = end_tokens
        self._loop_guard = loop_guard
        self._written = ""

    def begin(self) -> GenerationDelta | None:
        """Write what the grammar forces at the very start; None where that is nothing."""
        return self._extend([]) if self.guide else None

    def add(self, token: int) -> GenerationDelta:
        """Write the token that the model chose, and what the grammar forces after it."""
        if self.guide:
            self.guide.check()
        if token in self._end_tokens:
            self._left -= 1
            return self._finished("stop", "", 1)
        if self.guide:
            self.guide.accept(token)
        delta = self._extend([token])
        assert delta is not None
        return delta

    def way_out(self, forbidden: NDArray[np.bool_]) -> int | None:
        """Return the token that leads out of a loop, None where there is none to leave.

        `forbidden` is `[vocab]`: what the grammar does not allow next.
        """
        return self._loop_guard.way_out(self._written, forbidden)

    def _extend(self, tokens: list[int]) -> GenerationDelta | None:
        forced = self.guide.forced() if self.guide else []
        forced = [token for token in forced if token not in self._end_tokens]
        fitting = [*tokens, *forced][: self._left]
        is_cut = len(fitting) < len(tokens) + len(forced)
        if not fitting and not is_cut:
            return None
        self._left -= len(fitting)
        self.row.tokens.extend(fitting)
        written = self._detokenizer.add(fitting)
        self._written += written
        text, is_stopped = self._stops.add(written)
        if is_stopped:
            return GenerationDelta(text=text, tokens=len(fitting), finish_reason="stop")
        if self.guide and self.guide.is_complete and not is_cut:
            return self._finished("stop", text, len(fitting))
        if self._left == 0:
            return self._finished("length", text, len(fitting))
        return GenerationDelta(text=text, tokens=len(fitting))

    def _finished(self, reason: FinishReason, text: str, tokens: int) -> GenerationDelta:
        rest, is_stopped = self._stops.add(self._detokenizer.flush())
        if not is_stopped:
            rest += self._stops.flush()
        return GenerationDelta(
            text=text + rest, tokens=tokens, finish_reason="stop" if is_stopped else reason
        )
