"""The columns that say how far a row's answer can be trusted: truncated or not, and how sure.

Layer 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_nb.schemas import Schema
from conduit_nb.schemas.shapes import (
    Bool,
    Choice,
    EnumChoice,
    List,
    Record,
    Shape,
    Union,
    without_null,
)

TRUNCATED_COLUMN = "truncated"
CONFIDENCE_SUFFIX = "_confidence"

_INDEX = re.compile(r"\[[0-9]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailColumns:
    """Which of them there are: `paths` are those of the fields that get a confidence."""

    has_truncated: bool = False
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the columns, without a prefix."""
        truncated = [TRUNCATED_COLUMN] if self.has_truncated else []
        return [*truncated, *(path + CONFIDENCE_SUFFIX for path in self.paths)]


def detail_columns(schema: Schema[Any], *, truncated: bool, confidence: bool) -> DetailColumns:
    """Return the columns for answers of `schema`.

    Each field that is chosen from a few (bool, Literal, Enum) has a confidence: at the top it is
    `{field}_confidence`, in a record inside `{field}.{field}_confidence`. In a list it is
    `{field}[].{field}_confidence`, the lowest of its items.
    """
    paths = _chosen_paths(schema.shape, "") if confidence else ()
    return DetailColumns(has_truncated=truncated, paths=tuple(dict.fromkeys(paths)))


def _chosen_paths(shape: Shape, path: str, above: tuple[Shape, ...] = ()) -> Iterator[str]:
    """Yield the paths of chosen values; a record inside of itself, and a dict, is left out."""
    if is_chosen(shape):
        yield path
        return
    match shape:
        case Record(fields=fields) if not any(shape is record for record in above):
            for field in fields:
                inside = f"{path}.{field.name}" if path else field.name
                yield from _chosen_paths(field.shape, inside, (*above, shape))
        case List(item=item):
            yield from _chosen_paths(item, f"{path}[]", above)
        case Union(members=members):
            for member in members:
                yield from _chosen_paths(member, path, above)
        case _:
            return


def is_chosen(shape: Shape) -> bool:
    """Say whether a value of `shape` is one of a few."""
    inner, _ = without_null(shape)
    members = inner.members if isinstance(inner, Union) else (inner,)
    return all(isinstance(member, Bool | Choice | EnumChoice) for member in members)


def lowest(confidence: Mapping[str, float], path: str) -> float | None:
    """Return the lowest confidence at `path`, over all items of the lists on the way."""
    found = [figure for place, figure in confidence.items() if _INDEX.sub("[]", place) == path]
    return min(found, default=None)
