"""Log probabilities of a reply's tokens, emitted with the text that they belong to. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Vocabulary(Protocol):
    """What tokens stand for. llguidance's tokenizer is one."""

    def decode_bytes(self, tokens: list[int]) -> bytes:
        """Return the bytes of tokens, those of a special one by its name."""
        ...

    def is_special_token(self, token: int) -> bool:
        """Whether a token is no text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledToken:
    """A token that comes next, its log probability (0 where nothing else may), and the likeliest
    `top` with theirs; SamplingParams documents what these are taken from.
    """

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """The same in bytes: a token may be half a character. A special one is no text, but a name."""

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...]
    is_text: bool = True


class LogprobBuffer:
    """Holds a reply's log probabilities until the text that they belong to is emitted.

    Text waits for whole characters and for stop strings; a token is emitted with its first byte,
    and one that begins behind the end of the text, in a stop string, never.
    """

    def __init__(self, vocabulary: Vocabulary, top: int) -> None:
        self._vocabulary = vocabulary
        self._top = top
        self._held: list[tuple[int, TokenLogprob]] = []
        self._added_bytes = 0
        self._emitted_bytes = 0

    def add(self, chosen: Sequence[SampledToken]) -> None:
        """Note tokens that were written; of a forced one there is no alternative."""
        for one in chosen:
            top = one.top or ((one.token, one.logprob),)[: self._top]
            entry = TokenLogprob(
                token=self._vocabulary.decode_bytes([one.token]),
                logprob=one.logprob,
                top=tuple((self._vocabulary.decode_bytes([token]), value) for token, value in top),
                is_text=not self._vocabulary.is_special_token(one.token),
            )
            self._held.append((self._added_bytes, entry))
            self._added_bytes += len(entry.token) if entry.is_text else 0

    def take_for(self, text: str) -> tuple[TokenLogprob, ...]:
        """Return what belongs to `text`, the next piece of the reply."""
        self._emitted_bytes += len(text.encode(errors="replace"))
        count = sum(start < self._emitted_bytes for start, _ in self._held)
        return self._take(count)

    def rest(self) -> tuple[TokenLogprob, ...]:
        """Return what is left at the end of a reply that no stop string cut."""
        return self._take(len(self._held))

    def _take(self, count: int) -> tuple[TokenLogprob, ...]:
        taken, self._held = self._held[:count], self._held[count:]
        return tuple(entry for _, entry in taken)
