"""Requests and responses of both endpoints: the fields that they share, checked.

A field that cannot be honoured is refused by name; one that has no effect on the text (`user`,
`metadata`) is ignored. An unknown field is ignored as well, as in vLLM, and named in the log and in
a header of the response, unless it looks like a typo. Knows no HTTP and no model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pydantic_core
from pydantic_core import SchemaValidator, core_schema

from conduit_nb.errors import ArgumentError, RequestRefusedError
from conduit_nb.lmlite.config import ModelKey
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.lmlite.request import TextGrammar
from conduit_nb.lmlite.sampling_params import MAX_TOP_LOGPROBS, SamplingParams
from conduit_nb.models.config import QUANTIZATIONS, split_revision
from conduit_nb.protocol import FinishReason, Usage
from conduit_nb.spelling import nearest

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need
    from conduit_nb.lmlite.tool_calls import CallGrammar

# Fields of OpenAI's that change nothing here, whatever they hold.
WITHOUT_EFFECT = {
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
    # vLLM's, which decide when and how a reply is made, not its content
    "priority",
    "request_id",
    "guided_decoding_backend",
    "spaces_between_special_tokens",
}
# Fields of vLLM's and of other servers that would change the reply, by the values that do not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "logit_bias": (None, {}),
    "best_of": (None, 1),
    "echo": (None, False),
    "use_beam_search": (None, False),
    "length_penalty": (None, 1, 1.0),
    "early_stopping": (None, False),
    "bad_words": (None, []),
    "allowed_token_ids": (None,),
    "logits_processors": (None, []),
    "prompt_logprobs": (None,),
    "truncate_prompt_tokens": (None,),
    "guided_whitespace_pattern": (None,),
    "structural_tag": (None,),
    "return_tokens_as_token_ids": (None, False),
    "return_token_ids": (None, False),
    "detokenize": (None, True),
    "cache_salt": (None,),
    "kv_transfer_params": (None,),
    "vllm_xargs": (None, {}),
    "prompt_embeds": (None,),
    "thinking": (None,),
    "think": (None, False),
    "reasoning": (None, {}),
    "options": (None, {}),
    "top_a": (None, 0, 0.0),
    "mirostat": (None, 0),
    "typical_p": (None, 1, 1.0),
    "tfs_z": (None, 1, 1.0),
    "max_new_tokens": (None,),
    "max_length": (None,),
    "num_ctx": (None,),
    "num_predict": (None,),
}
ANY_OBJECT: dict[str, Any] = {"type": "object"}
SEED_LIMIT = 2**63 - 1
MAX_BATCH_TIMEOUT_MS = 60_000
MAX_REPLIES = 128
MAX_IGNORED = 20
MISTYPED = 0.75
"""How like a known field an unknown one is that is taken for a slip."""


# The fields that are passed on to SamplingParams by their own names.
_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "min_tokens",
    "ignore_eos",
    "skip_special_tokens",
)
_GUIDES = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest(ABC):
    """A valid request; whether it fits the model is not known yet.

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
    text_grammar: TextGrammar | None
    confidence: bool
    stream: bool
    include_usage: bool
    ignored: tuple[str, ...]

    @property
    @abstractmethod
    def replies(self) -> int:
        """How many replies are to be written."""

    def grammar(self, engine: Engine) -> Mapping[str, Any] | TextGrammar | CallGrammar | None:  # noqa: ARG002  # chats need it
        """Return what a reply must be; None where any text will do."""
        return self.json_schema if self.text_grammar is None else self.text_grammar

    @abstractmethod
    def encode(self, engine: Engine) -> list[list[int]]:
        """Return the tokens of each prompt; takes its time."""

    @abstractmethod
    def response(self, request_id: str, engine: Engine) -> ApiResponse:
        """Return what formats an engine's replies for this endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionOutput:
    """A part of the reply number `index`, or all of it; the last part has a `finish_reason`."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    confidence: Mapping[str, float] | None = None
    finish_reason: FinishReason | None = None


class ApiResponse(ABC):
    """Formats the replies to one request, with their `logprobs` or without."""

    def __init__(self, response_id: str, model: str, *, has_logprobs: bool) -> None:
        self.response_id = response_id
        self.model = model
        self.has_logprobs = has_logprobs

    @abstractmethod
    def whole(self, replies: Sequence[CompletionOutput], usage: Usage) -> Mapping[str, Any]:
        """Return the body with all replies, for a request that is not streamed."""

    @abstractmethod
    def opening(self, index: int) -> Mapping[str, Any] | None:
        """Return the event that begins a streamed reply; None where none is needed."""

    @abstractmethod
    def event(self, output: CompletionOutput) -> Mapping[str, Any]:
        """Return the event for an output; call it for the outputs of one reply in order."""

    def events(self, output: CompletionOutput) -> Sequence[Mapping[str, Any]]:
        """Return the events for an output: one, unless the endpoint needs several or none."""
        return [self.event(output)]

    @abstractmethod
    def usage_event(self, usage: Usage) -> Mapping[str, Any]:
        """Return the last event of a stream, where the request wants the usage."""


class RequestValidator:
    """Checks the fields of an endpoint: those that it honours, and those that it accepts only with
    values that change nothing (`neutral`, by name). `hint` says where the fields are documented.
    """

    def __init__(
        self,
        honoured: Mapping[str, core_schema.TypedDictField],
        neutral: Mapping[str, tuple[object, ...]],
        *,
        example: str,
        hint: str,
        common: Mapping[str, core_schema.TypedDictField] | None = None,
        ignored_inside: Callable[[Mapping[str, Any]], list[str]] = lambda _: [],
    ) -> None:
        self._honoured = {**(COMMON_FIELDS if common is None else common), **honoured}
        self._neutral = {**(NEUTRAL if common is None else {}), **neutral}
        self._ignores = common is None
        self._ignored_inside = ignored_inside
        self._example = example
        self._hint = hint
        self._validator = SchemaValidator(
            core_schema.typed_dict_schema(self._honoured, extra_behavior="forbid")
        )

    def read(self, body: bytes) -> dict[str, Any]:
        """Return the fields of `body`, and in `ignored` the names of those passed over.

        Raises RequestRefusedError that names all that are wrong.
        """
        ignored: list[str] = []
        request = self._known(self._json_object(body), ignored)
        try:
            checked = cast("dict[str, Any]", self._validator.validate_python(request, strict=True))
        except pydantic_core.ValidationError as err:
            raise self._refusal(err) from err
        ignored += self._ignored_inside(request)
        return {**checked, "ignored": tuple(ignored[:MAX_IGNORED])}

    def _json_object(self, body: bytes) -> dict[str, Any]:
        try:
            content: object = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError as err:
            raise RequestRefusedError(
                f"The body is not JSON: {err}.", hint="Send one JSON object in UTF-8."
            ) from err
        if not isinstance(content, dict):
            raise RequestRefusedError(
                "The body is not a JSON object.", hint=f"Send {self._example}."
            )
        return cast("dict[str, Any]", content)

    def _known(self, request: dict[str, Any], ignored: list[str]) -> dict[str, Any]:
        """Return what is to be validated; refuse fields that would silently have no effect."""
        kept: dict[str, Any] = {}
        for name, value in request.items():
            if name in WITHOUT_EFFECT:
                continue
            if name in self._honoured:
                kept[name] = value
            elif name in self._neutral:
                if not any(
                    type(value) is type(one) and value == one for one in self._neutral[name]
                ):
                    raise refused(
                        name, f"{name} is not supported here.", f"Leave {name} out of the request."
                    )
            elif value is None and self._ignores:
                continue
            else:
                guess = nearest(name, self._honoured, cutoff=MISTYPED)
                if guess or not self._ignores:
                    raise refused(
                        name[:80],
                        f"{name[:80]!r} is no field that is known here.",
                        guess or f"Known are {', '.join(sorted(self._honoured))}.",
                    )
                ignored.append(name[:80])
        return kept

    def _refusal(self, err: pydantic_core.ValidationError) -> RequestRefusedError:
        problems = [
            f"{_path(problem['loc'])}: {problem['msg']}"
            for problem in err.errors(include_url=False, include_context=False, include_input=False)
        ]
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        first = err.errors(include_url=False, include_context=False, include_input=False)[0]
        return refused(
            _path(first["loc"]),
            f"The request does not fit: {'; '.join(problems[:5])}{more}",
            self._hint,
        )


def common_parts(checked: Mapping[str, Any], *, top_logprobs: int | None) -> dict[str, Any]:
    """Return the arguments of an ApiRequest that come from fields of every endpoint."""
    options = _part(checked, "conduit")
    return {
        "key": model_key(checked),
        "n": checked.get("n") or 1,
        "max_model_len": options.get("max_model_len"),
        "batch_timeout_ms": options.get("batch_timeout_ms"),
        "deadline_s": options.get("deadline_s"),
        "sampling": _sampling(checked, top_logprobs),
        **_reply_parts(checked, options),
        "stream": bool(checked.get("stream")),
        "ignored": checked["ignored"],
        "include_usage": bool(_part(checked, "stream_options").get("include_usage")),
    }


def model_key(checked: Mapping[str, Any]) -> ModelKey:
    """Return which model is meant, by the fields that every request about one knows."""
    options = _part(checked, "conduit")
    try:
        model_id, revision = split_revision(checked["model"], options.get("revision"))
    except ArgumentError as err:
        raise RequestRefusedError(str(err), param="model", hint=err.hint) from err
    return ModelKey(
        model_id=model_id,
        revision=revision,
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
        includes_stop=bool(checked.get("include_stop_str_in_output")),
        stop_token_ids=tuple(checked.get("stop_token_ids") or ()),
    )


def _reply_parts(checked: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constraint on the reply, whichever field holds it."""
    constraints: dict[str, Mapping[str, Any] | TextGrammar] = {}
    if (schema := _json_schema(checked.get("response_format"))) is not None:
        constraints["response_format"] = schema
    for name in _GUIDES:
        if checked.get(name) is not None:
            constraints[name] = _guided(name, checked[name], name.removeprefix("guided_"))
    for name, value in _part(checked, "structured_outputs").items():
        if value is not None and value is not False:
            constraints[f"structured_outputs.{name}"] = _guided(
                f"structured_outputs.{name}", value, name
            )
    if len(constraints) > 1:
        raise refused(
            list(constraints)[1],
            f"{' and '.join(constraints)} cannot be combined: each constrains the whole reply.",
            "Send one of them.",
        )
    found = next(iter(constraints.values()), None)
    json_schema = None if isinstance(found, TextGrammar) else found
    if options.get("confidence") and json_schema is None:
        raise RequestRefusedError(
            "conduit.confidence needs a response_format: only the values of a record have one.",
            param="conduit.confidence",
            hint="Send a response_format of type json_schema, or leave confidence out.",
        )
    if found is not None and checked.get("ignore_eos"):
        raise refused(
            "ignore_eos",
            f"ignore_eos cannot be combined with {next(iter(constraints))}, which decides where the"
            " reply ends.",
            "Leave one of them out.",
        )
    return {
        "json_schema": json_schema,
        "text_grammar": found if isinstance(found, TextGrammar) else None,
        "confidence": bool(options.get("confidence")),
    }


def _guided(path: str, value: Any, kind: str) -> Mapping[str, Any] | TextGrammar:
    """Return the constraint of one of vLLM's fields."""
    match kind:
        case "json_object":
            return ANY_OBJECT
        case "json" if isinstance(value, str):
            try:
                value = pydantic_core.from_json(value)
            except ValueError as err:
                raise refused(path, f"{path} is not JSON: {err}.", "Send a JSON Schema.") from err
            if not isinstance(value, dict):
                raise refused(path, f"{path} is not a JSON Schema.", "Send a JSON Schema.")
            return cast("dict[str, Any]", value)
        case "json":
            return value
        case "choice":
            return TextGrammar(kind="choice", options=tuple(value))
        case "regex":
            return TextGrammar(kind="regex", text=value)
        case _:
            return TextGrammar(kind="grammar", text=value)


def refused(param: str, message: str, hint: str) -> RequestRefusedError:
    """Return the error for a field that is at fault."""
    return RequestRefusedError(message, param=param, hint=hint)


def _json_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": schema}} if schema is not None:
            return cast("Mapping[str, Any]", schema)
        # Next to the type, as llama.cpp and Together write it.
        case {"type": "json_schema" | "json_object", "schema": schema} if schema is not None:
            return schema
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema"}:
            raise refused(
                "response_format.json_schema.schema",
                "response_format.json_schema.schema is missing.",
                "Send the schema, or ask for the type json_object.",
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
        "schema": optional(core_schema.dict_schema()),
    },
    extra_behavior="forbid",
)
_CHOICES = core_schema.list_schema(core_schema.str_schema(min_length=1), min_length=1)
_PATTERN = core_schema.str_schema(min_length=1)
_SCHEMA = core_schema.union_schema([core_schema.dict_schema(), TEXT])
_STRUCTURED = core_schema.typed_dict_schema(
    {
        "json": optional(_SCHEMA),
        "regex": optional(_PATTERN),
        "choice": optional(_CHOICES),
        "grammar": optional(_PATTERN),
        "json_object": optional(core_schema.bool_schema()),
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
        "batch_timeout_ms": optional(core_schema.int_schema(ge=0, le=MAX_BATCH_TIMEOUT_MS)),
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
    "n": optional(core_schema.int_schema(ge=1, le=MAX_REPLIES)),
    "temperature": optional(_NUMBER),
    "top_p": optional(_NUMBER),
    "top_k": optional(core_schema.int_schema(ge=-1, le=2**31 - 1)),
    "min_p": optional(_NUMBER),
    "repetition_penalty": optional(_NUMBER),
    "presence_penalty": optional(_NUMBER),
    "frequency_penalty": optional(_NUMBER),
    "seed": optional(core_schema.int_schema(ge=-SEED_LIMIT, le=SEED_LIMIT)),
    "stop_token_ids": optional(
        core_schema.list_schema(core_schema.int_schema(ge=0, le=2**31 - 1), max_length=1000)
    ),
    "min_tokens": optional(core_schema.int_schema(ge=0, le=2**31 - 1)),
    "ignore_eos": optional(core_schema.bool_schema()),
    "include_stop_str_in_output": optional(core_schema.bool_schema()),
    "skip_special_tokens": optional(core_schema.bool_schema()),
    "guided_json": optional(_SCHEMA),
    "guided_regex": optional(_PATTERN),
    "guided_choice": optional(_CHOICES),
    "guided_grammar": optional(_PATTERN),
    "structured_outputs": optional(_STRUCTURED),
    "stop": optional(core_schema.union_schema([TEXT, core_schema.list_schema(TEXT)])),
    "response_format": optional(_RESPONSE_FORMAT),
    "stream": optional(core_schema.bool_schema()),
    "stream_options": optional(
        core_schema.typed_dict_schema(
            {
                "include_usage": optional(core_schema.bool_schema()),
                "include_obfuscation": optional(core_schema.bool_schema()),
                "continuous_usage_stats": optional(core_schema.literal_schema([False])),
            },
            extra_behavior="forbid",
        )
    ),
}
