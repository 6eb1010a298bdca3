"""What the names in a type hint mean: modules, functions and notebook cells, type parameters.

Layer 1.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar, get_args, get_origin

from conduit_nb.errors import SchemaError
from conduit_nb.spelling import nearest


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a hint was written: in which class, with which type arguments.

    `namespace` holds names that the caller of `schema_of` knows and the class's module does not.
    """

    owner: type[Any]
    bindings: Mapping[Any, Any] = field(default_factory=dict[Any, Any])
    namespace: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def evaluate(self, text: str, path: str) -> Any:
        """Return the hint that `text` spells. Raises SchemaError for an unknown name."""
        unknown, known = "", set[str]()
        for names in self._namespaces():
            known |= {name for name in names if not name.startswith("_")}
            try:
                return _evaluate(text, names)
            except NameError as err:
                unknown = err.name or str(err)
            except (AttributeError, SyntaxError, TypeError, ValueError) as err:
                raise SchemaError(
                    f"the type hint {text!r} cannot be read ({err})",
                    path=path,
                    hint="Write it as Python would read it, e.g. list[str] or int | None.",
                ) from err
        raise SchemaError(
            f"the name {unknown!r} in the type hint {text!r} is not known",
            path=path,
            hint=_literal_meant(text)
            or nearest(
                unknown,
                known,
                then=f"Define {unknown} before the schema is made; where it is local to a "
                "function, make the schema inside that function.",
            ),
        )

    def argument(self, parameter: TypeVar, path: str) -> Any:
        """Return what stands for a type parameter here."""
        bound = self.bindings.get(parameter, parameter)
        if bound is parameter:
            bound = getattr(parameter, "__default__", parameter)
        if bound is parameter or bound is getattr(typing, "NoDefault", parameter):
            raise SchemaError(
                f"the type parameter {parameter.__name__} is open",
                path=path,
                hint=f"Say what it is: {self.owner.__name__}[str], for example.",
            )
        return bound

    def _namespaces(self) -> Iterator[Mapping[str, Any]]:
        """Yield what the class itself sees, then what callers in the same module see."""
        module = sys.modules.get(self.owner.__module__)
        outer = vars(module) if module else {}
        own: dict[str, Any] = {
            base.__name__: base for base in reversed(self.owner.__mro__) if base is not object
        }
        parameters = {one.__name__: one for one in getattr(self.owner, "__type_params__", ())}
        frames = [
            frame for frame in _frames() if frame.f_globals.get("__name__") == self.owner.__module__
        ]
        enclosing, _, _ = self.owner.__qualname__.rpartition(".<locals>.")
        yield ChainMap(
            parameters,
            *(dict(one.f_locals) for one in frames if one.f_code.co_qualname == enclosing),
            own,
            dict(self.namespace),
            *_class_bodies(self.owner, outer),
            dict(outer),
        )
        yield ChainMap(
            own,
            *(dict(one.f_locals) for one in frames),
            *(dict(one.f_globals) for one in frames),
        )


def bindings_of(cls: type[Any], arguments: tuple[Any, ...]) -> dict[type[Any], dict[Any, Any]]:
    """Return for `cls` and each generic base what its type parameters stand for."""
    found: dict[type[Any], dict[Any, Any]] = {}

    def bind(origin: type[Any], args: tuple[Any, ...]) -> None:
        parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        found[origin] = dict(zip(parameters, args, strict=False))
        for base in vars(origin).get("__orig_bases__", origin.__bases__):
            base_origin = get_origin(base) or base
            if isinstance(base_origin, type) and dataclasses.is_dataclass(base_origin):
                bind(base_origin, tuple(substituted(arg, found[origin]) for arg in get_args(base)))

    bind(cls, arguments)
    return found


def substituted(hint: Any, bindings: Mapping[Any, Any]) -> Any:
    """Return `hint` with its type parameters replaced."""
    if isinstance(hint, TypeVar):
        return bindings.get(hint, hint)
    parameters: tuple[Any, ...] = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(bindings.get(one, one) for one in parameters)]


def _evaluate(text: str, names: Mapping[str, Any]) -> Any:
    holder = type("Hint", (), {"__annotations__": {"hint": text}})
    return typing.get_type_hints(holder, globalns={}, localns=names, include_extras=True)["hint"]


def _frames() -> list[FrameType]:
    """Return the frames of the callers, the nearest first."""
    found: list[FrameType] = []
    frame = inspect.currentframe()
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def _class_bodies(owner: type[Any], outer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the names in the classes around `owner`, the nearest first."""
    names = owner.__qualname__.rpartition(".<locals>.")[2].split(".")[:-1]
    bodies: list[dict[str, Any]] = []
    around: Any = None
    for name in names:
        around = outer.get(name) if around is None else vars(around).get(name)
        if not isinstance(around, type):
            break
        bodies.append(dict(vars(around)))
    return reversed(bodies)


def _literal_meant(text: str) -> str:
    """Return what to write for `"good, bad"`, which lists texts and names no type."""
    words = [word.strip() for word in re.split(r"[,/]", text.strip("\"'"))]
    if len(words) < 2 or not all(re.fullmatch(r"[\w -]+", word) for word in words):
        return ""
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"For one of several texts, write Literal[{quoted}]."
