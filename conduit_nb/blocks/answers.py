"""What a model answered, with what is known about the answer.

Layer 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from conduit_nb.blocks.ask_options import OnLength
from conduit_nb.errors import ArgumentError

Out = TypeVar("Out")


@dataclass(frozen=True, kw_only=True)
class DetailedAnswer(Generic[Out]):
    """A record, and how far it can be trusted.

    `is_truncated`: the token limit ended it. What the model had begun is closed in the shortest
    way, what it had not begun is missing, or empty where the schema demands it.

    `confidence` is, for each value that was chosen from a few (`bool`, `Literal`, `Enum`), the
    probability that the model gave to it, by path: `sentiment`, `order.kind`, `items[0].color`.
    It is what the model gave to this value among all that the type allows, after what stands before
    it: good for sorting, so that the least sure rows are checked first. It is not how often such
    answers are right, knows nothing of the fields before and after, and counts the one way of
    writing the value that was taken. Values that were written only to close a truncated record
    have none.
    """

    record: Out
    is_truncated: bool = False
    confidence: dict[str, float] = field(default_factory=dict[str, float])


def require_on_length(value: str) -> OnLength:
    """Return what is to be done with a truncated answer; ArgumentError where it is no such word."""
    if value not in ("error", "keep"):
        raise ArgumentError(
            f"on_length={value!r} is neither 'error' nor 'keep'.",
            param="on_length",
            hint="'error' makes a truncated answer a TruncatedError, 'keep' takes what there is.",
        )
    return value


def path_of(pointer: str) -> str:
    """Return a JSON pointer as a path in a record: `/items/0/color` is `items[0].color`."""
    path = ""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if key.isdecimal():
            path += f"[{key}]"
        elif key.isidentifier():
            path += f".{key}" if path else key
        else:
            path += f"[{key!r}]"
    return path
