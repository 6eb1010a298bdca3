"""The options of cells, declared as fields: of `%%conduit map`, of `%%conduit block`, of a model.

Light, as the table of commands is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.blocks.ask_options import AskOptions
from conduit_nb.compute.request import deployment_options
from conduit_nb.options import Option, option, options_of

_NOT_IN_CELLS = frozenset({"name"})
"""A block finds its deployment by what it asks for; who gives one a name deploys it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """The options of a map, beside those of the model."""

    out: str | None = option(
        None,
        "Variable for the result (default: the name of ROWS with `_out`).",
        short="-o",
        metavar="OUT",
        is_basic=True,
    )
    columns: str | None = option(
        None,
        'Columns that the model sees; NAME="Some Column" renames one.',
        metavar="a,b",
        is_basic=True,
    )
    input: str | None = option(None, "Input dataclass, defined in a cell above.", metavar="In")
    output: str | None = option(None, "Output dataclass, defined in a cell above.", metavar="Out")
    prefix: str = option("", "Prefix of each new column, `error` included.", metavar="p_")
    limit: int | None = option(
        None, "Take the first N rows only.", kind="count", metavar="N", is_basic=True
    )
    max_errors: int | None = option(
        None,
        "Raise when more than N rows fail (default: all); OUT is bound.",
        kind="whole",
        metavar="N",
    )
    dry_run: bool = option(
        False,
        "Estimate rows, tokens, time and cost; start nothing.",
        kind="flag",
        is_basic=True,
    )
    background: bool = option(False, "Return at once with a handle.", kind="flag")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOptions:
    """The options of a block, beside those of the model."""

    input: str = option("", "Input dataclass.", metavar="In", is_basic=True, is_required=True)
    output: str = option("", "Output dataclass.", metavar="Out", is_basic=True, is_required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model answers, and where it is."""

    model: str | None = option(
        None, "Model id or folder (default: CONDUIT_MODEL).", metavar="ID", is_basic=True
    )
    examples: str | None = option(
        None,
        "List of (input, output) pairs, or a DataFrame with the columns of both.",
        metavar="PAIRS",
        is_basic=True,
    )
    endpoint: str | None = option(
        None,
        "OpenAI-compatible server, e.g. http://127.0.0.1:11434/v1.",
        metavar="URL",
    )
    api_key_env: str | None = option(
        None, "Environment variable with that server's key.", metavar="VARIABLE"
    )


def task_options() -> tuple[Option, ...]:
    """Return the options that say which model answers, how, and where it runs."""
    of_compute = tuple(one for one in deployment_options() if one.name not in _NOT_IN_CELLS)
    return (*options_of(ModelOptions, AskOptions), *of_compute)
