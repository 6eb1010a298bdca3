"""options.py: what a user gives is read by one rule for each kind, as text or typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.options import Kind, Option, option, options_of, parse_options, read_options
from conduit_nb.spelling import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Oven:
    degrees: float = option(180.0, "Heat.", kind="number", metavar="C", aliases=("heat",))
    trays: int | None = option(None, "Trays.", kind="count")
    program: str = option("bake", "Program.", choices=("bake", "grill"))
    fan: bool = option(False, "Fan.", kind="flag")
    shelf: str | None = option("middle", "Shelf.", any_word="any")


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        ("text", "a b", "a b"),
        ("texts", "a", ("a",)),
        ("texts", ["a", "b,c"], ("a", "b,c")),
        ("names", "a, b", ("a", "b")),
        ("names", ("a", "b"), ("a", "b")),
        ("count", "16", 16),
        ("count", 16, 16),
        ("count", 16.0, 16),
        ("whole", "0", 0),
        ("number", "1.5", 1.5),
        ("usd", 3, 3.0),
        ("hours", "0.5", 0.5),
        ("seconds", "90", 90.0),
        ("flag", True, True),
        ("flag", "yes", True),
        ("switch", "false", False),
        ("range", "2", (2, 2)),
        ("range", "1-4", (1, 4)),
        ("range", 3, (3, 3)),
        ("range", (1, 4), (1, 4)),
        ("command", "serve 'a b' --port {port}", ("serve", "a b", "--port", "{port}")),
        ("command", ["serve", "a b"], ("serve", "a b")),
    ],
)
def test_a_value_is_read_as_its_kind_from_a_text_and_typed(kind: Kind, given: Any, read: Any):
    one = Option(name="it", kind=kind, help="")

    assert one.read(given) == read
    assert one.read(one.read(given)) == read, "what is read is read again as the same"


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", ""),
        ("text", 3),
        ("text", "x" * 5_000),
        ("texts", {"a": 1}),
        ("names", ","),
        ("names", []),
        ("count", "0"),
        ("count", "many"),
        ("count", 1.5),
        ("count", True),
        ("whole", -1),
        ("number", "-1"),
        ("number", "nan"),
        ("number", float("nan")),
        ("usd", 0),
        ("usd", "inf"),
        ("hours", -1),
        ("hours", 1e9),
        ("seconds", 0),
        ("flag", "perhaps"),
        ("flag", 1),
        ("range", "0-2"),
        ("range", "4-1"),
        ("range", "a lot"),
        ("range", (1, 2, 3)),
        ("range", {"min": 1}),
        ("command", "serve 'a"),
        ("command", [1]),
        ("command", 3),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_an_error_that_names_the_option(kind: Kind, given: Any):
    with pytest.raises(ArgumentError) as caught:
        Option(name="it", kind=kind, help="").read(given)

    assert caught.value.param == "it"
    assert caught.value.hint


def test_what_is_left_out_has_the_default_of_its_field():
    assert parse_options(Oven, {}) == Oven()
    assert parse_options(Oven, {"degrees": None, "fan": None}) == Oven()


def test_an_alias_is_read_as_the_option_it_stands_for():
    assert parse_options(Oven, {"heat": "200"}).degrees == 200

    with pytest.raises(ArgumentError) as caught:
        parse_options(Oven, {"heat": "200", "degrees": 220})
    assert caught.value.param == "degrees"


def test_a_word_may_stand_for_no_value():
    assert parse_options(Oven, {"shelf": "any"}).shelf is None
    assert parse_options(Oven, {"shelf": None}).shelf == "middle"


def test_an_unknown_option_and_an_unknown_choice_are_compared_with_those_there_are():
    with pytest.raises(ArgumentError) as unknown:
        parse_options(Oven, {"degres": 1})
    with pytest.raises(ArgumentError) as choice:
        parse_options(Oven, {"program": "gril"})

    assert (unknown.value.param, unknown.value.hint) == ("degres", did_you_mean("degrees"))
    assert (choice.value.param, choice.value.hint) == ("program", did_you_mean("grill"))


def test_only_what_was_given_is_returned_and_what_others_read_is_left_alone():
    assert read_options(options_of(Oven), {"trays": "2", "guests": 9}, others=("guests",)) == {
        "trays": 2
    }


def test_a_flag_is_made_of_the_name_and_so_are_those_of_its_aliases():
    long = Option(name="max_len", kind="count", help="", aliases=("length",), short="-m")
    written = Option(name="models", kind="texts", help="", written="--for")

    assert long.flags == ("-m", "--max-len", "--length")
    assert (written.flag, written.flags) == ("--for", ("--for",))
    assert Option(name="spot", kind="switch", help="").negative_flag == "--no-spot"


def test_an_amount_says_its_unit():
    units = {one: Option(name="it", kind=one, help="").units for one in ("usd", "hours", "count")}

    assert units == {"usd": "USD", "hours": "h", "count": None}
