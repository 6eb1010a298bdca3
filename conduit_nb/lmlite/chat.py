"""A chat request in, checked field by field; replies and chunks out, in OpenAI's words.

What cannot be honoured is refused by name; what has no effect on the text (`user`, `metadata`) is
passed over. Knows no HTTP and no model.
Layer 3.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pydantic_core
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.pool import ModelKey
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.protocol import (
    ChatChunk,
    ChatReply,
    Choice,
    ChunkChoice,
    Delta,
    FinishReason,
    Message,
    Usage,
)

# Fields of OpenAI's that change nothing here, whatever they hold.
WITHOUT_EFFECT = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
    "prediction",
}
# Fields that are taken only where they ask for what happens anyway.
ONLY_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "reasoning_effort": (None, "none"),
}
ANY_OBJECT: dict[str, Any] = {"type": "object"}
SEED_LIMIT = 2**63 - 1
MOST_MESSAGES = 10_000
LONGEST_BATCH_TIMEOUT_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A chat request that makes sense by itself; whether it fits the model is not known yet."""

    key: ModelKey
    messages: list[Message]
    max_tokens: int | None
    max_model_len: int | None
    batch_timeout_ms: int | None
    sampling: SamplingParams
    json_schema: Mapping[str, Any] | None
    stream: bool
    include_usage: bool


def parse_chat(body: bytes) -> ChatCall:
    """Return what `body` asks for.

    Raises RequestRefusedError that names every field that is wrong.
    """
    request = _known_fields(_json_object(body))
    try:
        checked = cast("dict[str, Any]", CHAT_REQUEST.validate_python(request, strict=True))
    except pydantic_core.ValidationError as err:
        raise _refusal(err) from err
    options = _part(checked, "conduit")
    return ChatCall(
        key=ModelKey(
            model_id=checked["model"],
            revision=options.get("revision"),
            dtype=options.get("dtype", "auto"),
        ),
        messages=[
            Message(role=message["role"], content=message["content"])
            for message in checked["messages"]
        ],
        max_tokens=checked.get("max_completion_tokens") or checked.get("max_tokens"),
        max_model_len=options.get("max_model_len"),
        batch_timeout_ms=options.get("batch_timeout_ms"),
        sampling=_sampling(checked),
        json_schema=_json_schema(checked.get("response_format")),
        stream=bool(checked.get("stream")),
        include_usage=bool(_part(checked, "stream_options").get("include_usage")),
    )


def chat_reply(
    reply_id: str, model: str, text: str, reason: FinishReason, usage: Usage
) -> ChatReply:
    """Return the whole answer to a request that is not streamed."""
    return ChatReply(
        id=reply_id,
        object="chat.completion",
        created=int(time.time()),
        model=model,
        choices=[
            Choice(
                index=0,
                message=Message(role="assistant", content=text),
                finish_reason=reason,
            )
        ],
        usage=usage,
    )


def chat_chunk(
    reply_id: str, model: str, delta: Delta, reason: FinishReason | None = None
) -> ChatChunk:
    """Return one event of a streamed answer."""
    return ChatChunk(
        id=reply_id,
        object="chat.completion.chunk",
        created=int(time.time()),
        model=model,
        choices=[ChunkChoice(index=0, delta=delta, finish_reason=reason)],
    )


def usage_chunk(reply_id: str, model: str, usage: Usage) -> ChatChunk:
    """Return the last event of a stream that was asked for its usage."""
    chunk = chat_chunk(reply_id, model, Delta())
    return {**chunk, "choices": [], "usage": usage}


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content: object = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as err:
        raise RequestRefusedError(
            f"The body is not JSON: {err}.", hint="Send one JSON object in UTF-8."
        ) from err
    if not isinstance(content, dict):
        raise RequestRefusedError(
            "The body is no JSON object.", hint='Send {"model": …, "messages": […]}.'
        )
    return cast("dict[str, Any]", content)


def _known_fields(request: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be validated; refuse fields that would silently have no effect."""
    kept: dict[str, Any] = {}
    for name, value in request.items():
        if name in WITHOUT_EFFECT:
            continue
        if name in ONLY_NEUTRAL:
            if not any(type(value) is type(one) and value == one for one in ONLY_NEUTRAL[name]):
                raise RequestRefusedError(
                    f"{name} is not supported here.", hint=f"Leave {name} out of the request."
                )
        elif name in HONOURED:
            kept[name] = value
        else:
            raise RequestRefusedError(
                f"{name[:80]!r} is no field that is known here.",
                hint=f"Check the spelling; known are {', '.join(sorted(HONOURED))}.",
            )
    return kept


def _refusal(err: pydantic_core.ValidationError) -> RequestRefusedError:
    problems = [
        f"{_path(problem['loc'])}: {problem['msg']}"
        for problem in err.errors(include_url=False, include_context=False, include_input=False)
    ]
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return RequestRefusedError(
        f"The request does not fit: {'; '.join(problems[:5])}{more}",
        hint="See OpenAI's chat completions for what each field takes.",
    )


def _path(parts: tuple[int | str, ...]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "the body"


def _part(checked: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return checked.get(name) or cast("dict[str, Any]", {})


def _sampling(checked: Mapping[str, Any]) -> SamplingParams:
    stop = checked.get("stop")
    given = {
        name: checked[name]
        for name in ("temperature", "top_p", "seed")
        if checked.get(name) is not None
    }
    return SamplingParams(**given, stop=(stop,) if isinstance(stop, str) else tuple(stop or ()))


def _json_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    match response_format:
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return cast("Mapping[str, Any]", schema)
        case {"type": "json_schema"}:
            raise RequestRefusedError(
                "response_format.json_schema.schema is missing.",
                hint="Send the schema, or ask for the type json_object.",
            )
        case _:
            return None


def _content(value: object) -> str:
    """Return the text of a message: a string, or OpenAI's list of text parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts: list[str] = []
        for part in cast("list[object]", value):
            match part:
                case {"type": "text", "text": str(text)}:
                    texts.append(text)
                case _:
                    break
        else:
            if texts:
                return "".join(texts)
    raise PydanticCustomError("content", "must be a string, or a list of parts of type text")


def _role(value: object) -> str:
    if value in ("system", "user", "assistant"):
        return cast("str", value)
    if value == "developer":  # OpenAI's newer word for the same
        return "system"
    raise PydanticCustomError("role", "must be system, user or assistant")


def _optional(schema: core_schema.CoreSchema) -> core_schema.TypedDictField:
    return core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)


def _required(schema: core_schema.CoreSchema) -> core_schema.TypedDictField:
    return core_schema.typed_dict_field(schema, required=True)


_COUNT = core_schema.int_schema(ge=1)
_TEXT = core_schema.str_schema()
_MESSAGE = core_schema.typed_dict_schema(
    {
        "role": _required(core_schema.no_info_plain_validator_function(_role)),
        "content": _required(core_schema.no_info_plain_validator_function(_content)),
        "name": _optional(_TEXT),
    },
    extra_behavior="forbid",
)
_RESPONSE_FORMAT = core_schema.typed_dict_schema(
    {
        "type": _required(core_schema.literal_schema(["text", "json_object", "json_schema"])),
        "json_schema": _optional(
            core_schema.typed_dict_schema(
                {
                    "name": _optional(_TEXT),
                    "description": _optional(_TEXT),
                    "schema": _optional(core_schema.dict_schema()),
                    "strict": _optional(core_schema.bool_schema()),
                },
                extra_behavior="forbid",
            )
        ),
    },
    extra_behavior="forbid",
)
_CONDUIT = core_schema.typed_dict_schema(
    {
        "revision": _optional(_TEXT),
        "dtype": core_schema.typed_dict_field(
            core_schema.literal_schema(["auto", "float32", "bfloat16", "float16"]), required=False
        ),
        "max_model_len": _optional(_COUNT),
        "batch_timeout_ms": _optional(core_schema.int_schema(ge=0, le=LONGEST_BATCH_TIMEOUT_MS)),
    },
    extra_behavior="forbid",
)
HONOURED = {
    "model": _required(core_schema.str_schema(min_length=1, max_length=4096)),
    "messages": _required(
        core_schema.list_schema(_MESSAGE, min_length=1, max_length=MOST_MESSAGES)
    ),
    "max_tokens": _optional(_COUNT),
    "max_completion_tokens": _optional(_COUNT),
    "temperature": _optional(core_schema.float_schema()),
    "top_p": _optional(core_schema.float_schema()),
    "seed": _optional(core_schema.int_schema(ge=-SEED_LIMIT, le=SEED_LIMIT)),
    "stop": _optional(core_schema.union_schema([_TEXT, core_schema.list_schema(_TEXT)])),
    "response_format": _optional(_RESPONSE_FORMAT),
    "stream": _optional(core_schema.bool_schema()),
    "stream_options": _optional(
        core_schema.typed_dict_schema(
            {
                "include_usage": _optional(core_schema.bool_schema()),
                "include_obfuscation": _optional(core_schema.bool_schema()),
            },
            extra_behavior="forbid",
        )
    ),
    "conduit": _optional(_CONDUIT),
}
CHAT_REQUEST = SchemaValidator(core_schema.typed_dict_schema(HONOURED, extra_behavior="forbid"))
