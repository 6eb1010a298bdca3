"""Requests to an engine, and the deltas of its replies. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.tool_calls import CallGrammar
from conduit_nb.protocol import FinishReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGrammar:
    """A text that a reply must be: one of the `options` of a choice, or what fits `text`.

    `text` is a regular expression, or a grammar in the words of Lark or GBNF.
    """

    kind: Literal["choice", "regex", "grammar"]
    text: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One reply to write: at most `max_tokens` after `prompt_tokens`, and what the context leaves.

    With `json_schema` the reply is compact JSON that fits it, also where `max_tokens` end it; with
    `grammar` it is what that describes. With `confidence` the last delta has the probability of
    each value that was chosen from a few. `batch_timeout_ms` is how long it may wait for others to
    batch with where the engine is idle; None: the engine's default.

    Raises RequestRefusedError where there is nothing to read or to write.
    """

    prompt_tokens: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams = field(default_factory=SamplingParams)
    json_schema: Mapping[str, Any] | None = None
    grammar: TextGrammar | CallGrammar | None = None
    confidence: bool = False
    batch_timeout_ms: int | None = None

    def __post_init__(self) -> None:
        if not self.prompt_tokens:
            raise RequestRefusedError(
                "The prompt is empty.", param="messages", hint="Send at least one message."
            )
        if self.max_tokens < 1:
            raise RequestRefusedError(
                f"max_tokens={self.max_tokens} leaves nothing to write.",
                param="max_tokens",
                hint="Raise max_tokens, or leave it out.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDelta:
    """What one step added: `text` (whole characters only) and how many `tokens` it took.

    The last delta of a request, and only it, has a `finish_reason`. `tokens` may be above 0 with
    empty text (half a character, or a possible beginning of a stop string). Of the tokens, the
    grammar forced `forced`. `logprobs`, where requested, has an entry for each token whose text
    begins in `text`; the token that ends a reply is no text and has none. `confidence`, where
    requested, comes with the last: the probability of each chosen value by its JSON pointer.
    """

    text: str
    tokens: int
    forced: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    confidence: Mapping[str, float] | None = None
    finish_reason: FinishReason | None = None
