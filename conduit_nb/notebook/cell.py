"""Turn a cell's text into dataclasses of the user's namespace.

Knows Python source and the names a cell may use without an import; not what a schema is.
Layer 7.
"""

from __future__ import annotations

import ast
import builtins
import codeop
import dataclasses
import datetime
import enum
import re
import textwrap
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, TracebackType
from typing import Any, cast
from weakref import WeakKeyDictionary

from conduit_nb.errors import ArgumentError, BlockError, ConduitError, SchemaError
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.expressions import overwritten
from conduit_nb.notebook.mdl_display import SchemaListings
from conduit_nb.notebook.shell import Cell, Shell, show_line
from conduit_nb.schemas import Length, Pattern, Range, schema_of
from conduit_nb.schemas.refusals import is_pydantic, not_a_dataclass
from conduit_nb.spelling import nearest

# Names that a cell may use without having imported them; what the user has defined wins.
PROVIDED: dict[str, object] = {
    "Annotated": typing.Annotated,
    "Any": typing.Any,  # so that the schema says what is wrong with it
    "Dict": dict,
    "Enum": enum.Enum,
    "Generic": typing.Generic,
    "IntEnum": enum.IntEnum,
    "Length": Length,
    "List": list,
    "Literal": typing.Literal,
    "Optional": typing.Optional,
    "Pattern": Pattern,
    "Range": Range,
    "StrEnum": enum.StrEnum,
    "TypeVar": typing.TypeVar,
    "Union": typing.Union,
    "dataclass": dataclasses.dataclass,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "field": dataclasses.field,
}


def provided_text() -> str:
    """Return the names that need no import, as lines of a help text."""
    return textwrap.fill(", ".join(PROVIDED), 96, initial_indent="  ", subsequent_indent="  ")


# What class statements raise when they are wrong; anything else is the user's own affair.
CLASS_ERRORS = (
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RecursionError,
    TypeError,
    ValueError,
)

# What Python says of what newcomers write in a field's type, and what they meant.
CURES = {
    "for |: 'str'": 'For one of several texts, write Literal["a", "b"].',
    "decoding str is not supported": 'For one of several texts, write Literal["a", "b"].',
    "Range.__init__()": "Name the bounds: Range(ge=1, le=5); without its ends gt= and lt=.",
    "Length.__init__()": "Write Length(1, 80), or name one bound: Length(min=1), Length(max=80).",
}

SOURCES: WeakKeyDictionary[type[Any], ast.ClassDef] = WeakKeyDictionary()
"""The statements that made the classes of cells."""

# Kinds of class that are no records, so that they are not made dataclasses.
NO_RECORDS = (enum.Enum, BaseException, tuple, dict, type)


def define_dataclasses(
    cell: str,
    namespace: dict[str, Any],
    *,
    filename: str,
    compiler: Callable[..., CodeType] | None = None,
) -> list[type]:
    """Run the cell in `namespace` and return the dataclasses it defines, in order.

    The decorator may be left out. Names like `Literal` or `Optional` that the cell uses and nobody
    has defined are put into the namespace, as an import would. Raises SchemaError with the line,
    counted from the cell's first.
    """
    module = parse(cell, filename)
    compiler = compiler or codeop.Compile()
    codes = [(statement, _compile(statement, filename, compiler)) for statement in module.body]
    for name in _missing_names(module, namespace, PROVIDED):
        namespace[name] = PROVIDED[name]
    names: dict[str, None] = {}
    for statement, code in codes:
        try:
            exec(code, namespace)  # noqa: S102  # running the cell is what the user asked for
            if isinstance(statement, ast.ClassDef):
                made = namespace[statement.name]
                if is_pydantic(made):
                    raise _at_statement(not_a_dataclass(made), statement, cell)
                namespace[statement.name] = _as_dataclass(made)
                SOURCES[namespace[statement.name]] = statement
                names[statement.name] = None
        except CLASS_ERRORS as error:
            raise _class_error(
                error,
                statement,
                filename=filename,
                classes=_classes(module),
                cell=cell,
                namespace=namespace,
            ) from error
    return [namespace[name] for name in names if dataclasses.is_dataclass(namespace[name])]


def require_only_classes(cell: str, out: str) -> None:
    """Raise ArgumentError where the cell of a map has a statement for after the map.

    Whether it ran would depend on what an earlier run has left behind.
    """
    for statement in parse(cell, "<cell>").body:
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        is_class = isinstance(statement, ast.ClassDef)
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if is_class or is_docstring or not (isinstance(statement, ast.Expr) or out in names):
            continue
        source = source_line(cell, statement.lineno)
        raise ArgumentError(
            "Only classes stand in the cell of a map, which is read before the map runs.",
            hint=f"Put `{source}` into the next cell.",
        ).at_line(statement.lineno, source)


def run_statements(
    cell: str,
    namespace: dict[str, Any],
    *,
    filename: str,
    compiler: Callable[..., CodeType],
    provided: Mapping[str, object],
    last: Callable[[ast.Module], ast.Expr],
    hint_for: Callable[[str], str],
) -> Any:
    """Run the cell in `namespace` and return the value of its `last` expression.

    Names of `provided` that nobody has defined are put into the namespace. `hint_for` says what to
    do about a name that is missing. Every error says at which line of the cell it happened.
    """
    module = parse(cell, filename, kind=ArgumentError)
    expression = last(module)
    try:
        run = compiler(ast.Module(module.body[:-1], []), filename, "exec")
        value = compiler(cast("Any", ast.Expression(expression.value)), filename, "eval")
    except SyntaxError as error:
        raise _syntax_error(error, ArgumentError) from error
    for name in _missing_names(module, namespace, provided):
        namespace[name] = provided[name]
    try:
        exec(run, namespace)  # noqa: S102  # running the cell is what the user asked for
        return eval(value, namespace)  # noqa: S307  # the cell's own last expression
    except ConduitError as error:
        line = last_line(error.__traceback__, filename) or expression.lineno
        error.at_line(line, source_line(cell, line))
        raise
    except Exception as error:  # the user's own statements raise what they like
        line = last_line(error.__traceback__, filename) or expression.lineno
        missing = error.name if isinstance(error, NameError) else None
        hint = hint_for(missing) if missing else "Correct this line of the cell."
        failed = BlockError(f"{type(error).__name__}: {error}", hint=hint)
        raise failed.at_line(line, source_line(cell, line)) from error


def source_line(cell: str, number: int) -> str:
    """Return a line of the cell; the magic's own line is the first, the body begins on line 2."""
    lines = cell.splitlines()
    return lines[number - 2].strip() if 2 <= number < len(lines) + 2 else ""


def parse(cell: str, filename: str, *, kind: type[ConduitError] = SchemaError) -> ast.Module:
    """Return the cell's syntax tree, with the lines' numbers as the user sees them."""
    try:
        # The magic's own line is the cell's first line, so the body begins on the second.
        return ast.parse("\n" + cell, filename)
    except SyntaxError as error:
        raise _syntax_error(error, kind) from error


def _compile(statement: ast.stmt, filename: str, compiler: Callable[..., CodeType]) -> CodeType:
    try:
        return compiler(ast.Module([statement], []), filename, "exec")
    except SyntaxError as error:
        raise _syntax_error(error, SchemaError) from error


def _syntax_error(error: SyntaxError, kind: type[ConduitError]) -> ConduitError:
    holds = (
        "dataclasses like `class Review:` with lines `text: str`"
        if kind is SchemaError
        else "it ends with a chain like `listing >> extract >> save`"
    )
    return _at(
        error.lineno or 1,
        (error.text or "").strip(),
        kind,
        str(error.msg),
        f"The cell holds Python: {holds}.",
    )


def _at(line: int, source: str, kind: type[ConduitError], message: str, hint: str) -> ConduitError:
    """Make an error that happened before there was a schema, so that its path is the line."""
    if kind is not SchemaError:
        return kind(message, hint=hint).at_line(line, source)
    where = f", in `{source}`" if source else ""
    error = SchemaError(f"{message.rstrip('.')}{where}", path=f"line {line}", hint=hint)
    error.line = line
    return error


def _at_statement(error: SchemaError, statement: ast.stmt, cell: str) -> ConduitError:
    source = source_line(cell, statement.lineno)
    return _at(statement.lineno, source, SchemaError, str(error), error.hint)


def _class_error(
    error: Exception,
    statement: ast.stmt,
    *,
    filename: str,
    classes: list[str],
    cell: str,
    namespace: dict[str, Any],
) -> ConduitError:
    line = last_line(error.__traceback__, filename) or statement.lineno
    hint = "Correct this line of the cell."
    if isinstance(error, NameError) and error.name in classes:
        hint = f"Where {error.name} is not defined yet, write its name in quotes."
    elif isinstance(error, NameError) and source_line(cell, line) == error.name:
        return _at(
            line,
            source_line(cell, line),
            SchemaError,
            f"{error.name} has no type",
            f"Write `{error.name}: str`, or another type.",
        )
    elif isinstance(error, NameError) and error.name:
        known = {*PROVIDED, *dir(builtins), *classes}
        known |= {name for name, value in namespace.items() if isinstance(value, type)}
        hint = nearest(error.name, known) or f"Define {error.name} above it."
        if _stands_in_literal(error.name, statement):
            hint = f'Texts stand in quotes: Literal["{error.name}", ...].'
    elif isinstance(error, TypeError):
        hint = next((cure for said, cure in CURES.items() if said in str(error)), hint)
    return _at(line, source_line(cell, line), SchemaError, f"{type(error).__name__}: {error}", hint)


def _stands_in_literal(name: str, statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Literal"
        and any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node.slice))
        for node in ast.walk(statement)
    )


def _classes(module: ast.Module) -> list[str]:
    return [statement.name for statement in module.body if isinstance(statement, ast.ClassDef)]


def last_line(trace: TracebackType | None, filename: str) -> int | None:
    """Return the last line of that file which the trace went through."""
    walked = traceback.walk_tb(trace)
    lines = [line for frame, line in walked if frame.f_code.co_filename == filename]
    return lines[-1] if lines else None


def _as_dataclass(made: Any) -> Any:
    if not isinstance(made, type) or issubclass(cast("type[Any]", made), NO_RECORDS):
        return made
    kind = cast("type[Any]", made)
    if "__dataclass_fields__" in vars(kind) or getattr(kind, "_is_protocol", False):
        return kind
    return dataclasses.dataclass(kind)


def _missing_names(
    module: ast.Module, namespace: dict[str, Any], provided: Mapping[str, object]
) -> list[str]:
    used = {name for node in ast.walk(module) for name in _names(node)}
    return [name for name in provided if name in used and name not in namespace]


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names a node uses, those inside an annotation written as a string included."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.AnnAssign):
        for part in ast.walk(node.annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield from _names_in_text(part.value)


def _names_in_text(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id


def define_schemas(cell: Cell) -> SchemaListings:
    """Carry out `%%conduit schema`: define the cell's dataclasses and show their MDL."""
    shell = cell.shell
    warnings = overwritten(shell.user_ns, "", cell.body)
    classes = classes_of(shell, cell.body)
    for warning in warnings:
        show_line(shell, Line(warning))
    if not classes:
        raise ArgumentError(
            "The cell defines no dataclass.",
            hint="Write one, like `class Review:` with lines `text: str`.",
        )
    return SchemaListings({kind.__name__: _mdl(kind, shell.user_ns) for kind in classes})


def is_open(kind: type) -> bool:
    """Say whether a dataclass is generic, so that it means something with arguments only."""
    return bool(getattr(kind, "__parameters__", ()))


def _mdl(kind: type, namespace: dict[str, Any]) -> str:
    if is_open(kind):
        return f"(a schema with an argument: {kind.__name__}[str], for example)"
    return schema_of(kind, namespace=namespace).mdl


def classes_of(shell: Shell, cell: str) -> list[type]:
    """Define the cell's dataclasses in the user's namespace and return them.

    Raises SchemaError, with the line, where one cannot become a schema.
    """
    filename = shell.compile.cache("\n" + cell, shell.execution_count, raw_code=cell)
    classes = define_dataclasses(cell, shell.user_ns, filename=filename, compiler=shell.compile)
    for kind in classes:
        if is_open(kind):
            continue
        try:
            schema_of(kind, namespace=shell.user_ns)
        except SchemaError as error:
            point(error, cell, kind.__name__)
            raise
    return classes


_FIELD = re.compile(r"\.([^\W\d]\w*)")


def point(error: SchemaError, cell: str, root: str | None = None) -> None:
    """Say in the message at which line of the cell it is, where the cell has the field.

    `root` is the class that the path begins in; without it, it is the one class that has such a
    path.
    """
    if error.line is not None:
        return
    line = line_of(error.path, cell, root)
    if line is not None:
        error.at_line(line, source_line(cell, line))


def line_of(path: str, cell: str, root: str | None = None) -> int | None:
    """Return the line of a field's path, counted from the magic's own; None where it is unknown."""
    try:
        body = ast.parse("\n" + cell).body
    except SyntaxError:
        return None
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    fields = _FIELD.findall(path)
    if root is not None:
        return _walk(classes[root], fields, classes)[0] if root in classes else None
    found = [_walk(node, fields, classes) for node in classes.values()]
    whole = {line for line, is_whole in found if is_whole}
    return whole.pop() if len(whole) == 1 else None


def _walk(
    start: ast.ClassDef, fields: list[str], classes: dict[str, ast.ClassDef]
) -> tuple[int, bool]:
    """Return the line of the last field that the cell has, and whether it has them all."""
    line, here = start.lineno, [start]
    for field in fields:
        found = next((node for one in here if (node := _field(one, field, classes))), None)
        if found is None:
            return line, False
        line = found.lineno
        here = [classes[name] for name in _used(found.annotation) if name in classes]
    return line, True


def _field(
    owner: ast.ClassDef, name: str, classes: dict[str, ast.ClassDef]
) -> ast.AnnAssign | None:
    """Return where a class, or one of the cell that it derives from, writes a field."""
    for node in owner.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == name
        ):
            return node
    bases = [classes[base] for part in owner.bases for base in _used(part) if base in classes]
    return next((found for base in bases if (found := _field(base, name, classes))), None)


def _used(annotation: ast.expr) -> list[str]:
    """Return the names in an annotation, those in strings too."""
    names: list[str] = []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall(r"[^\W\d]\w*", node.value)
    return names
