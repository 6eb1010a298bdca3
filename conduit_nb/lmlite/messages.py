"""The messages of a chat request: what clients send back, read as OpenAI and vLLM read it.

A client returns a reply as it got it, with every field that was null or empty; those are ignored.
Unknown fields are ignored as well and named in the log; images, sound and files are refused, as
the model would not see them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic_core import PydanticCustomError, core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import optional, refused, required

MAX_MESSAGES = 10_000
ChatMessage = dict[str, Any]
"""A message as chat templates take it: `role`, `content`, and `tool_calls` with their arguments
as objects, `tool_call_id` and `name` of results, `reasoning_content` where there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """What else a prompt is made of: functions, arguments of the template, and how it ends.

    `reply_begin` is what of the reply is given; with `continue_final_message` that is the last
    message.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    reply_begin: str = ""

    def with_texts(
        self, tools: tuple[Mapping[str, Any], ...], template_kwargs: Mapping[str, Any]
    ) -> PromptOptions:
        """Return the same with other texts."""
        return replace(self, tools=tools, template_kwargs=template_kwargs)


_ROLES = {
    "system": "system",
    "developer": "system",  # OpenAI's newer word for the same
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # OpenAI's older word
}
_MAY_BE_EMPTY = ("assistant", "tool")
_TEXT_PARTS = ("text", "input_text", "output_text")
KNOWN = frozenset(
    (
        *("role", "content", "name", "tool_calls", "tool_call_id", "function_call"),
        *("refusal", "reasoning_content", "reasoning"),
    )
)
# Fields of replies that change nothing for a model, whatever they hold.
SILENT = frozenset(("annotations", "id", "index", "logprobs", "provider_specific_fields"))
# Fields that would change what the model reads or writes.
_UNSERVED = ("audio", "prefix", "partial")


def ignored_fields(messages: object) -> list[str]:
    """Return the unknown fields of messages that are not empty."""
    found: dict[str, None] = {}
    for message in cast("list[object]", messages) if isinstance(messages, list) else []:
        if isinstance(message, dict):
            for name, value in cast("dict[str, object]", message).items():
                if name not in KNOWN and name not in SILENT and not _is_empty(value):
                    found[f"messages[].{name[:80]}"] = None
    return list(found)


def read_messages(checked: Sequence[Mapping[str, Any]]) -> list[ChatMessage]:
    """Return the messages for a chat template; raises RequestRefusedError with the path."""
    names: dict[str, str] = {}
    return [_read(message, f"messages[{index}]", names) for index, message in enumerate(checked)]


def _read(message: Mapping[str, Any], path: str, names: dict[str, str]) -> ChatMessage:
    role: str = message["role"]
    for name in _UNSERVED:
        if not _is_empty(message.get(name)):
            raise _refused(f"{path}.{name}", "is not supported here", f"Leave {name} out.")
    calls = _calls(message, path)
    if calls and role != "assistant":
        raise _refused(f"{path}.tool_calls", "belongs to messages of the assistant only")
    text: str | None = message.get("content")
    if text is None and role == "assistant":
        text = message.get("refusal")
    if text is None and role not in _MAY_BE_EMPTY:
        raise _refused(f"{path}.content", "must be a string, or a list of parts of type text")
    result: ChatMessage = {"role": role, "content": text or ""}
    if calls:
        result["tool_calls"] = calls
        names.update((call["id"], call["function"]["name"]) for call in calls if call.get("id"))
    reasoning: object = message.get("reasoning_content") or message.get("reasoning")
    if role == "assistant" and reasoning:
        result["reasoning_content"] = reasoning
    if role == "tool":
        call_id = message.get("tool_call_id")
        name = message.get("name") or names.get(call_id or "")
        result |= {"tool_call_id": call_id} if call_id else {}
        result |= {"name": name} if name else {}
    return result


def _calls(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    calls: list[Mapping[str, Any]] = message.get("tool_calls") or []
    older: Mapping[str, Any] | None = message.get("function_call")
    found: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        function: Mapping[str, Any] | None = call.get("function")
        if call.get("type") not in (None, "function") or function is None:
            raise _refused(f"{path}.tool_calls[{index}]", "must be of type function")
        found.append(_call(function, call.get("id")))
    if older:
        found.append(_call(older, None))
    return found


def _call(function: Mapping[str, Any], call_id: str | None) -> dict[str, Any]:
    call: dict[str, Any] = {"type": "function"}
    if call_id:
        call["id"] = call_id
    arguments = _arguments(function.get("arguments"))
    call["function"] = {"name": function["name"], "arguments": arguments}
    return call


def _arguments(given: object) -> object:
    """Return arguments as an object, which templates write as JSON; text that is none stays."""
    if given is None or given == "":
        return {}
    if not isinstance(given, str):
        return given
    try:
        value: object = json.loads(given)
    except (ValueError, RecursionError):
        return given
    return cast("object", value) if isinstance(value, dict) else given


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", [], {})


def _refused(path: str, problem: str, hint: str = "") -> RequestRefusedError:
    return refused(
        path,
        f"The request does not fit: {path}: {problem}",
        hint or "See OpenAI's chat completions for what each field takes.",
    )


def _content(value: object) -> str | None:
    """Return the text of a message: a string, or OpenAI's list of text parts."""
    if value is None or value == []:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_part, cast("list[object]", value)))
    raise PydanticCustomError("content", "must be a string, or a list of parts of type text")


def _part(part: object) -> str:
    match part:
        case str(text):
            return text
        case {"type": str(kind), "text": str(text)} if kind in _TEXT_PARTS:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": "thinking" | "redacted_thinking"}:
            return ""
        case {"type": str(kind)} if kind not in _TEXT_PARTS:
            raise PydanticCustomError(
                "content",
                "must be a string, or a list of parts of type text: parts of type {kind} are not"
                " supported",
                {"kind": kind[:40] if kind.replace("_", "").isalnum() else "another name"},
            )
        case _:
            raise PydanticCustomError(
                "content", "must be a string, or a list of parts of type text"
            )


def _role(value: object) -> str:
    role = _ROLES.get(value) if isinstance(value, str) else None
    if role is None:
        raise PydanticCustomError("role", "must be system, user, assistant or tool")
    return role


_TEXT = core_schema.str_schema()
_FUNCTION = core_schema.typed_dict_schema(
    {
        "name": required(_TEXT),
        "arguments": optional(core_schema.union_schema([_TEXT, core_schema.dict_schema()])),
    },
    extra_behavior="ignore",
)
_CALL = core_schema.typed_dict_schema(
    {"id": optional(_TEXT), "type": optional(_TEXT), "function": optional(_FUNCTION)},
    extra_behavior="ignore",
)
_MESSAGE = core_schema.typed_dict_schema(
    {
        "role": required(core_schema.no_info_plain_validator_function(_role)),
        "content": core_schema.typed_dict_field(
            core_schema.no_info_plain_validator_function(_content), required=False
        ),
        "name": optional(_TEXT),
        "tool_calls": optional(core_schema.list_schema(_CALL)),
        "tool_call_id": optional(_TEXT),
        "function_call": optional(
            core_schema.union_schema([_FUNCTION, core_schema.typed_dict_schema({})])
        ),
        "refusal": optional(_TEXT),
        "reasoning_content": optional(_TEXT),
        "reasoning": optional(_TEXT),
        **{name: optional(core_schema.any_schema()) for name in _UNSERVED},
    },
    extra_behavior="ignore",
)
MESSAGES = core_schema.list_schema(_MESSAGE, min_length=1, max_length=MAX_MESSAGES)
