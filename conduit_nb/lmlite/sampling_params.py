"""How the next token of a request is sampled. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from conduit_nb.errors import RequestRefusedError

MAX_STOP_STRINGS = 16
MAX_TOP_LOGPROBS = 20
MIN_TEMPERATURE = 1e-4
# name: minimum, maximum, and what leaving it out means
RANGES = {
    "temperature": (0.0, 2.0, "for the likeliest text"),
    "min_p": (0.0, 1.0, "to consider every token"),
    "repetition_penalty": (0.1, 10.0, "for no penalty"),
    "presence_penalty": (-2.0, 2.0, "for no penalty"),
    "frequency_penalty": (-2.0, 2.0, "for no penalty"),
    "top_logprobs": (0, MAX_TOP_LOGPROBS, "to get none"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Temperature 0 takes the likeliest token; `seed` None draws differently for each request.

    First the penalties move the logits: `repetition_penalty` those of every token of prompt and
    reply (above 1 makes them rarer), `presence_penalty` and `frequency_penalty` those of the reply,
    once and per occurrence. Then the grammar takes out what may not come. This is what the
    likeliest token is taken from, and what `top_logprobs` reports (that many alternatives with each
    token; None reports nothing). A draw is from what temperature, `min_p` (relative to the
    likeliest token), `top_k` (0 keeps all) and `top_p`, in this order, leave of it.

    The same seed gives the same text whatever else runs in the batch. Text ends before the first
    of the `stop` strings, which is part of the reply only with `includes_stop`, and at one of the
    `stop_token_ids`. Neither these nor the model's own end come before `min_tokens`; with
    `ignore_eos` the model's own end never comes. `skip_special_tokens` leaves control tokens out of
    the text.

    Raises RequestRefusedError where a value is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    includes_stop: bool = False
    stop_token_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, (minimum, maximum, without) in RANGES.items():
            value: float | None = getattr(self, name)
            if value is not None and not (math.isfinite(value) and minimum <= value <= maximum):
                raise RequestRefusedError(
                    f"{name}={value!r} is not between {minimum:g} and {maximum:g}.",
                    param=name,
                    hint=f"Leave {name} out {without}.",
                )
        if not 0 < self.top_p <= 1:
            raise RequestRefusedError(
                f"top_p={self.top_p!r} is not above 0 and at most 1.",
                param="top_p",
                hint="Leave top_p out to consider every token.",
            )
        if self.top_k < 0:
            raise RequestRefusedError(
                f"top_k={self.top_k!r} is below 0.",
                param="top_k",
                hint="Leave top_k out to consider every token.",
            )
        if len(self.stop) > MAX_STOP_STRINGS:
            raise RequestRefusedError(
                f"{len(self.stop)} stop strings are more than {MAX_STOP_STRINGS}.",
                param="stop",
                hint="Pass fewer in stop.",
            )
        if any(not text for text in self.stop):
            raise RequestRefusedError(
                "stop holds an empty string.",
                param="stop",
                hint="Remove the empty string from stop.",
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken each time (a tiny temperature can mean no other)."""
        return self.temperature < MIN_TEMPERATURE

    @property
    def has_penalties(self) -> bool:
        """Whether what was read or written changes what comes next."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )
