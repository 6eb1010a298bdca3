"""Replies in an endpoint's words: the whole answer, or one event after the other.

Layer 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.protocol import FinishReason, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of the reply number `index`, or all of it; the last part has a `finish_reason`."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    confidence: Mapping[str, float] | None = None
    finish_reason: FinishReason | None = None


class Answer(ABC):
    """The answer to one request, which asks for `logprobs` or not."""

    def __init__(self, answer_id: str, model: str, *, has_logprobs: bool) -> None:
        self.answer_id = answer_id
        self.model = model
        self.has_logprobs = has_logprobs

    @abstractmethod
    def whole(self, replies: Sequence[Piece], usage: Usage) -> Mapping[str, Any]:
        """Return the body that says all replies at once."""

    @abstractmethod
    def opening(self, index: int) -> Mapping[str, Any] | None:
        """Return the event that begins a streamed reply; None where none is needed."""

    @abstractmethod
    def event(self, piece: Piece) -> Mapping[str, Any]:
        """Return the event that says a piece; those of one reply are asked for in order."""

    def events(self, piece: Piece) -> Sequence[Mapping[str, Any]]:
        """Return the events that say a piece, where one is not enough or none is needed."""
        return [self.event(piece)]

    @abstractmethod
    def usage_event(self, usage: Usage) -> Mapping[str, Any]:
        """Return the last event of a stream that was asked for its usage."""
