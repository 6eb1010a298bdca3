"""notebook/line_options.py: in a cell, every option has the name and default it has elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.line_options import add_options
from conduit_nb.plans.options import (
    JSON_OPTION,
    LIMIT_OPTION,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
)

ALL = (*OFFERINGS_OPTIONS, *PLAN_OPTIONS, WHY_OPTION, LIMIT_OPTION, JSON_OPTION)


def parsed(*tokens: str) -> dict[str, Any]:
    parser = MagicParser("%conduit offerings", usage="%conduit offerings")
    add_options(parser, ALL)
    return vars(parser.parse_line(tokens))


def test_what_is_not_given_has_the_tables_default():
    assert parsed() == {option.name: option.default for option in ALL}


@pytest.mark.parametrize(
    ("tokens", "name", "value"),
    [
        (("--interruptible",), "interruptible", True),
        (("--no-interruptible",), "interruptible", False),
        (("--single-device",), "single_device", True),
        (("--regions", "eu-*,us-1"), "regions", ["eu-*", "us-1"]),
        (("--for", "a", "--for", "b"), "models", ["a", "b"]),
        (("--concurrency", "16"), "max_model_concurrency", 16),
        (("--max-usd-per-hour", "1.5"), "max_usd_per_hour", 1.5),
        (("--min-availability", "low"), "min_availability", "low"),
    ],
)
def test_a_value_is_read_as_its_kind(tokens: tuple[str, ...], name: str, value: object):
    assert parsed(*tokens)[name] == value


@pytest.mark.parametrize(
    "tokens",
    [
        ("--max-usd-per-hour", "nan"),
        ("--max-usd-per-hour", "-1"),
        ("--limit", "0"),
        ("--min-availability", "lots"),
        ("--why", "because"),
    ],
)
def test_what_cannot_be_meant_is_an_error(tokens: tuple[str, ...]):
    with pytest.raises(ArgumentError):
        parsed(*tokens)
