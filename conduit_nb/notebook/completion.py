"""What may stand at the cursor behind `%conduit`: words, options, and the values that they take.

Knows the words' parsers and where names come from; asks no network. Loaded with the first Tab.
Layer 7.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult
from IPython.core.getipython import get_ipython

from conduit_nb import settings
from conduit_nb.blocks.base import Block
from conduit_nb.blocks.llm import LlmBlock
from conduit_nb.compute.accelerators import ACCELERATORS
from conduit_nb.errors import ConduitError
from conduit_nb.models.hub import available_offline
from conduit_nb.notebook.arguments import MagicParser, parser_of, split_line
from conduit_nb.notebook.expressions import users_names
from conduit_nb.notebook.frames import as_name
from conduit_nb.notebook.help import TOPICS
from conduit_nb.notebook.magics import CELL_WORDS, LINE_WORDS, command_of
from conduit_nb.providers.registry import provider_names
from conduit_nb.runtimes.registry import runtime_names

Names = Mapping[str, Any]

SHELLS_OWN = ("In", "Out", "exit", "quit")

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
    if not tokens:
        return fragment, _fitting(fragment, CELL_WORDS if is_cell else LINE_WORDS)
    word, *before = tokens
    try:
        parser = parser_of(command_of(word, is_cell=is_cell), shell)
    except ConduitError:
        return fragment, []
    if parser is None:
        return fragment, []
    option, equals, value = fragment.partition("=")
    if option.startswith("--") and equals:
        action = _option(parser, option)
        return _values(action, value, before, names) if action else (value, [])
    if fragment.startswith("-"):
        return fragment, _fitting(fragment, _options_left(parser, before))
    action = _expected(parser, before)
    if action is not None and action.dest == "name" and not action.option_strings and not is_cell:
        return fragment, _fitting(fragment, [*_deployments(), "all"])
    if action is None:
        return fragment, _options_left(parser, before) if not fragment else []
    return _values(action, fragment, before, names)


def _fitting(fragment: str, known: Iterable[str]) -> list[str]:
    """Return what begins like the fragment, else what has it inside."""
    known = list(dict.fromkeys(known))
    lower = fragment.lower()
    begins = [name for name in known if name.lower().startswith(lower)]
    return begins or [name for name in known if len(lower) > 1 and lower in name.lower()]


def _option(parser: MagicParser, flag: str) -> argparse.Action | None:
    return next((action for action in parser.actions if flag in action.option_strings), None)


def _options_left(parser: MagicParser, before: Sequence[str]) -> list[str]:
    given = {token.partition("=")[0] for token in before}
    return [
        action.option_strings[-1]
        for action in parser.actions
        if action.option_strings and not given & set(action.option_strings)
    ]


def _expected(parser: MagicParser, before: Sequence[str]) -> argparse.Action | None:
    """Return the argument that comes next: an option's value, else the next without a name."""
    places = 0
    waiting: argparse.Action | None = None
    for token in before:
        if waiting is not None:
            waiting = None
        elif token.startswith("-"):
            action = _option(parser, token)
            waiting = action if action is not None and action.nargs != 0 else None
        else:
            places += 1
    if waiting is not None:
        return waiting
    unnamed = [action for action in parser.actions if not action.option_strings]
    if places < len(unnamed):
        return unnamed[places]
    return unnamed[-1] if unnamed and unnamed[-1].nargs == "+" else None


def _values(
    action: argparse.Action, fragment: str, before: Sequence[str], names: Names
) -> tuple[str, list[str]]:
    """Return the values of an argument; of a list with commas, those of its last part."""
    if action.choices is not None:
        return fragment, _fitting(fragment, [str(choice) for choice in action.choices])
    if action.dest == "columns":
        fragment = fragment.rpartition(",")[2]
        return fragment, _fitting(fragment, _columns(before, names))
    if action.dest == "providers":
        fragment = fragment.rpartition(",")[2]
    known = _SOURCES[action.dest](names) if action.dest in _SOURCES else []
    return fragment, _fitting(fragment, known)


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
    "model_ids": _models,
    "models": _models,
    "output": _schemas,
    "provider": lambda names: provider_names(),  # noqa: ARG005  # as above
    "providers": lambda names: provider_names(),  # noqa: ARG005  # as above
    "rows": lambda names: _variables(names, _is_rows),
    "runtime": lambda names: runtime_names(),  # noqa: ARG005  # as above
    "word": lambda names: list(TOPICS),  # noqa: ARG005  # as above
}
