"""Convert values that JSON has no type for: dates, times, bytes, floats, numpy and pandas.

The regexes are those of the grammar that a model writes by; the readers accept exactly that. The
dates of the grammar exist: no 30 February, no year 0.

Values of numpy and pandas come from DataFrames and arrays. They are converted where nothing is
lost: np.int64(3) to 3, a Timestamp at midnight to a date where the field is one, a missing value to
None where that is allowed. Neither library is imported: their values are recognised by the modules
of their classes.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from conduit_nb.schemas.shapes import Date, DateTime, Null, Shape, Union

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_QUADS = "(?:0[48]|[2468][048]|[13579][26])"
_LEAP_DAY = f"(?:[0-9]{{2}}{_QUADS}|{_QUADS}00)-02-29"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"

DATE_REGEX = f"(?:{_YEAR}-{_DAY}|{_LEAP_DAY})"
DATETIME_REGEX = rf"{DATE_REGEX}T{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_CLOCK})"
BASE64_REGEX = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"

_HEX = "[0-9a-f]"
FORMATS = {
    "date": DATE_REGEX,
    "date-time": DATETIME_REGEX,
    "time": r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "ipv4": r"(?:(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}"
    "(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])",
}

_DATE = re.compile(DATE_REGEX)
_DATETIME = re.compile(DATETIME_REGEX)
_BASE64 = re.compile(BASE64_REGEX)
_MISSING = ("NAType", "NaTType")


def read_date(text: str) -> date:
    """Parse a date such as `2024-12-31`. Raises ValueError for any other form."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"not a date: {text!r:.80}")
    return date.fromisoformat(text)


def read_datetime(text: str) -> datetime:
    """Parse an aware datetime such as `2024-12-31T23:59:00Z`. Raises ValueError for other forms."""
    if not _DATETIME.fullmatch(text):
        raise ValueError(f"not a datetime: {text!r:.80}")
    # fromisoformat reads three or six digits of a second alike in every Python version.
    head, dot, tail = text.partition(".")
    if dot:
        digits = re.match("[0-9]+", tail)
        assert digits is not None
        text = f"{head}.{digits[0].ljust(6, '0')}{tail[digits.end() :]}"
    return datetime.fromisoformat(text)


def write_datetime(moment: datetime) -> str:
    """Return an aware datetime as text; one whose offset has seconds is converted to UTC.

    Raises ValueError where `moment` is naive, OverflowError where UTC is outside years 1 to 9999.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"naive: {moment!r}")
    if offset % timedelta(minutes=1):
        moment = moment.astimezone(UTC)
    return datetime.isoformat(moment)  # a pandas Timestamp would add nanoseconds


def read_base64(text: str) -> bytes:
    """Decode standard base64 with padding. Raises ValueError for other forms."""
    if not _BASE64.fullmatch(text):
        raise ValueError(f"not base64: {text!r:.80}")
    return binascii.a2b_base64(text)


def write_base64(value: bytes) -> str:
    """Encode bytes as standard base64 with padding."""
    return base64.b64encode(value).decode("ascii")


class BoundedFloat(float):
    """A float with bounds, written as the grammars of bounded numbers write it.

    They write no exponent, no -0.0 and, with a bound of 0, no 0.0; with an upper bound of 0.95 (or
    a lower one of -0.95) they write 0.90, not 0.9. So whole numbers have no decimal point here, and
    a number that is a prefix of the bound is padded with zeros.
    """

    text: str

    def __new__(cls, value: float, *, low: float | None, high: float | None) -> BoundedFloat:
        """Make the float and its text; `value` lies within the bounds."""
        made = super().__new__(cls, value + 0.0)
        whole, fraction = _digits(made)
        bound = high if made >= 0 else low
        bound_whole, bound_fraction = _digits(0.0 if bound is None else bound)
        if whole == bound_whole and fraction and bound_fraction.startswith(fraction):
            fraction = fraction.ljust(len(bound_fraction), "0")
        made.text = f"{whole}.{fraction}" if fraction else whole
        return made


def write_float(value: float) -> str:
    """Return the shortest text without an exponent that reads back as `value`."""
    if isinstance(value, BoundedFloat):
        return value.text
    text = float.__repr__(value)
    if "e" not in text:
        return text
    whole, fraction = _digits(value)
    return f"{whole}.{fraction or '0'}"


def _digits(value: float) -> tuple[str, str]:
    """Return the digits before (with a sign) and after the point, without trailing zeros."""
    text = repr(float(value))
    if "e" in text:
        text = format(Decimal(text), "f")
    whole, _, fraction = text.partition(".")
    return whole, fraction.rstrip("0")


def decimals_of(bound: float) -> int:
    """Return the number of decimal places of `bound`."""
    return len(_digits(bound)[1])


def is_foreign(value: object) -> bool:
    """Return whether a value is one of numpy or pandas."""
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas")


def plain_value(value: Any, shape: Shape | None = None) -> Any:
    """Convert a value of numpy or pandas to a plain one; return others unchanged.

    `shape` is the expected shape. A missing value becomes None, and a midnight a date, only where
    it allows that; without a shape NA and NaT become None.
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
    """Return a datetime64 as a datetime, or as a date."""
    exact = value.astype("datetime64[us]")
    if str(value) == "NaT":
        return None if Null() in members else value
    return _day(exact.item(), members) if exact == value else value


def _day(value: Any, members: tuple[Shape | None, ...]) -> Any:
    """Return a naive midnight as a date where the shape allows dates and no datetimes."""
    is_date_expected = Date() in members and DateTime() not in members
    if (
        not is_date_expected
        or getattr(value, "tzinfo", 0) is not None
        or getattr(value, "nanosecond", 0)
    ):
        return value
    return value.date() if value.time() == time() else value
