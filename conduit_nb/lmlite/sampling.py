"""How the next token is chosen, as a request asks for it. No torch in here.

Layer 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from conduit_nb.errors import RequestRefusedError

MAX_STOP_STRINGS = 16
LEAST_TEMPERATURE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Temperature 0 takes the likeliest token; `seed` None draws anew for each request.

    The same seed gives the same text whatever else runs in the batch. Text ends before the first
    of the `stop` strings, which is not part of the reply.

    Raises RequestRefusedError where a value is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and 0 <= self.temperature <= 2):
            raise RequestRefusedError(
                f"temperature={self.temperature!r} is not between 0 and 2.",
                hint="Leave temperature out for the likeliest text.",
            )
        if not 0 < self.top_p <= 1:
            raise RequestRefusedError(
                f"top_p={self.top_p!r} is not above 0 and at most 1.",
                hint="Leave top_p out to consider every token.",
            )
        if len(self.stop) > MAX_STOP_STRINGS:
            raise RequestRefusedError(
                f"{len(self.stop)} stop strings are more than {MAX_STOP_STRINGS}.",
                hint="Pass fewer in stop.",
            )
        if any(not text for text in self.stop):
            raise RequestRefusedError(
                "A stop string is empty.", hint="Remove the empty string from stop."
            )

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken each time (a tiny temperature can mean no other)."""
        return self.temperature < LEAST_TEMPERATURE
