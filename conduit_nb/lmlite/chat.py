"""OpenAI's chat completions: the request checked field by field, replies whole or as chunks.

Knows no HTTP and no model.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from conduit_nb.lmlite.api_request import (
    COUNT,
    TOP_LOGPROBS,
    ApiRequest,
    ApiResponse,
    CompletionOutput,
    RequestValidator,
    common_parts,
    optional,
    refused,
    required,
)
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.lmlite.messages import (
    MESSAGES,
    ChatMessage,
    PromptOptions,
    ignored_fields,
    read_messages,
)
from conduit_nb.lmlite.request import TextGrammar
from conduit_nb.lmlite.tool_calls import (
    MAX_CALLS,
    ArgumentsPart,
    CallBegin,
    CallGrammar,
    CallPart,
    CallReader,
    TextPart,
)
from conduit_nb.lmlite.tools import TOOL_FIELDS, ToolUse, read_tools
from conduit_nb.protocol import (
    ChoiceLogprobs,
    FunctionCall,
    ReplyDetails,
    TokenLikelihood,
    ToolCall,
    TopLogprob,
    Usage,
)

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

NEUTRAL: dict[str, tuple[object, ...]] = {
    "modalities": (None, ["text"]),
    "audio": (None,),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
    "chat_template": (None,),
    "documents": (None, []),
    "mm_processor_kwargs": (None, {}),
    "add_special_tokens": (None, False),
    "include_reasoning": (None, True),
    "prompt": (None,),
    "input": (None,),
    "suffix": (None, ""),
}
EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# What a template is given by fields of the request.
RESERVED = frozenset(
    (
        *("conversation", "messages", "tools", "chat_template", "tokenize", "documents"),
        *("add_generation_prompt", "continue_final_message", "padding", "truncation"),
        *("max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
        "return_assistant_tokens_mask",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCompletionRequest(ApiRequest):
    """A request for replies to a chat."""

    messages: list[ChatMessage]
    prompt: PromptOptions
    tools: ToolUse | None = None

    @property
    def replies(self) -> int:
        """How many replies are to be written."""
        return self.n

    def grammar(self, engine: Engine) -> Mapping[str, Any] | TextGrammar | CallGrammar | None:
        """Return what a reply must be: a call where one is required, else what it may be."""
        tools = self.tools
        if tools is None:
            return self.json_schema if self.text_grammar is None else self.text_grammar
        if tools.forced:
            return tools.forced.parameters
        form = engine.call_format
        return CallGrammar(
            format=form,
            functions=tuple((one.name, one.parameters) for one in tools.callable_),
            is_required=tools.mode == "required",
            max_calls=MAX_CALLS if tools.is_parallel else 1,
            prefix=form.begin if tools.mode == "required" else "",
            record=self.json_schema,
        )

    def encode(self, engine: Engine) -> list[list[int]]:
        """Return the tokens of the one prompt."""
        options = self.prompt
        if self.tools:
            options = replace(options, reply_begin=self._reply_begin(engine))
        if options == PromptOptions():
            return [engine.encode_chat(self.messages)]
        return [engine.encode_chat(self.messages, options)]

    def response(self, request_id: str, engine: Engine) -> ChatCompletionResponse:
        """Return what formats the replies as chat completions."""
        reader = None
        if self.tools:
            reader = partial(
                CallReader,
                engine.call_format,
                is_anywhere=self.json_schema is None,
                prefix=self._reply_begin(engine),
            )
        return ChatCompletionResponse(
            f"chatcmpl-{request_id}",
            self.key.model_id,
            has_logprobs=self.sampling.top_logprobs is not None,
            reader=reader,
            is_legacy=self.tools is not None and self.tools.is_legacy,
        )

    def _reply_begin(self, engine: Engine) -> str:
        """Return what the prompt holds of a reply that must be a call."""
        if self.tools is None or self.tools.mode == "auto":
            return ""
        form, forced = engine.call_format, self.tools.forced
        return form.head(forced.name) if forced else form.begin


def parse_chat(body: bytes) -> ChatCompletionRequest:
    """Return the request in `body`.

    Raises RequestRefusedError that names every field that is wrong.
    """
    checked = CHAT_VALIDATOR.read(body)
    top_logprobs: int | None = checked.get("top_logprobs")
    if top_logprobs and not checked.get("logprobs"):
        raise refused(
            "top_logprobs",
            f"top_logprobs={top_logprobs} has no effect without logprobs.",
            "Set logprobs to true, or leave top_logprobs out.",
        )
    tools = read_tools(checked)
    common = common_parts(
        checked, top_logprobs=(top_logprobs or 0) if checked.get("logprobs") else None
    )
    if tools:
        _check_combination(common, tools, checked)
    return ChatCompletionRequest(
        **common,
        max_tokens=checked.get("max_completion_tokens") or checked.get("max_tokens"),
        messages=read_messages(checked["messages"]),
        prompt=_prompt_options(checked, tools),
        tools=tools,
    )


def _check_combination(
    common: Mapping[str, Any], tools: ToolUse, checked: Mapping[str, Any]
) -> None:
    """Raise RequestRefusedError where a request combines calls with what excludes them."""
    name = "functions" if tools.is_legacy else "tools"
    if common["text_grammar"] is not None:
        raise refused(
            name,
            f"{name} cannot be combined with a choice, a regular expression or a grammar.",
            f'Leave one of them out, or send {name} with tool_choice="none".',
        )
    for field in ("ignore_eos", "continue_final_message"):
        if checked.get(field):
            raise refused(
                field, f"{field} cannot be combined with {name}.", "Leave one of them out."
            )
    if checked.get("add_generation_prompt") is False:
        raise refused(
            "add_generation_prompt",
            f"add_generation_prompt=false cannot be combined with {name}.",
            "Leave one of them out.",
        )


def _prompt_options(checked: Mapping[str, Any], tools: ToolUse | None) -> PromptOptions:
    given: dict[str, Any] = {**(checked.get("chat_template_kwargs") or {})}
    for name in given:
        if name in RESERVED or not name.isidentifier():
            raise refused(
                "chat_template_kwargs",
                f"chat_template_kwargs cannot hold {name[:80]!r}.",
                "Pass what the model's chat template takes, such as enable_thinking.",
            )
    effort: str | None = checked.get("reasoning_effort")
    if effort == "none":
        given.setdefault("enable_thinking", False)
    elif effort is not None:  # as in vLLM: templates that know it show it, others pass over it
        given.setdefault("reasoning_effort", effort)
    continues = bool(checked.get("continue_final_message"))
    opens = checked.get("add_generation_prompt")
    if continues and opens:
        raise refused(
            "continue_final_message",
            "continue_final_message and add_generation_prompt cannot both be true.",
            "Leave add_generation_prompt out.",
        )
    return PromptOptions(
        tools=tuple(one.as_tool for one in tools.offered) if tools else (),
        template_kwargs=given,
        add_generation_prompt=not continues if opens is None else opens,
        continue_final_message=continues,
    )


class ChatCompletionResponse(ApiResponse):
    """Chat completions, whole or in chunks; `reader` makes what finds calls in a reply."""

    def __init__(
        self,
        response_id: str,
        model: str,
        *,
        has_logprobs: bool,
        reader: Callable[[], CallReader] | None = None,
        is_legacy: bool = False,
    ) -> None:
        super().__init__(response_id, model, has_logprobs=has_logprobs)
        self._make_reader = reader
        self._readers: dict[int, CallReader] = {}
        self._is_legacy = is_legacy

    def whole(self, replies: Sequence[CompletionOutput], usage: Usage) -> Mapping[str, Any]:
        """Return the body of a request that is not streamed."""
        return {
            "id": self.response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [self._choice(reply) for reply in replies],
            "usage": usage,
        }

    def opening(self, index: int) -> Mapping[str, Any]:
        """Return the chunk that says who speaks."""
        return self._chunk(
            CompletionOutput(index=index, text=""), {"role": "assistant", "content": ""}
        )

    def event(self, output: CompletionOutput) -> Mapping[str, Any]:
        """Return one chunk."""
        return self._chunk(output, {"content": output.text} if output.text else {})

    def events(self, output: CompletionOutput) -> Sequence[Mapping[str, Any]]:
        """Return the chunks of an output: text, beginnings of calls, arguments, each its own."""
        if self._make_reader is None:
            return [self.event(output)]
        deltas = [self._delta(part) for part in self._parts(output)]
        if not deltas and not output.logprobs and not output.finish_reason:
            return []
        if output.finish_reason or not deltas:
            deltas.append({})
        bare = replace(output, logprobs=(), confidence=None, finish_reason=None)
        return [
            *(self._chunk(bare, delta) for delta in deltas[:-1]),
            self._chunk(output, deltas[-1]),
        ]

    def usage_event(self, usage: Usage) -> Mapping[str, Any]:
        """Return the chunk that has no choices."""
        return {**self.opening(0), "choices": [], "usage": usage}

    def _parts(self, output: CompletionOutput) -> list[CallPart]:
        """Return what an output adds to its reply."""
        assert self._make_reader is not None
        reader = self._readers.get(output.index)
        parts: list[CallPart] = []
        if reader is None:
            reader = self._readers[output.index] = self._make_reader()
            parts += reader.opening()
        parts += reader.feed(output.text)
        if output.finish_reason:
            parts += reader.end()
        return parts

    def _delta(self, part: CallPart) -> dict[str, Any]:
        match part:
            case TextPart(text=text):
                return {"content": text}
            case CallBegin(name=name) if self._is_legacy:
                return {"function_call": FunctionCall(name=name, arguments="")}
            case ArgumentsPart(text=text) if self._is_legacy:
                return {"function_call": FunctionCall(arguments=text)}
            case CallBegin(index=index, name=name):
                function = FunctionCall(name=name, arguments="")
                call = ToolCall(index=index, id=_call_id(), type="function", function=function)
                return {"tool_calls": [call]}
            case ArgumentsPart(index=index, text=text):
                return {"tool_calls": [ToolCall(index=index, function={"arguments": text})]}

    def _reason(self, output: CompletionOutput) -> str | None:
        """Return the finish reason, as OpenAI names it for a reply with calls."""
        reader = self._readers.get(output.index)
        if output.finish_reason != "stop" or reader is None or not reader.calls:
            return output.finish_reason
        return "function_call" if self._is_legacy else "tool_calls"

    def _message(self, reply: CompletionOutput) -> dict[str, Any]:
        """Return the message of a whole reply."""
        if self._make_reader is None:
            return {"role": "assistant", "content": reply.text}
        text, calls = "", list[ToolCall]()
        for part in self._parts(reply):
            match part:
                case TextPart():
                    text += part.text
                case CallBegin(name=name):
                    function = FunctionCall(name=name, arguments="")
                    calls.append(ToolCall(id=_call_id(), type="function", function=function))
                case ArgumentsPart():
                    calls[-1]["function"]["arguments"] += part.text
        message: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text}
        if calls:
            message |= (
                {"function_call": calls[0]["function"]}
                if self._is_legacy
                else {"tool_calls": calls}
            )
        return message

    def _choice(self, reply: CompletionOutput) -> dict[str, Any]:
        message = self._message(reply)
        choice: dict[str, Any] = {
            "index": reply.index,
            "message": message,
            "logprobs": self._logprobs(reply.logprobs),
            "finish_reason": self._reason(reply),
        }
        if reply.confidence is not None:
            choice["conduit"] = ReplyDetails(confidence=dict(reply.confidence))
        return choice

    def _chunk(self, output: CompletionOutput, delta: Mapping[str, Any]) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": output.index,
            "delta": delta,
            "logprobs": self._logprobs(output.logprobs) if output.logprobs else None,
            "finish_reason": self._reason(output),
        }
        if output.confidence is not None:
            choice["conduit"] = ReplyDetails(confidence=dict(output.confidence))
        return {
            "id": self.response_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.model,
            "choices": [choice],
        }

    def _logprobs(self, entries: Sequence[TokenLogprob]) -> ChoiceLogprobs | None:
        if not self.has_logprobs:
            return None
        return ChoiceLogprobs(
            content=[
                TokenLikelihood(
                    **_top_logprob(entry.token, entry.logprob),
                    top_logprobs=[_top_logprob(token, value) for token, value in entry.top],
                )
                for entry in entries
            ],
            refusal=None,
        )


def _top_logprob(token: bytes, logprob: float) -> TopLogprob:
    return TopLogprob(token=token.decode(errors="replace"), bytes=list(token), logprob=logprob)


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _ignored_in_messages(request: Mapping[str, Any]) -> list[str]:
    return ignored_fields(request.get("messages"))


CHAT_VALIDATOR = RequestValidator(
    {
        "messages": required(MESSAGES),
        **TOOL_FIELDS,
        "chat_template_kwargs": optional(core_schema.dict_schema()),
        "add_generation_prompt": optional(core_schema.bool_schema()),
        "continue_final_message": optional(core_schema.bool_schema()),
        "reasoning_effort": optional(core_schema.literal_schema(EFFORTS)),
        "max_completion_tokens": optional(COUNT),
        "logprobs": optional(core_schema.bool_schema()),
        "top_logprobs": optional(TOP_LOGPROBS),
    },
    NEUTRAL,
    example='{"model": …, "messages": […]}',
    hint="See OpenAI's chat completions for what each field takes.",
    ignored_inside=_ignored_in_messages,
)
