"""What a request asks for, whichever endpoint it came to: the fields that all know, checked.

What cannot be honoured is refused by name; what has no effect on the text (`user`, `metadata`) is
passed over. Knows no HTTP and no model.
Layer 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pydantic_core
from pydantic_core import SchemaValidator, core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.answer import Answer
from conduit_nb.lmlite.sampling import MAX_TOP_LOGPROBS, SamplingParams
from conduit_nb.lmlite.source import ModelKey
from conduit_nb.models.config import QUANTIZATIONS
from conduit_nb.spelling import nearest

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

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
ANY_OBJECT: dict[str, Any] = {"type": "object"}
SEED_LIMIT = 2**63 - 1
LONGEST_BATCH_TIMEOUT_MS = 60_000
MOST_REPLIES = 128

# The fields that are passed on to SamplingParams by their own names.
_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(ABC):
    """A request that makes sense by itself; whether it fits the model is not known yet.

    `n` replies are written to each of its prompts; `deadline_s` is counted from its arrival.
    """

    key: ModelKey
    n: int
    max_tokens: int | None
    max_model_len: int | None
    batch_timeout_ms: int | None
    deadline_s: float | None
    sampling: SamplingParams
    json_schema: Mapping[str, Any] | None
    confidence: bool
    stream: bool
    include_usage: bool

    @property
    @abstractmethod
    def replies(self) -> int:
        """How many replies are to be written."""

    @abstractmethod
    def encode(self, engine: Engine) -> list[list[int]]:
        """Return the tokens of each prompt; takes its time."""

    @abstractmethod
    def answer(self, request_id: str) -> Answer:
        """Return what puts the replies into the endpoint's words."""


class CallForm:
    """The fields that an endpoint honours, and those that it takes only where they ask for what
    happens anyway (`neutral`, by name the values that do). `hint` names where fields are told.
    """

    def __init__(
        self,
        honoured: Mapping[str, core_schema.TypedDictField],
        neutral: Mapping[str, tuple[object, ...]],
        *,
        example: str,
        hint: str,
        common: Mapping[str, core_schema.TypedDictField] | None = None,
    ) -> None:
        self._honoured = {**(COMMON_FIELDS if common is None else common), **honoured}
        self._neutral = neutral
        self._example = example
        self._hint = hint
        self._validator = SchemaValidator(
            core_schema.typed_dict_schema(self._honoured, extra_behavior="forbid")
        )

    def read(self, body: bytes) -> dict[str, Any]:
        """Return the fields of `body`; raises RequestRefusedError that names all that are wrong."""
        request = self._known(self._json_object(body))
        try:
            return cast("dict[str, Any]", self._validator.validate_python(request, strict=True))
        except pydantic_core.ValidationError as err:
            raise self._refusal(err) from err

    def _json_object(self, body: bytes) -> dict[str, Any]:
        try:
            content: object = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError as err:
            raise RequestRefusedError(
                f"The body is not JSON: {err}.", hint="Send one JSON object in UTF-8."
            ) from err
        if not isinstance(content, dict):
            raise RequestRefusedError("The body is no JSON object.", hint=f"Send {self._example}.")
        return cast("dict[str, Any]", content)

    def _known(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be validated; refuse fields that would silently have no effect."""
        kept: dict[str, Any] = {}
        for name, value in request.items():
            if name in WITHOUT_EFFECT:
                continue
            if name in self._neutral:
                if not any(
                    type(value) is type(one) and value == one for one in self._neutral[name]
                ):
                    raise RequestRefusedError(
                        f"{name} is not supported here.", hint=f"Leave {name} out of the request."
                    )
            elif name in self._honoured:
                kept[name] = value
            else:
                raise RequestRefusedError(
                    f"{name[:80]!r} is no field that is known here.",
                    hint=nearest(name, self._honoured)
                    or f"Known are {', '.join(sorted(self._honoured))}.",
                )
        return kept

    def _refusal(self, err: pydantic_core.ValidationError) -> RequestRefusedError:
        problems = [
            f"{_path(problem['loc'])}: {problem['msg']}"
            for problem in err.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        return RequestRefusedError(
            f"The request does not fit: {'; '.join(problems[:5])}{more}", hint=self._hint
        )


def common_parts(checked: Mapping[str, Any], *, top_logprobs: int | None) -> dict[str, Any]:
    """Return what a Call takes from the fields that every endpoint knows."""
    options = _part(checked, "conduit")
    return {
        "key": model_key(checked),
        "n": checked.get("n") or 1,
        "max_model_len": options.get("max_model_len"),
        "batch_timeout_ms": options.get("batch_timeout_ms"),
        "deadline_s": options.get("deadline_s"),
        "sampling": _sampling(checked, top_logprobs),
        **_record_parts(checked.get("response_format"), options),
        "stream": bool(checked.get("stream")),
        "include_usage": bool(_part(checked, "stream_options").get("include_usage")),
    }


def model_key(checked: Mapping[str, Any]) -> ModelKey:
    """Return which model is meant, by the fields that every request about one knows."""
    options = _part(checked, "conduit")
    return ModelKey(
        model_id=checked["model"],
        revision=options.get("revision"),
        dtype=options.get("dtype", "auto"),
        quantization=options.get("quantization"),
    )


def optional(schema: core_schema.CoreSchema) -> core_schema.TypedDictField:
    """Return a field that may be null or left out."""
    return core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)


def required(schema: core_schema.CoreSchema) -> core_schema.TypedDictField:
    """Return a field that must be there."""
    return core_schema.typed_dict_field(schema, required=True)


def _path(parts: tuple[int | str, ...]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "the body"


def _part(checked: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return checked.get(name) or cast("dict[str, Any]", {})


def _sampling(checked: Mapping[str, Any], top_logprobs: int | None) -> SamplingParams:
    stop = checked.get("stop")
    given = {name: checked[name] for name in _SAMPLING_FIELDS if checked.get(name) is not None}
    return SamplingParams(
        **given,
        top_k=max(checked.get("top_k") or 0, 0),  # vLLM's -1 is 0
        top_logprobs=top_logprobs,
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
    )


def _record_parts(
    response_format: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    json_schema = _json_schema(response_format)
    if options.get("confidence") and json_schema is None:
        raise RequestRefusedError(
            "conduit.confidence asks about the values of a record, and none is asked for.",
            hint="Send a response_format of type json_schema, or leave confidence out.",
        )
    return {"json_schema": json_schema, "confidence": bool(options.get("confidence"))}


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


COUNT = core_schema.int_schema(ge=1)
TEXT = core_schema.str_schema()
TOP_LOGPROBS = core_schema.int_schema(ge=0, le=MAX_TOP_LOGPROBS)
_NUMBER = core_schema.float_schema()
_RESPONSE_FORMAT = core_schema.typed_dict_schema(
    {
        "type": required(core_schema.literal_schema(["text", "json_object", "json_schema"])),
        "json_schema": optional(
            core_schema.typed_dict_schema(
                {
                    "name": optional(TEXT),
                    "description": optional(TEXT),
                    "schema": optional(core_schema.dict_schema()),
                    "strict": optional(core_schema.bool_schema()),
                },
                extra_behavior="forbid",
            )
        ),
    },
    extra_behavior="forbid",
)
_CONDUIT = core_schema.typed_dict_schema(
    {
        "revision": optional(TEXT),
        "dtype": core_schema.typed_dict_field(
            core_schema.literal_schema(["auto", "float32", "bfloat16", "float16"]), required=False
        ),
        "quantization": optional(core_schema.literal_schema(list(QUANTIZATIONS))),
        "max_model_len": optional(COUNT),
        "confidence": optional(core_schema.bool_schema()),
        "batch_timeout_ms": optional(core_schema.int_schema(ge=0, le=LONGEST_BATCH_TIMEOUT_MS)),
        "deadline_s": optional(core_schema.float_schema(gt=0, allow_inf_nan=False)),
    },
    extra_behavior="forbid",
)
MODEL_FIELDS = {
    "model": required(core_schema.str_schema(min_length=1, max_length=4096)),
    "conduit": optional(_CONDUIT),
}
COMMON_FIELDS = {
    **MODEL_FIELDS,
    "max_tokens": optional(COUNT),
    "n": optional(core_schema.int_schema(ge=1, le=MOST_REPLIES)),
    "temperature": optional(_NUMBER),
    "top_p": optional(_NUMBER),
    "top_k": optional(core_schema.int_schema(ge=-1, le=2**31 - 1)),
    "min_p": optional(_NUMBER),
    "repetition_penalty": optional(_NUMBER),
    "presence_penalty": optional(_NUMBER),
    "frequency_penalty": optional(_NUMBER),
    "seed": optional(core_schema.int_schema(ge=-SEED_LIMIT, le=SEED_LIMIT)),
    "stop": optional(core_schema.union_schema([TEXT, core_schema.list_schema(TEXT)])),
    "response_format": optional(_RESPONSE_FORMAT),
    "stream": optional(core_schema.bool_schema()),
    "stream_options": optional(
        core_schema.typed_dict_schema(
            {
                "include_usage": optional(core_schema.bool_schema()),
                "include_obfuscation": optional(core_schema.bool_schema()),
            },
            extra_behavior="forbid",
        )
    ),
}
