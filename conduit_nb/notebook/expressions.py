"""An expression of the user's, such as ROWS, and what was meant where it fails.

Layer 7.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.local_names import names_seen
from conduit_nb.notebook.shell import Shell
from conduit_nb.spelling import nearest

BUILTINS = frozenset(vars(builtins))
# What a shell puts into its namespace, which nobody means by a mistyped name.
SHELL_NAMES = frozenset(("In", "Out", "exit", "quit", "get_ipython"))

# How a file is read, by the end of its name.
READERS = {
    ".csv": "read_csv",
    ".tsv": "read_table",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".parquet": "read_parquet",
    ".xlsx": "read_excel",
}


def users_names(namespace: Mapping[str, object]) -> list[str]:
    """Return the names that the user has given to something."""
    return [
        name
        for name in list(namespace)  # a thread of the user's may add some meanwhile
        if not name.startswith("_") and name not in BUILTINS | SHELL_NAMES
    ]


def overwritten(
    namespace: Mapping[str, object], out: str, cell: str = "", *, may_be: tuple[type, ...] = ()
) -> list[str]:
    """Return a warning for each name of the user's that a cell takes for something else.

    Data may be bound again, and a class defined again; a module, a function, a block, or rows that
    a class is called like, are seldom meant. `may_be` is replaced without a word.
    """
    before = namespace.get(out)
    is_taken = isinstance(before, ModuleType) or callable(before)
    is_taken = is_taken and not isinstance(before, may_be)
    found = [_replaces("the result", out, before)] if is_taken else []
    for name in re.findall(r"(?m)^class\s+(\w+)", cell):
        before = namespace.get(name)
        if before is not None and not isinstance(before, type):
            found.append(_replaces(f"class {name}", name, before))
    return found


def _replaces(what: str, name: str, before: object) -> str:
    kind = "a module" if isinstance(before, ModuleType) else f"a {type(before).__name__}"
    if isinstance(before, type):
        kind = "a class"
    return f"Warning: {what} replaces {name}, which was {kind}. Choose another name to keep it."


def resolve(expression: str, namespace: dict[str, Any], *, what: str) -> Any:
    """Return the value of an expression like `reviews` or `reviews.head(20)`."""
    reading = how_to_read(expression)
    param = what.strip("-").split("|")[0].lower()
    try:
        code = compile(expression.strip(), f"<{what}>", "eval")
    except SyntaxError as error:
        raise ArgumentError(
            f"{what} {expression!r} is no Python expression: {error.msg}.",
            param=param,
            hint=reading or "Name a variable, or put the expression into quotes.",
        ) from error
    scope = names_seen(namespace)
    try:
        return eval(code, scope)  # noqa: S307  # the user's own expression, in the user's own namespace
    except NameError as error:
        near = nearest(error.name or expression, users_names(scope))
        raise ArgumentError(
            f"{what} {expression!r}: {error}.",
            param=param,
            hint=reading or near or "Define it in a cell above.",
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"{what} {expression!r} fails: {type(error).__name__}: {error}.",
            param=param,
            hint=reading or "Try the expression in a cell of its own.",
        ) from error


def how_to_read(expression: str) -> str:
    """Return what to do about a file's name where a variable is wanted; nothing for others."""
    path = expression.strip().strip("\"'")
    suffix = path[path.rfind(".") :].lower()
    if suffix not in READERS or "(" in path:
        return ""
    lines = ", lines=True" if suffix == ".jsonl" else ""
    return (
        f'Read the file first, rows = pd.{READERS[suffix]}("{path}"{lines}), and name the '
        "variable here."
    )


EARLIER = "_earlier"
WAIT = "Wait for it in another cell (await _, or result() of its handle)"

_bindings: WeakKeyDictionary[Shell, dict[str, Binding]] = WeakKeyDictionary()


class Binding:
    """The variable that one map binds when it ends."""

    def __init__(self, shell: Shell, out: str, title: str) -> None:
        self.title = title
        self.is_bound = False
        self._shell = shell
        self._out = out

    @property
    def name(self) -> str:
        """The variable; another one as soon as a later map is to bind it."""
        is_latest = _bindings.get(self._shell, {}).get(self._out, self) is self
        return self._out if is_latest else self._out + EARLIER

    def begin(self) -> list[str]:
        """Be the map that binds the variable; return a warning where another one runs and was."""
        running = _running(self._shell).get(self._out)
        _bindings.setdefault(self._shell, {})[self._out] = self
        if running is None:
            return []
        return [
            f"Warning: {running.title} still runs and was to bind {self._out}. Its result will be "
            f"{running.name}."
        ]

    def bind(self, value: Any) -> None:
        """Bind the variable."""
        self._shell.push({self.name: value})
        self.is_bound = True


def require_bound(shell: Shell, expression: str, names: Mapping[str, Any]) -> list[str]:
    """Return a warning for each variable in an expression that a map still runs for.

    Raises ArgumentError where it has no value yet.
    """
    warnings: list[str] = []
    for name, binding in _running(shell).items():
        if name not in re.findall(r"\w+", expression):
            continue
        if name not in names:
            raise ArgumentError(f"{name} is not bound yet: {binding.title} still runs.", hint=WAIT)
        warnings.append(
            f"Warning: {name} is an earlier value: {binding.title} still runs, and binds {name} "
            f"when it ends. {WAIT}."
        )
    return warnings


def _running(shell: Shell) -> dict[str, Binding]:
    bindings = _bindings.get(shell, {})
    return {name: one for name, one in bindings.items() if not one.is_bound}
