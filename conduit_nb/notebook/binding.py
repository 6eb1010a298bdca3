"""Which map binds a variable: of several that run at once, the one that was started last.

A map that was started earlier may end later, and would replace newer results without a word. Its
own are bound under another name.
Layer 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.shell import Shell

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
