"""What may stand at the cursor behind `%conduit`: words, options, and the values that they take.

Knows the words' parsers and where names come from; asks no network. Loaded with the first Tab.
Layer 7.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import click
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult
from IPython.core.getipython import get_ipython

from conduit_nb import commands, settings
from conduit_nb.blocks.base import Block
from conduit_nb.blocks.llm import LlmBlock
from conduit_nb.command_line import Argument, Command, Place, flags_of
from conduit_nb.compute.accelerators import ACCELERATORS
from conduit_nb.errors import ConduitError
from conduit_nb.models.hub import available_offline
from conduit_nb.notebook.arguments import split_line
from conduit_nb.notebook.expressions import users_names
from conduit_nb.notebook.frames import as_name
from conduit_nb.options import Option
from conduit_nb.providers.registry import provider_names
from conduit_nb.runtimes.registry import runtime_names

Names = Mapping[str, Any]
_MAGIC = re.compile(r"^\s*(?:[\w., ]+=\s*)?(?P<sign>%{1,2})conduit\s+(?P<line>.*)$", re.DOTALL)


def complete(context: CompletionContext) -> SimpleMatcherResult:
    """Return what fits at the cursor; nothing but that where there is something."""
    shell = cast("Any", get_ipython())
    found = _MAGIC.match(context.text_until_cursor)
    if found is None or shell is None:
        return {"completions": []}
    fragment, values = completions(found["line"], is_cell=found["sign"] == "%%", shell=shell)
    return {
        "completions": [SimpleCompletion(text=value, type="conduit") for value in values],
        "matched_fragment": fragment,
        "suppress": bool(values),
        "ordered": True,
    }


def completions(line: str, *, is_cell: bool, shell: Any) -> tuple[str, list[str]]:
    """Return the piece before the cursor, and what it may become."""
    names: Names = shell.user_ns
    try:
        tokens = split_line(line)
    except ConduitError:  # it ends inside quotes or brackets: that is Python
        return "", []
    fragment = "" if not line or line[-1].isspace() else tokens.pop()
    if not line.endswith(fragment):  # quotes were taken off
        return "", []
    place: Place = "cell" if is_cell else "line"
    if not tokens:
        return fragment, _fitting(fragment, commands.program(place).commands)
    command, before = _command(commands.program(place), tokens)
    if isinstance(command, commands.Commands):  # image build
        return fragment, _fitting(fragment, command.commands)
    if command is None:
        return fragment, []
    flag, equals, value = fragment.partition("=")
    if flag.startswith("--") and equals:
        option = command.option_of(flag)
        return _values(option, value, before, names) if option else (value, [])
    if fragment.startswith("-"):
        return fragment, _fitting(fragment, _options_left(command, before))
    expected = _expected(command, before)
    if expected is None:
        return fragment, _options_left(command, before) if not fragment else []
    return _values(expected, fragment, before, names)


def _command(group: commands.Commands, tokens: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Return the command that the words name, and the words behind it."""
    command: Any = group
    for number, token in enumerate(tokens):
        if not isinstance(command, commands.Commands):
            return command, tokens[number:]
        command = command.get_command(click.Context(command), token)
    return command, ()


def _fitting(fragment: str, known: Iterable[str]) -> list[str]:
    """Return what begins like the fragment, else what has it inside."""
    known = list(dict.fromkeys(known))
    lower = fragment.lower()
    begins = [name for name in known if name.lower().startswith(lower)]
    return begins or [name for name in known if len(lower) > 1 and lower in name.lower()]


def _options_left(command: Command, before: Sequence[str]) -> list[str]:
    given = {token.partition("=")[0] for token in before}
    return [
        flag
        for one in command.options
        if not given.intersection(flags_of(one))
        for flag in ((one.flag, one.negative_flag) if one.kind == "switch" else (one.flag,))
    ]


def _expected(command: Command, before: Sequence[str]) -> Option | Argument | None:
    """Return what comes next: an option's value, else the next argument without a flag."""
    places = 0
    waiting: Option | None = None
    for token in before:
        if waiting is not None:
            waiting = None
        elif token.startswith("-"):
            option = command.option_of(token)
            waiting = option if option and option.kind not in ("flag", "switch") else None
        else:
            places += 1
    if waiting is not None:
        return waiting
    unnamed = command.arguments
    if places < len(unnamed):
        return unnamed[places]
    return unnamed[-1] if unnamed and unnamed[-1].is_many else None


def _values(
    expected: Option | Argument, fragment: str, before: Sequence[str], names: Names
) -> tuple[str, list[str]]:
    """Return the values of an argument; of a list with commas, those of its last part."""
    if isinstance(expected, Option) and expected.choices:
        return fragment, _fitting(fragment, expected.choices)
    if expected.name == "columns":
        fragment = fragment.rpartition(",")[2]
        return fragment, _fitting(fragment, _columns(before, names))
    if isinstance(expected, Option) and expected.kind == "names":
        fragment = fragment.rpartition(",")[2]
    source = _SOURCES.get(expected.source or expected.name)
    return fragment, _fitting(fragment, source(names) if source else [])


def _variables(names: Names, is_wanted: Callable[[Any], bool]) -> list[str]:
    return [name for name in users_names(names) if is_wanted(names[name])]


def _models(names: Names) -> list[str]:
    used = [
        config.model_id
        for value in list(names.values())
        if isinstance(value, LlmBlock)
        for config in value.models
    ]
    try:
        return [*used, settings.default_model(), *available_offline()]
    except ConduitError:  # what is said of that belongs to the command, not to Tab
        return used


def _deployments() -> list[str]:
    """Return what runs as the state has it: Tab asks no provider, and starts and ends nothing."""
    session = sys.modules.get("conduit_nb.session")
    if session is None:
        return []
    try:
        running, _ = session.process_session().known()
    except ConduitError:
        return []
    return [info.name for info in running]


def _columns(before: Sequence[str], names: Names) -> list[str]:
    rows = names.get(before[0]) if before else None
    columns = getattr(rows, "columns", ())
    return [name if name.isidentifier() else _renamed(name) for name in map(str, columns)]


def _renamed(column: str) -> str:
    """Return how a column whose name cannot be a field's is given one."""
    return f'{as_name(column)}="{column}"'


def _is_rows(value: object) -> bool:
    return type(value).__name__ in ("DataFrame", "Series", "ResultFrame") or isinstance(value, list)


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text


def _schemas(names: Names) -> list[str]:
    return _variables(
        names, lambda value: isinstance(value, type) and dataclasses.is_dataclass(value)
    )


_SOURCES: dict[str, Callable[[Names], list[str]]] = {
    "api_key_env": lambda names: sorted(  # noqa: ARG005  # every source is asked alike
        name for name in os.environ if re.search("KEY|TOKEN", name)
    ),
    "examples": lambda names: _variables(names, _is_rows),
    "gpu": lambda names: [_quoted(one.name) for one in ACCELERATORS],  # noqa: ARG005  # every source is asked alike
    "block": lambda names: _variables(names, lambda value: isinstance(value, Block)),
    "input": _schemas,
    "model": _models,
    "models": _models,
    "output": _schemas,
    "provider": lambda names: provider_names(),  # noqa: ARG005  # as above
    "providers": lambda names: provider_names(),  # noqa: ARG005  # as above
    "rows": lambda names: _variables(names, _is_rows),
    "runtime": lambda names: runtime_names(),  # noqa: ARG005  # as above
    "command": lambda names: commands.names(),  # noqa: ARG005  # as above
    "deployment": lambda names: _deployments(),  # noqa: ARG005  # as above
    "deployment_or_all": lambda names: [*_deployments(), "all"],  # noqa: ARG005  # as above
}
