"""Read the type hints of a dataclass into shapes.

Hints may be strings (`from __future__ import annotations`), name classes of the function or the
notebook cell in which the dataclass was written (see `Scope`), and stand in generic dataclasses.
A hint without a single meaning in JSON raises SchemaError with the path of the field.

A field without a default is required, `X | None` too: its key must be present and may be null.
A field with a default may be left out, except for a `Literal` of one value, which is a tag and is
always written.

A class that a cell or a reload defined again is read as its successor: the class that its module
and its name lead to now. A `Stamp` tells whether that has happened since a schema was made.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, Flag
from types import FrameType
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeVar, cast, get_args, get_origin
from weakref import WeakSet

from conduit_nb.errors import SchemaError
from conduit_nb.schemas.constraints import MAX_EXACT, constrain, refuse_impossible, to_constraint
from conduit_nb.schemas.formats import plain_value
from conduit_nb.schemas.problems import describe_value
from conduit_nb.schemas.refusals import (
    MAX_DEPTH,
    forgotten_colon,
    not_a_dataclass,
    refusal,
    refuse_confusions,
    refuse_deep,
    refuse_endless,
    too_deep,
    type_name,
)
from conduit_nb.schemas.shapes import (
    Bool,
    Bytes,
    Choice,
    Date,
    DateTime,
    EnumChoice,
    Field,
    Float,
    Int,
    List,
    Map,
    Null,
    Record,
    Scalar,
    Shape,
    Str,
    Union,
    are_alike,
)
from conduit_nb.spelling import nearest

_PLAIN: dict[Any, Shape] = {
    str: Str(),
    int: Int(),
    float: Float(),
    bool: Bool(),
    bytes: Bytes(),
    date: Date(),
    datetime: DateTime(),
}
_MAX_SPECIALIZATIONS = 20
_BOUND: WeakSet[type[Any]] = WeakSet()
"""Classes that were once bound to their own name: a class bound there later is their successor."""


def read_dataclass(cls: Any, namespace: Mapping[str, Any] | None = None) -> Record:
    """Return the shape of a dataclass, or of a generic one with its arguments (`Page[Item]`).

    `namespace` adds names for string hints that the class's own module does not have. Raises
    SchemaError.
    """
    reader = _Reader(namespace or {})
    origin = get_origin(cls) or cls
    if not isinstance(origin, type) or not _is_dataclass(origin, "$"):
        raise not_a_dataclass(cls)
    scope = Scope(origin, {}, reader.namespace)
    arguments = tuple(_closed(argument, scope, "$") for argument in get_args(cls))
    record = reader.read_all(origin, arguments)
    refuse_deep(record)
    refuse_confusions(record)
    refuse_endless(record)
    return record


@dataclass(slots=True)
class _Reader:
    namespace: Mapping[str, Any]
    records: dict[tuple[Any, ...], Record] = field(default_factory=dict[tuple[Any, ...], Record])
    begun: list[tuple[Record, str]] = field(default_factory=list[tuple[Record, str]])
    depth: int = 0
    aliases: list[Any] = field(default_factory=list[Any])
    """The type aliases that are being read, to detect one that contains itself."""

    def read_all(self, cls: type[Any], arguments: tuple[Any, ...]) -> Record:
        """Return the shape of a dataclass, including all dataclasses that it contains."""
        record = self.record(cls, arguments, "$")
        while self.begun:  # not recursively: dataclasses may nest deeper than the stack allows
            self._fill(*self.begun.pop(0))
        return record

    def record(self, cls: type[Any], arguments: tuple[Any, ...], path: str) -> Record:
        key = (cls, arguments)
        if key in self.records:
            return self.records[key]
        if sum(1 for kind, _ in self.records if kind is cls) >= _MAX_SPECIALIZATIONS:
            raise SchemaError(
                f"there are more than {_MAX_SPECIALIZATIONS} kinds of {cls.__name__}",
                path=path[:80],
                hint="A generic dataclass that contains itself with other arguments never ends.",
            )
        names = ", ".join(type_name(argument) for argument in arguments)
        name = f"{cls.__name__}[{names}]" if names else cls.__name__
        record = Record(name, cls, _doc_of(cls), arguments)
        self.records[key] = record
        self.begun.append((record, path))
        return record

    def _fill(self, record: Record, path: str) -> None:
        """Set the fields of a record from its dataclass."""
        cls, arguments = record.cls, record.arguments
        _check_constructor(cls, path)
        _check_constants(cls, path)
        self._check_bases(cls, path)
        bindings = bindings_of(cls, arguments)
        for owner, bound in bindings.items():
            for parameter, argument in bound.items():
                _check_bound(parameter, argument, Scope(owner, {}, self.namespace), path)
        fields = tuple(self._field(cls, one, bindings, path) for one in dataclasses.fields(cls))
        object.__setattr__(record, "fields", fields)

    def _check_bases(self, cls: type[Any], path: str) -> None:
        """Raise SchemaError where a base class was redefined with other fields."""
        for base in cls.__mro__[1:]:
            later = successor(base)
            if later is base or _have_equal_fields(base, later, self.namespace):
                continue
            raise SchemaError(
                f"{base.__name__} was redefined, and {cls.__name__} still derives from the "
                f"earlier one: run {cls.__name__}'s cell again",
                path=path,
                hint=f"In Python code, define {cls.__name__} again, or reload its module.",
            )

    def _field(
        self,
        cls: type[Any],
        one: dataclasses.Field[Any],
        bindings: Mapping[type[Any], Mapping[Any, Any]],
        path: str,
    ) -> Field:
        here = f"{path}.{one.name}"
        if not one.init:
            raise SchemaError(
                "is made with init=False, so that no text can give it",
                path=here,
                hint="Make it a property, or let the constructor take it.",
            )
        owner = next(
            base
            for base in reversed(cls.__mro__)
            if vars(base).get("__dataclass_fields__", {}).get(one.name) is one
        )
        notes: list[str] = []
        scope = Scope(owner, bindings.get(owner, {}), self.namespace)
        shape = self.read(one.type, scope, here, notes)
        has_default = one.default is not dataclasses.MISSING
        is_tag = isinstance(shape, Choice) and len(shape.values) == 1
        return Field(
            name=one.name,
            shape=shape,
            description=" ".join(notes),
            is_required=is_tag
            or not (has_default or one.default_factory is not dataclasses.MISSING),
            has_default=has_default,
            default=plain_value(one.default, shape) if has_default else None,
        )

    def read(self, hint: Any, scope: Scope, path: str, notes: list[str]) -> Shape:
        """Return the shape of one hint; descriptions in it are appended to `notes`."""
        if self.depth == MAX_DEPTH:
            raise too_deep(path)
        known = len(self.aliases)
        self.depth += 1
        try:
            return self._read(_resolved(hint, scope, path, self.aliases), scope, path, notes)
        finally:
            self.depth -= 1
            del self.aliases[known:]

    def _read(self, hint: Any, scope: Scope, path: str, notes: list[str]) -> Shape:
        plain = _PLAIN.get(hint) if isinstance(hint, type) else None
        if plain is not None:
            return plain
        origin, args = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._annotated(hint, scope, path, notes)
        if origin is Literal:
            return _literal(args, path)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(args, scope, path, notes)
        if origin is list and args:
            return List(self.read(args[0], scope, f"{path}[]", notes))
        if origin is dict and args:
            if _resolved(args[0], scope, path) is not str:
                raise refusal(hint, path)
            return Map(self.read(args[1], scope, f"{path}{{}}", notes))
        if not isinstance(origin or hint, type):
            raise refusal(hint, path)
        kind: type[Any] = successor(origin or hint)
        if issubclass(kind, Enum) and not issubclass(kind, Flag):
            return _enum(kind, path)
        if _is_dataclass(kind, path):
            arguments = tuple(_closed(argument, scope, path) for argument in args)
            return self.record(kind, arguments, path)
        raise refusal(hint, path)

    def _annotated(self, hint: Any, scope: Scope, path: str, notes: list[str]) -> Shape:
        shape = self.read(hint.__origin__, scope, path, notes)
        for extra in hint.__metadata__:
            given = to_constraint(extra, path)
            if isinstance(given, str):
                notes.append(given)
            else:
                shape = constrain(shape, given, path)
        for member in shape.members if isinstance(shape, Union) else (shape,):
            refuse_impossible(member, path)
        return shape

    def _union(self, hints: tuple[Any, ...], scope: Scope, path: str, notes: list[str]) -> Shape:
        members: list[Shape] = []
        for hint in hints:
            if _resolved(hint, scope, path) in (None, types.NoneType):
                members.append(Null())
                continue
            shape = self.read(hint, scope, path, notes)
            members.extend(shape.members if isinstance(shape, Union) else (shape,))
        return _union_of(members)


def _check_bound(parameter: Any, argument: Any, scope: Scope, path: str) -> None:
    """Raise SchemaError where a type argument violates the bound of its type parameter."""
    bound: Any = getattr(parameter, "__bound__", None)
    allowed: tuple[Any, ...] = getattr(parameter, "__constraints__", ())
    allowed = allowed or (() if bound is None else (bound,))
    if not allowed or argument is parameter or isinstance(argument, TypeVar):
        return
    kinds = [kind for one in allowed for kind in _kinds_of(one, scope, path)]
    for kind in _kinds_of(argument, scope, path):
        if not any(_is_kind(kind, other) for other in kinds):
            expected = " or ".join(type_name(one) for one in kinds)
            raise SchemaError(
                f"{parameter.__name__} of {scope.owner.__name__} is to be {expected}, not "
                f"{type_name(argument)}",
                path=path,
                hint=f"Give {scope.owner.__name__} another type, or loosen {parameter.__name__}.",
            )


def _kinds_of(hint: Any, scope: Scope, path: str) -> list[Any]:
    """Return the classes that the values of a hint may have."""
    hint = _resolved(hint, scope, path)
    origin = get_origin(hint)
    if origin is Annotated:
        return _kinds_of(hint.__origin__, scope, path)
    if origin is Literal:
        return [type(value) for value in get_args(hint)]
    if origin is typing.Union or origin is types.UnionType:
        return [kind for one in get_args(hint) for kind in _kinds_of(one, scope, path)]
    return [types.NoneType if hint is None else origin or hint]


def _is_kind(kind: Any, other: Any) -> bool:
    if kind is other or other in (Any, object):
        return True
    if not isinstance(kind, type) or not isinstance(other, type):
        return not isinstance(other, type)  # unknown where one is not a class
    if getattr(other, "_is_protocol", False) or (other is float and issubclass(kind, int)):
        return True
    return issubclass(kind, other) or issubclass(successor(kind), successor(other))


def _have_equal_fields(one: type[Any], other: type[Any], namespace: Mapping[str, Any]) -> bool:
    if getattr(one, "__parameters__", ()):  # compare the text: T is not bound
        return _written_fields(one) == _written_fields(other)
    return are_alike(_Reader(namespace).read_all(one, ()), _Reader(namespace).read_all(other, ()))


def _written_fields(cls: type[Any]) -> list[tuple[str, str]]:
    return [(one.name, str(one.type)) for one in dataclasses.fields(cls)]


def _resolved(hint: Any, scope: Scope, path: str, aliases: list[Any] | None = None) -> Any:
    """Resolve strings, type parameters, NewType and type aliases to the hint that they stand for.

    The names are appended to `aliases`. Raises SchemaError where one contains itself.
    """
    aliases = [] if aliases is None else aliases
    for _ in range(100):
        name: Any = None
        if isinstance(hint, str | ForwardRef):
            text = hint if isinstance(hint, str) else hint.__forward_arg__
            name = (scope.owner, text)
            hint = scope.evaluate(text, path)
        elif isinstance(hint, TypeVar):
            hint = scope.argument(hint, path)
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            name, hint = hint, hint.__value__
        else:
            return hint
        if name is not None and name in aliases:
            break
        aliases.append(name)
    raise SchemaError(
        "the type hint contains itself",
        path=path[:80],
        hint="Use a dataclass to recurse, with a field of its own kind: X | None or list[X].",
    )


def _closed(argument: Any, scope: Scope, path: str) -> Any:
    """Return a type argument with its strings and type parameters resolved in `scope`."""
    if isinstance(argument, str | ForwardRef | TypeVar):
        return _resolved(argument, scope, path)
    parameters: tuple[Any, ...] = getattr(argument, "__parameters__", ())
    if not parameters or isinstance(argument, type):
        return argument
    return argument[tuple(scope.argument(one, path) for one in parameters)]


def _union_of(members: Iterable[Shape]) -> Shape:
    """Return the members as one shape: without duplicates, Literals merged, None last."""
    values: list[Scalar] = []
    rest: list[Shape] = []
    has_null = False
    choice_at: int | None = None
    for member in members:
        match member:
            case Null():
                has_null = True
            case Choice(values=more):
                if choice_at is None:
                    choice_at = len(rest)
                    rest.append(member)
                values += [value for value in more if not _is_among(value, values)]
            case _ if member not in rest:
                rest.append(member)
            case _:
                pass
    if choice_at is not None:
        rest[choice_at] = Choice(tuple(values))
    if Bytes() in rest and any(_is_text(member) for member in rest):
        rest[rest.index(Bytes())] = Bytes(is_object=True)
    if has_null:
        rest.append(Null())
    return rest[0] if len(rest) == 1 else Union(tuple(rest))


def _is_text(shape: Shape) -> bool:
    match shape:
        case Str() | Date() | DateTime():
            return True
        case Choice(values=values):
            return any(isinstance(value, str) for value in values)
        case EnumChoice():
            return any(isinstance(value, str) for value in shape.values)
        case _:
            return False


def _literal(values: tuple[Any, ...], path: str) -> Shape:
    for value in values:
        if value is not None:
            _check_scalar(value, "Literal", path)
    chosen: list[Scalar] = []
    for value in values:
        if value is not None and not _is_among(value, chosen):
            chosen.append(value)
    if not chosen:
        raise refusal(None, path)
    return Union((Choice(tuple(chosen)), Null())) if None in values else Choice(tuple(chosen))


def _enum(cls: type[Enum], path: str) -> Shape:
    if not list(cls):
        raise SchemaError(
            f"{cls.__name__} has no members", path=path, hint='Give it at least one, e.g. A = "a".'
        )
    for member in cls:
        _check_scalar(member.value, f"{cls.__name__}.{member.name}", path)
    return EnumChoice(cls)


def _check_scalar(value: Any, where: str, path: str) -> None:
    match value:
        case Enum():
            problem = f"{where} holds the Enum member {value}"
            cure = "Write the Enum itself as the type, or the plain values in Literal."
        case bool():
            return
        case str():
            if value.isprintable() or value.encode("utf-8", "replace").decode() == value:
                return
            problem, cure = f"{where} holds a lone surrogate", "Use text that UTF-8 can carry."
        case int() | float():
            if abs(value) <= MAX_EXACT:  # which NaN is not either
                return
            problem = f"{where} holds {describe_value(value)}, which not every JSON reader keeps"
            cure = "Use a number between -2**53 and 2**53, or a str."
        case _:
            problem = f"{where} holds a {type(value).__name__}"
            cure = "Use values that JSON knows: str, int, float or bool."
    raise SchemaError(problem, path=path, hint=cure)


def _is_among(value: Scalar, values: list[Scalar]) -> bool:
    return any(value == other and type(value) is type(other) for other in values)


def _is_dataclass(cls: type[Any], path: str) -> bool:
    if not dataclasses.is_dataclass(cls):
        return False
    if "__dataclass_fields__" not in vars(cls) and inspect.get_annotations(cls):
        raise SchemaError(
            f"{cls.__name__} adds fields to a dataclass but is none itself",
            path=path,
            hint=f"Put @dataclass above class {cls.__name__}.",
        )
    return True


def _check_constants(cls: type[Any], path: str) -> None:
    """Raise SchemaError for a class constant that is a type hint: a colon is missing."""
    annotated = inspect.get_annotations(cls)
    for name, value in vars(cls).items():
        is_hint = get_origin(value) is not None or (isinstance(value, type) and value in _PLAIN)
        if is_hint and name not in annotated and not name.startswith("_"):
            raise forgotten_colon(name, value, f"{path}.{name}")


def _check_constructor(cls: type[Any], path: str) -> None:
    """Raise SchemaError where the constructor does not take the fields by name."""
    names = {one.name for one in dataclasses.fields(cls) if one.init}
    is_bare = cls.__init__ is object.__init__  # its signature claims to take anything
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    parameters = [] if is_bare else parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    known = {one.name for one in parameters}
    needed = {
        one.name
        for one in parameters
        if one.default is inspect.Parameter.empty
        and one.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    given_only = [
        name
        for name, one in vars(cls).get("__dataclass_fields__", {}).items()
        if isinstance(one.type, dataclasses.InitVar) or one._field_type.name == "_FIELD_INITVAR"
    ]
    if given_only:
        raise SchemaError(
            f"{cls.__name__} takes {', '.join(given_only)} as InitVar, which no text can give it",
            path=path,
            hint="Make it a field, or leave it out: use a constructor of your own elsewhere.",
        )
    strange = sorted((needed - names) | (set() if takes_all else names - known))
    if strange:
        raise SchemaError(
            f"the constructor of {cls.__name__} and its fields differ in {', '.join(strange)}",
            path=path,
            hint="Let @dataclass write __init__, without InitVar.",
        )


def _doc_of(cls: type[Any]) -> str:
    """Return the user's docstring; the signature that @dataclass generates is not one."""
    doc = vars(cls).get("__doc__")
    if not isinstance(doc, str):
        return ""
    if doc.startswith(f"{cls.__name__}(") and doc.endswith(")"):
        signature = str(inspect.signature(cls)).replace(" -> None", "")
        if doc == f"{cls.__name__}{signature}":
            return ""
    return inspect.cleandoc(doc)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a hint was written: its class and that class's type arguments.

    `namespace` holds additional names from the caller of `schema_of`.
    """

    owner: type[Any]
    bindings: Mapping[Any, Any] = field(default_factory=dict[Any, Any])
    namespace: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def evaluate(self, text: str, path: str) -> Any:
        """Evaluate a string hint. Raises SchemaError for an unknown name."""
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
        """Return the argument of a type parameter. Raises SchemaError where it has none."""
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
        """Yield the names visible to the class, then those visible to callers in its module."""
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
    """Return the arguments of the type parameters of `cls` and of each generic base."""
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
    """Return the Literal to suggest for `"good, bad"`, which lists texts and names no type."""
    words = [word.strip() for word in re.split(r"[,/]", text.strip("\"'"))]
    if len(words) < 2 or not all(re.fullmatch(r"[\w -]+", word) for word in words):
        return ""
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"For one of several texts, write Literal[{quoted}]."


def bound_class(cls: type[Any]) -> type[Any] | None:
    """Return the class that is now bound to the module and name of `cls`, None where none is."""
    name = cls.__qualname__
    module = sys.modules.get(cls.__module__)
    if module is None or "<" in name:  # a local class: its name is not reachable
        return None
    found: Any = vars(module).get(name)
    if "." in name:
        found = module
        for step in name.split("."):
            found = getattr(found, "__dict__", {}).get(step)
    return found if isinstance(found, type) else None


def successor(kind: Any) -> Any:
    """Return the class that redefined `kind` under the same name, else `kind` itself.

    The arguments of a generic dataclass are replaced too.
    """
    if not isinstance(kind, type) or get_args(kind):
        return _with_arguments(kind)
    cls = cast("type[Any]", kind)
    found = bound_class(cls)
    if found is None or found is cls or not (cls in _BOUND or _is_of_a_statement(cls)):
        return cls
    is_enum = issubclass(cls, Enum) and issubclass(found, Enum)
    is_record = dataclasses.is_dataclass(cls) and dataclasses.is_dataclass(found)
    return found if is_enum or is_record else cls


def _with_arguments(kind: Any) -> Any:
    origin: Any = get_origin(kind)
    arguments = get_args(kind)
    if not isinstance(origin, type) or not dataclasses.is_dataclass(origin):
        return kind
    cls = successor(cast("type[Any]", origin))
    following = tuple(successor(argument) for argument in arguments)
    if cls is origin and all(a is b for a, b in zip(arguments, following, strict=True)):
        return kind
    return cast("Any", cls)[following]


def _is_of_a_statement(cls: type[Any]) -> bool:
    """Return whether a `class` statement made `cls`, and so bound it to its name once.

    The body of such a class starts by setting `__module__`; dataclasses made by functions set it
    last. An Enum does not show it and is assumed to come from a statement.
    """
    return issubclass(cls, Enum) or next(iter(vars(cls)), None) == "__module__"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The definitions of some classes at the time a schema was made of them."""

    parts: tuple[tuple[type[Any], object, type[Any] | None], ...]

    @classmethod
    def of(cls, classes: Iterable[type[Any]]) -> Stamp:
        """Return the stamp of the current definitions."""
        parts = tuple((one, definition_of(one), bound_class(one)) for one in classes)
        _BOUND.update(one for one, _, bound in parts if one is bound)
        return cls(parts)

    @property
    def is_current(self) -> bool:
        """Whether none of the classes was changed or redefined. Takes microseconds."""
        for cls, definition, bound in self.parts:
            if definition_of(cls) is not definition or bound_class(cls) is not bound:
                return False
        return True


def definition_of(cls: type[Any]) -> object:
    """Return an object whose identity changes when a reload changes the class in place."""
    attributes = vars(cls)
    found = attributes.get("__dataclass_fields__")
    return attributes.get("_member_map_") if found is None else found
