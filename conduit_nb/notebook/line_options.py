"""Options that shell and cell share, as a magic's line takes them.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Iterable

from conduit_nb.notebook.arguments import MagicParser, at_least_one, not_negative
from conduit_nb.plans.options import Option


def add_options(parser: MagicParser, options: Iterable[Option]) -> None:
    """Add the options, under the same names and with the same defaults as in the shell."""
    for option in options:
        _add(parser, option)


def _add(parser: MagicParser, option: Option) -> None:
    flag, name, metavar = option.flag, option.name, option.metavar
    match option.kind:
        case "flag":
            parser.option(flag, dest=name, action="store_true")
        case "switch":
            parser.option(flag, dest=name, action="store_true", default=None)
            parser.option(option.negative_flag, dest=name, action="store_false", default=None)
        case "texts":
            parser.option(flag, dest=name, metavar=metavar, action="append")
        case "names":
            parser.option(flag, dest=name, metavar=metavar, type=_names)
        case "count":
            parser.option(
                flag, dest=name, metavar=metavar, type=at_least_one, default=option.default
            )
        case "number":
            parser.option(
                flag, dest=name, metavar=metavar, type=not_negative, default=option.default
            )
        case "text":
            parser.option(
                flag,
                dest=name,
                metavar=metavar,
                choices=option.choices or None,
                default=option.default,
            )


def _names(text: str) -> list[str]:
    return text.split(",")
