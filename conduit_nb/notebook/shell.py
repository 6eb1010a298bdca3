"""What Conduit needs of IPython's shell and displays, with types (IPython's own are partial).

Layer 7.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from types import CodeType
from typing import Any, Protocol, cast

from IPython.display import DisplayHandle


class Compiler(Protocol):
    """Compiles a cell's statements under the flags of the session, and keeps their source."""

    def __call__(self, source: ast.Module, filename: str, symbol: str, /) -> CodeType:
        """Compile one statement."""
        ...

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        """Keep the source for tracebacks and return the file name it is kept under."""
        ...


class Shell(Protocol):
    """The running IPython."""

    @property
    def user_ns(self) -> dict[str, Any]:
        """The user's variables."""
        ...

    @property
    def compile(self) -> Compiler:
        """The compiler of this session."""
        ...

    @property
    def execution_count(self) -> int:
        """The number of the running cell."""
        ...

    def push(self, variables: dict[str, Any], interactive: bool = True) -> None:
        """Bind variables in the user's namespace."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell, or a line of one, that a magic carries out: its shell, and the text below it."""

    shell: Shell
    body: str = ""


class Display(Protocol):
    """Something on the screen that can be replaced."""

    def display(self, obj: object) -> None:
        """Show."""
        ...

    def update(self, obj: object) -> None:
        """Replace what is shown, wherever it is shown."""
        ...


def new_display() -> Display:
    """Return a display with an id of its own."""
    return cast("Display", DisplayHandle())


def is_notebook(shell: Shell) -> bool:
    """Say whether the shell is a kernel's, whose displays can be replaced."""
    return getattr(shell, "kernel", None) is not None


def show_line(shell: Shell, line: object) -> None:
    """Show a line once, where this shell's progress goes."""
    if is_notebook(shell):
        new_display().display(line)
    else:
        print(repr(line), file=sys.stderr, flush=True)


def is_unattended(shell: Shell) -> bool:
    """Say whether a program runs the notebook to its end (papermill, nbconvert).

    Such front ends take no input, which a kernel is told with every cell.
    """
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and not getattr(kernel, "_allow_stdin", True)
