"""Complete a partial JSON number so that it lies within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

MAX_DECIMAL_PLACES = 17
MAX_DIGITS = 18

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BEGUN = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?)?")
_PLAIN = re.compile(r"(-?)(0|[1-9][0-9]*)?(\.[0-9]*)?")
_EXACT = Context(prec=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of a number; an open bound itself is excluded."""

    low: Decimal | None = None
    high: Decimal | None = None
    is_low_open: bool = False
    is_high_open: bool = False

    def hold(self, value: Decimal) -> bool:
        """Return whether `value` lies within the bounds."""
        if self.low is not None and (value < self.low or (value == self.low and self.is_low_open)):
            return False
        return self.high is None or (
            value < self.high or (value == self.high and not self.is_high_open)
        )

    @property
    def is_everything(self) -> bool:
        """Whether there is no bound."""
        return self.low is None and self.high is None

    def mirrored(self) -> Bounds:
        """Return the bounds of the absolute values of the negative numbers; -0 is excluded."""
        is_below = self.high is not None and self.high < 0
        return Bounds(
            low=-self.high if is_below and self.high is not None else Decimal(0),
            high=None if self.low is None else -self.low,
            is_low_open=self.is_high_open if is_below else True,
            is_high_open=self.is_low_open,
        )


def is_number(raw: str, bounds: Bounds, *, whole: bool, strict: bool = False) -> bool:
    """Return whether `raw` is a number within bounds; `strict`: written as a grammar writes it."""
    if not (_WHOLE if whole else _NUMBER).fullmatch(raw):
        return False
    if bounds.is_everything:
        return True
    return bounds.hold(_EXACT.create_decimal(raw)) and not (strict and not _is_known(raw, bounds))


def shortest_number(bounds: Bounds, *, whole: bool) -> str | None:
    """Return the shortest number within the bounds, None where there is none."""
    if bounds.is_everything:
        return "0"
    texts = [
        sign + rest
        for sign in ("", "-")
        if (rest := rest_of_number(sign, bounds, whole=whole)) is not None
    ]
    return min(texts, key=len, default=None)


def rest_of_number(raw: str, bounds: Bounds, *, whole: bool, strict: bool = False) -> str | None:
    """Return the shortest text that completes `raw` to a number within the bounds, or None.

    With bounds, the number is written as grammars write it (see formats.BoundedFloat). Where that
    is impossible, any form is returned, or None if `strict`.
    """
    if not _BEGUN.fullmatch(raw):
        return None
    if bounds.is_everything:
        return _free_rest(raw, whole=whole)
    loose: str | None = None
    for rest in _rests(raw, bounds, whole=whole):
        if is_number(raw + rest, bounds, whole=whole):
            if _is_known(raw + rest, bounds):
                return rest
            loose = rest if loose is None else loose
    return None if strict else loose


def _rests(raw: str, bounds: Bounds, *, whole: bool) -> Iterator[str]:
    """Yield candidates that may complete `raw` within the bounds, the shortest first."""
    yield ""
    plain = _PLAIN.fullmatch(raw)
    if plain is None:  # an exponent: only the whole can tell
        yield "0"
        return
    sign, digits, fraction = plain[1], plain[2] or "", plain[3] or ""
    if whole and fraction:
        return
    there = bounds.mirrored() if sign else bounds
    for more in range(MAX_DIGITS + MAX_DECIMAL_PLACES):
        for decimals in range(1 if whole else min(more, MAX_DECIMAL_PLACES) + 1):
            yield from _rests_of(digits, fraction, more - decimals, decimals, there)


def _free_rest(raw: str, *, whole: bool) -> str | None:
    if raw == "":
        return "0"
    if raw == "-":
        return "1"
    if whole and not _WHOLE.fullmatch(raw):
        return None
    return "" if _NUMBER.fullmatch(raw) else "0"


def _rests_of(
    digits: str, fraction: str, more_digits: int, more_decimals: int, bounds: Bounds
) -> Iterator[str]:
    """Yield completions of that many digits and decimals: the two smallest within the bounds."""
    if fraction and more_digits:
        return
    if not fraction and more_decimals == 1:  # a point alone
        return
    if (digits == "0" and more_digits) or (not digits and not more_digits):
        return
    decimals = len(fraction) - 1 + more_decimals if fraction else max(more_decimals - 1, 0)
    unit = Decimal(1).scaleb(-decimals)
    begun = digits + fraction[1:]
    free = more_digits + (more_decimals if fraction else decimals)
    smallest = _EXACT.multiply(_EXACT.create_decimal((begun or "0") + "0" * free), unit)
    if not digits and more_digits > 1:  # a number does not begin with 0
        smallest = max(smallest, _EXACT.scaleb(Decimal(1), more_digits - 1))
    largest = _EXACT.multiply(_EXACT.create_decimal((begun or "0") + "9" * free), unit)
    low = smallest if bounds.low is None else max(smallest, bounds.low)
    steps = _EXACT.divide(low, unit).to_integral_value(ROUND_CEILING)
    if bounds.low is not None and bounds.is_low_open and _EXACT.multiply(steps, unit) <= bounds.low:
        steps = _EXACT.add(_EXACT.divide(bounds.low, unit).to_integral_value(ROUND_FLOOR), 1)
    for value in (_EXACT.multiply(steps, unit), _EXACT.multiply(steps + 1, unit)):
        if value <= largest and bounds.hold(value):
            yield format(value.quantize(unit, context=_EXACT), "f")[len(digits) + len(fraction) :]


def _is_known(raw: str, bounds: Bounds) -> bool:
    """Return whether the grammar of a bounded number writes it this way.

    Such grammars write no exponent and no -0.0. With the whole part of a bound (or 0) they write no
    trailing zeros, and no number that is a prefix of the bound, such as 0.9 where it is 0.95.
    """
    if "e" in raw.lower() or (raw.startswith("-") and not raw.strip("-0.")):
        return False
    whole, _, fraction = raw.partition(".")
    if not fraction:
        return True
    beside = [_digits(bound) for bound in (bounds.low, bounds.high) if bound is not None]
    if fraction.endswith("0") and whole in ("0", "-0", *(digits for digits, _ in beside)):
        return False
    return not any(
        whole == digits and after.startswith(fraction) and len(fraction) < len(after)
        for digits, after in beside
    )


def _digits(bound: Decimal) -> tuple[str, str]:
    whole, _, fraction = format(bound, "f").partition(".")
    return whole, fraction.rstrip("0")
