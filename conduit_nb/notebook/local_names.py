"""The names of the function that a magic is called in: `part` in a loop over parts, for one.

Knows no IPython, and loads nothing.
Layer 7.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

SKIPPED = ("IPython", "conduit_nb", "decorator")

_local: ContextVar[Mapping[str, Any]] = ContextVar("conduit_local_names")


def callers_names(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the code that calls the magic sees beside the user's variables `namespace`."""
    frame = inspect.currentframe()  # IPython gives cell magics no local scope
    while frame is not None and _module(frame).split(".")[0] in SKIPPED:
        frame = frame.f_back
    if frame is None:
        return {}
    seen: dict[str, Any] = {}
    if frame.f_globals is not namespace:
        seen.update(frame.f_globals)
    scopes = [frame]
    while scopes[-1].f_code.co_name.startswith("<") and _is_inside(scopes[-1].f_back, frame):
        scopes.append(scopes[-1].f_back)  # pyright: ignore[reportArgumentType]  # it is there
    for scope in reversed(scopes):
        if scope.f_locals is not scope.f_globals:
            seen.update(scope.f_locals)
    return {name: value for name, value in seen.items() if name.isidentifier()}


def _is_inside(outer: FrameType | None, frame: FrameType) -> bool:
    """Say whether a comprehension's caller is the function that it stands in."""
    return outer is not None and outer.f_globals is frame.f_globals


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@contextmanager
def use_local_names(names: Mapping[str, Any]) -> Generator[None]:
    """Let expressions on the magic's line see `names` too."""
    token = _local.set(names)
    try:
        yield
    finally:
        _local.reset(token)


def names_seen(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the user's variables, with the local ones over them where there are any."""
    names = _local.get({})
    return {**namespace, **names} if names else namespace


@contextmanager
def borrowed(names: Mapping[str, Any], namespace: dict[str, Any], cell: str) -> Generator[None]:
    """Let the classes of a cell see the local names that it uses, which are no variables then."""
    used = {name: names[name] for name in set(re.findall(r"\w+", cell)) & names.keys()}
    before = {name: namespace[name] for name in used if name in namespace}
    namespace.update(used)
    try:
        yield
    finally:
        for name, value in used.items():
            if namespace.get(name) is not value:  # the cell has defined it
                continue
            if name in before:
                namespace[name] = before[name]
            else:
                del namespace[name]
