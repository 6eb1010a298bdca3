"""One reply while it is written: each new token becomes text, forced tokens and perhaps the end.

Imports no torch.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from conduit_nb.lmlite.confidence import ConfidenceTracker
from conduit_nb.lmlite.detokenizer import Detokenizer, StopStrings
from conduit_nb.lmlite.guided import Guide
from conduit_nb.lmlite.logprobs import LogprobBuffer, SampledToken
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Sequence
from conduit_nb.protocol import FinishReason


class Reply:
    """Writes at most `max_tokens` tokens into `sequence`, the one list that the scheduler reads."""

    def __init__(
        self,
        *,
        sequence: Sequence,
        max_tokens: int,
        sampling: SamplingParams,
        guide: Guide | None,
        detokenizer: Detokenizer,
        end_tokens: frozenset[int],
        repetition_guard: RepetitionGuard,
        logprobs: LogprobBuffer | None = None,
        confidence: ConfidenceTracker | None = None,
    ) -> None:
        self.sequence = sequence
        self.sampling = sampling
        self.guide = guide
        self.draws = random.Random(sampling.seed)  # noqa: S311  # texts, not secrets
        self._prompt_tokens = len(sequence.tokens)
        self._left = max_tokens
        self._detokenizer = detokenizer
        self._stops = StopStrings(sampling.stop, includes=sampling.includes_stop)
        self.end_tokens = end_tokens
        self._repetition_guard = repetition_guard
        self._logprobs = logprobs
        self._confidence = confidence
        self._closer = guide.closer if guide else None
        self._text = ""

    @property
    def is_measured(self) -> bool:
        """Whether the probabilities of its tokens are needed."""
        return self.sampling.top_logprobs is not None or self._confidence is not None

    @property
    def written(self) -> list[int]:
        """The tokens of the reply so far."""
        return self.sequence.tokens[self._prompt_tokens :]

    @property
    def left(self) -> int:
        """How many tokens may still come."""
        return self._left

    @property
    def may_end(self) -> bool:
        """Whether it has its `min_tokens`."""
        return len(self.sequence.tokens) - self._prompt_tokens >= self.sampling.min_tokens

    def begin(self) -> GenerationDelta | None:
        """Write what the grammar forces at the very start; None where that is nothing."""
        return self._extend(None) if self.guide else None

    def add(self, chosen: SampledToken) -> GenerationDelta:
        """Write the token that the model chose, and what the grammar forces after it."""
        if self.guide:
            self.guide.check()
        if chosen.token in self.end_tokens:
            self._left -= 1
            return self._finished("stop", "", 1, 0)
        if self._closer and not self._closer.admits([chosen.token], self._left - 1):
            closed = self._closed(None)
            if closed:
                return closed
        if self.guide:
            self.guide.accept(chosen.token)
        delta = self._extend(chosen)
        assert delta is not None
        return delta

    def escape_token(self, forbidden: NDArray[np.bool_]) -> int | None:
        """Return the token that leads out of a loop, None where there is none to leave.

        `forbidden` is `[vocab]`: what the grammar does not allow next.
        """
        if self.guide is None or not self.guide.is_json:
            return None
        return self._repetition_guard.escape_token(self._text, forbidden)

    def _extend(self, chosen: SampledToken | None) -> GenerationDelta | None:
        """Write what was chosen and accepted, and what the grammar forces after it."""
        forced = self.guide.ahead() if self.guide else []
        left = self._left - (chosen is not None) - len(forced)
        if self._closer and forced and (left < 0 or not self._closer.admits(forced, left)):
            closed = self._closed(chosen)
            if closed:
                return closed
        if self.guide:
            self.guide.accept_all(forced)
        forced = [token for token in forced if token not in self.end_tokens]
        return self._write(chosen, forced) if chosen or forced else None

    def _closed(self, chosen: SampledToken | None) -> GenerationDelta | None:
        """Write what was chosen and accepted, and what closes the record after it: the end.

        None where the grammar does not take that; then the limit cuts the reply.
        """
        assert self.guide is not None
        assert self._closer is not None
        tokens = self._closer.closing()
        self._closer = None
        fits = len(tokens) + (chosen is not None) <= self._left
        if not fits or not self.guide.can_end_with(tokens):
            return None
        # What had to come anyway is no cut, even if it was to be cut into more tokens.
        reason: FinishReason = "stop" if self.guide.must_end_with(tokens) else "length"
        return self._write(chosen, tokens, end=reason)

    def _write(
        self, chosen: SampledToken | None, more: list[int], *, end: FinishReason | None = None
    ) -> GenerationDelta:
        """Add tokens to the reply, as far as they fit; with `end` it is over."""
        sampled = [*([chosen] if chosen else []), *(SampledToken(token=token) for token in more)]
        fitting = sampled[: self._left]
        is_cut = len(fitting) < len(sampled)
        self._left -= len(fitting)
        tokens = [one.token for one in fitting]
        self.sequence.tokens.extend(tokens)
        if self._logprobs:
            self._logprobs.add(fitting)
        if self._confidence:
            self._confidence.add(fitting[:1] if chosen else [], is_closing=False)
            self._confidence.add(fitting[1:] if chosen else fitting, is_closing=end == "length")
        forced_count = len(fitting) - (chosen is not None)
        written = self._detokenizer.add(tokens)
        self._text += written
        if self.may_end and not (self.guide and self.guide.is_calling):
            text, is_stopped = self._stops.add(written)
        else:
            text, is_stopped = self._stops.passed(written), False
        if is_stopped:
            return self._delta(text, len(fitting), forced_count, "stop", is_stopped=True)
        if self.guide and self.guide.is_complete and not is_cut:
            end = "stop"
        elif self._left == 0:
            end = end or "length"
        if end:
            return self._finished(end, text, len(fitting), forced_count)
        return self._delta(text, len(fitting), forced_count)

    def _finished(
        self, reason: FinishReason, text: str, tokens: int, forced: int
    ) -> GenerationDelta:
        rest, is_stopped = self._stops.add(self._detokenizer.flush())
        if not is_stopped:
            rest += self._stops.flush()
        return self._delta(
            text + rest, tokens, forced, "stop" if is_stopped else reason, is_stopped=is_stopped
        )

    def _delta(
        self,
        text: str,
        tokens: int,
        forced: int,
        reason: FinishReason | None = None,
        *,
        is_stopped: bool = False,
    ) -> GenerationDelta:
        logprobs = self._logprobs.take_for(text) if self._logprobs else ()
        if self._logprobs and reason and not is_stopped:
            logprobs += self._logprobs.rest()
        return GenerationDelta(
            text=text,
            tokens=tokens,
            forced=forced,
            logprobs=logprobs,
            confidence=self._confidence.confidences() if self._confidence and reason else None,
            finish_reason=reason,
        )
