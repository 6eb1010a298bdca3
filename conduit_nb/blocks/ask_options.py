"""How a model is to be asked: the options of a question, declared as fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conduit_nb.options import option

OnLength = Literal["error", "keep"]
"""What is done with a reply that the token limit cut: an error, or kept as far as it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """How a model is to be asked. `max_tokens` None is what the context leaves."""

    max_tokens: int | None = option(
        None,
        "Longest reply, in tokens (default: what the context leaves).",
        kind="count",
        metavar="N",
        is_basic=True,
    )
    temperature: float = option(
        0.0,
        "Sampling temperature (default: 0, always the likeliest token).",
        kind="number",
        metavar="T",
    )
    seed: int | None = option(
        None,
        "Seed: repeats the replies at a temperature above 0.",
        kind="whole",
        metavar="N",
    )
    on_length: OnLength = option(
        "error",
        "What to do with a reply that the token limit cut (default: error).",
        metavar="error|keep",
        choices=("error", "keep"),
    )
    confidence: bool = option(
        False, "Report how sure the model is of each bool, Literal and Enum.", kind="flag"
    )
