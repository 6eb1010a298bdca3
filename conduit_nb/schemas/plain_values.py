"""Values of numpy and pandas in records, taken for the plain ones that they stand for.

They come out of DataFrames and arrays. What loses nothing is taken: np.int64(3) is 3, a Timestamp
at midnight is a day where one is wanted, and what is missing is None where that is allowed. Neither
library is imported: their values are known by the modules of their classes.
Layer 1.
"""

from __future__ import annotations

from datetime import time
from typing import Any

from conduit_nb.schemas.shapes import Date, DateTime, Null, Shape, Union

_MISSING = ("NAType", "NaTType")


def is_foreign(value: object) -> bool:
    """Say whether a value is one of numpy or pandas."""
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas")


def plain_value(value: Any, shape: Shape | None = None) -> Any:
    """Return the plain value for one of numpy or pandas, else the value itself.

    `shape` is what is wanted: None and days are not made unless they are.
    """
    if not is_foreign(value):
        return value
    members = shape.members if isinstance(shape, Union) else (shape,)
    if type(value).__name__ in _MISSING:
        return None if shape is None or Null() in members else value
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if getattr(value, "ndim", 0):
        return list(value) if type(value).__module__ == "numpy" else value
    match kind:
        case "b" | "i" | "u" | "U" | "S":
            return value.item()
        case "f":
            return _number(value, may_miss=Null() in members)
        case "M":
            return _moment(value, members)
        case _:
            return _day(value, members)


def _number(value: Any, *, may_miss: bool) -> Any:
    if value != value:
        return None if may_miss else float(value)
    number = float(value)
    return number if number == value else value  # of a longdouble


def _moment(value: Any, members: tuple[Shape | None, ...]) -> Any:
    """Return a datetime64 as a datetime, or as a day."""
    exact = value.astype("datetime64[us]")
    if str(value) == "NaT":
        return None if Null() in members else value
    return _day(exact.item(), members) if exact == value else value


def _day(value: Any, members: tuple[Shape | None, ...]) -> Any:
    """Return a time without a zone at midnight as a day, where days are wanted and no times."""
    is_wanted = Date() in members and DateTime() not in members
    if not is_wanted or getattr(value, "tzinfo", 0) is not None or getattr(value, "nanosecond", 0):
        return value
    return value.date() if value.time() == time() else value
