"""The functions that a chat request offers, and which of them the reply may or must call.

    read_tools(checked)   # ToolUse, or None where nothing is offered

Knows OpenAI's fields: `tools` and `tool_choice`, and the older `functions` and `function_call`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic_core import core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import optional, refused, required

Mode = Literal["auto", "required"]

MAX_FUNCTIONS = 128
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}", re.ASCII)
NO_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {},
    "required": [],
    "additionalProperties": False,
}
_COMBINED = ("$ref", "anyOf", "oneOf", "allOf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that the model may call; its arguments fit `parameters`."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]

    @property
    def as_tool(self) -> dict[str, Any]:
        """The function as chat templates take it."""
        described = {} if self.description is None else {"description": self.description}
        return {
            "type": "function",
            "function": {"name": self.name, **described, "parameters": self.parameters},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What the model is shown (`offered`) and what of it the reply may call (`callable_`).

    With `is_legacy` the request has the older field `functions`, and so has the response.
    """

    offered: tuple[Function, ...]
    callable_: tuple[Function, ...]
    mode: Mode
    is_forced: bool = False
    is_parallel: bool = True
    is_legacy: bool = False

    @property
    def forced(self) -> Function | None:
        """The function that the reply is the arguments of; None where the model chooses."""
        is_single = len(self.callable_) == 1 and self.mode == "required" and not self.is_parallel
        return self.callable_[0] if self.is_forced or is_single else None


def read_tools(checked: Mapping[str, Any]) -> ToolUse | None:
    """Return how functions may be used; None where none may be.

    Raises RequestRefusedError that names what is wrong.
    """
    is_legacy = bool(checked.get("functions"))
    if is_legacy and checked.get("tools"):
        raise _refused("functions", "cannot be combined with tools", "Send tools only.")
    functions = _functions(checked, is_legacy=is_legacy)
    name = "function_call" if is_legacy else "tool_choice"
    choice: object = checked.get(name)
    other = "tool_choice" if is_legacy else "function_call"
    if checked.get(other) not in (None, "none", "auto"):
        cure = "functions" if other == "function_call" else "tools"
        raise _refused(other, f"needs {cure}", f"Send {cure}, or leave {other} out.")
    if not functions:
        if choice not in (None, "none", "auto"):
            raise _refused(name, "needs tools", f"Send tools, or leave {name} out.")
        return None
    use = _chosen(functions, choice, name)
    if use is None:
        return None
    is_parallel = checked.get("parallel_tool_calls") is not False and not is_legacy
    return ToolUse(
        offered=tuple(functions.values()),
        callable_=use[1],
        mode=use[0],
        is_forced=use[2],
        is_parallel=is_parallel and not use[2],
        is_legacy=is_legacy,
    )


def _chosen(
    functions: Mapping[str, Function], choice: object, name: str
) -> tuple[Mode, tuple[Function, ...], bool] | None:
    """Return the mode, the functions that may be called, and whether it is a certain one."""
    everything = tuple(functions.values())
    given: Any = cast("dict[str, Any]", choice) if isinstance(choice, dict) else choice
    match given:
        case None | "auto":
            return "auto", everything, False
        case "none":
            return None
        case "required" if name == "tool_choice":
            return "required", everything, False
        case {"type": "function", "function": {"name": str(requested)}}:
            return "required", (_named(functions, requested, f"{name}.function.name"),), True
        case {"name": str(requested)} if given.keys() <= {"name", "type"}:
            return "required", (_named(functions, requested, f"{name}.name"),), True
        case {"type": "allowed_tools", "allowed_tools": inner}:
            return _allowed(functions, inner, name)
        case {"type": "allowed_tools"}:
            return _allowed(functions, given, name)
        case _:
            raise _refused(
                name,
                "must be none, auto, required, a function or allowed_tools"
                if name == "tool_choice"
                else "must be none, auto or a function",
                f'Send {name}="auto", or name one of the functions.',
            )


def _allowed(
    functions: Mapping[str, Function], given: object, name: str
) -> tuple[Mode, tuple[Function, ...], bool]:
    choice = cast("dict[str, Any]", given) if isinstance(given, dict) else dict[str, Any]()
    mode: Any = choice.get("mode")
    if mode not in ("auto", "required"):
        raise _refused(f"{name}.allowed_tools.mode", "must be auto or required")
    allowed: dict[str, Function] = {}
    tools: object = choice.get("tools")
    for index, tool in enumerate(cast("list[Any]", tools) if isinstance(tools, list) else []):
        path = f"{name}.allowed_tools.tools[{index}]"
        match tool:
            case {"type": "function", "function": {"name": str(requested)}}:
                pass
            case {"type": "function", "name": str(requested)}:
                pass
            case _:
                raise _refused(path, "must be of type function, with a name")
        allowed[requested] = _named(functions, requested, path)
    if not allowed:
        raise _refused(f"{name}.allowed_tools.tools", "is empty", 'Send tool_choice="none".')
    return mode, tuple(allowed.values()), False


def _named(functions: Mapping[str, Function], name: str, path: str) -> Function:
    if name not in functions:
        raise _refused(
            path, f"{name[:80]!r} is not among the tools", f"Send one of {', '.join(functions)}."
        )
    return functions[name]


def _functions(checked: Mapping[str, Any], *, is_legacy: bool) -> dict[str, Function]:
    found: dict[str, Function] = {}
    given: list[Mapping[str, Any]] = checked.get("functions" if is_legacy else "tools") or []
    for index, one in enumerate(given):
        path = f"functions[{index}]" if is_legacy else f"tools[{index}].function"
        if is_legacy:
            function = one
        else:
            kind = one.get("type") or "function"
            if kind != "function" or one.get("function") is None:
                raise _refused(
                    f"tools[{index}].type",
                    f"{kind!r:.40} is not supported; only functions are"
                    if kind != "function"
                    else "a tool of type function needs the field function",
                    "Send tools of type function.",
                )
            function: Mapping[str, Any] = one["function"]
        name: str = function["name"]
        if not NAME.fullmatch(name):
            raise _refused(
                f"{path}.name",
                f"{name[:80]!r} is not a function name",
                "Use 1 to 64 letters, digits, underscores, dots and hyphens.",
            )
        if name in found:
            raise _refused(f"{path}.name", f"{name!r} stands here twice")
        found[name] = Function(
            name=name,
            description=function.get("description"),
            parameters=_parameters(function.get("parameters"), f"{path}.parameters"),
        )
    return found


def _parameters(given: Mapping[str, Any] | None, path: str) -> Mapping[str, Any]:
    """Return the schema of the arguments, which are an object."""
    if not given:
        return NO_ARGUMENTS
    schema = {name: value for name, value in given.items() if value is not None}
    kind: object = schema.get("type")
    if kind is None and any(name in schema for name in _COMBINED):
        return schema
    kinds = cast("list[object]", kind) if isinstance(kind, list) else [kind]
    if "object" not in kinds and kind is not None:
        raise _refused(path, 'must be a JSON Schema of type "object"')
    is_bare = not schema.get("properties") and not schema.get("required")
    is_open = not schema.keys().isdisjoint(
        ("additionalProperties", "patternProperties", "minProperties", *_COMBINED)
    )
    return {**schema, "type": "object", **(NO_ARGUMENTS if is_bare and not is_open else {})}


def _refused(path: str, problem: str, hint: str = "") -> RequestRefusedError:
    return refused(
        path,
        f"The request does not fit: {path}: {problem}.",
        hint or "See OpenAI's function calling for what each field takes.",
    )


_TEXT = core_schema.str_schema()
_FUNCTION = core_schema.typed_dict_schema(
    {
        "name": required(_TEXT),
        "description": optional(_TEXT),
        "parameters": optional(core_schema.dict_schema()),
        "strict": optional(core_schema.bool_schema()),
    },
    extra_behavior="ignore",
)
_TOOL = core_schema.typed_dict_schema(
    {"type": optional(_TEXT), "function": optional(_FUNCTION)}, extra_behavior="ignore"
)
_CHOICE = core_schema.union_schema([_TEXT, core_schema.dict_schema()])
TOOL_FIELDS = {
    "tools": optional(core_schema.list_schema(_TOOL, max_length=MAX_FUNCTIONS)),
    "tool_choice": optional(_CHOICE),
    "parallel_tool_calls": optional(core_schema.bool_schema()),
    "functions": optional(core_schema.list_schema(_FUNCTION, max_length=MAX_FUNCTIONS)),
    "function_call": optional(_CHOICE),
}
