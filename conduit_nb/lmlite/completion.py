"""OpenAI's older completions: plain text in, what may follow it out. No chat template.

Knows no HTTP and no model.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic_core import PydanticCustomError, core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.api_request import (
    MAX_REPLIES,
    TOP_LOGPROBS,
    ApiRequest,
    ApiResponse,
    CompletionOutput,
    RequestValidator,
    common_parts,
    optional,
    required,
)
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.protocol import TextChoice, TextLogprobs, TextReply, Usage

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for this endpoint."""

NEUTRAL: dict[str, tuple[object, ...]] = {
    "suffix": (None, ""),
    "add_special_tokens": (None, True),
    "messages": (None,),
    "tools": (None, []),
    "tool_choice": (None, "none"),
    "functions": (None, []),
    "chat_template_kwargs": (None, {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest(ApiRequest):
    """A request for what follows each of `prompts`."""

    prompts: tuple[str, ...]

    @property
    def replies(self) -> int:
        """How many replies are to be written."""
        return self.n * len(self.prompts)

    def encode(self, engine: Engine) -> list[list[int]]:
        """Return the tokens of each prompt, control tokens that it spells included."""
        return [engine.encode_text(prompt) for prompt in self.prompts]

    def response(self, request_id: str, engine: Engine) -> CompletionResponse:  # noqa: ARG002  # text is text
        """Return what puts the replies into completions."""
        has_logprobs = self.sampling.top_logprobs is not None
        return CompletionResponse(
            f"cmpl-{request_id}", self.key.model_id, has_logprobs=has_logprobs
        )


def parse_completion(body: bytes) -> CompletionRequest:
    """Return the request in `body`.

    Raises RequestRefusedError that names every field that is wrong.
    """
    checked = COMPLETION_VALIDATOR.read(body)
    request = CompletionRequest(
        **common_parts(checked, top_logprobs=checked.get("logprobs")),
        max_tokens=checked.get("max_tokens") or DEFAULT_MAX_TOKENS,
        prompts=checked["prompt"],
    )
    if request.confidence:
        raise RequestRefusedError(
            "conduit.confidence is not supported by this endpoint.",
            param="conduit.confidence",
            hint="Use /v1/chat/completions, or leave confidence out.",
        )
    if request.replies > MAX_REPLIES:
        raise RequestRefusedError(
            f"prompt and n ask for {request.replies:,} replies; one request gets at most"
            f" {MAX_REPLIES}.",
            param="n",
            hint="Send fewer prompts at once, or lower n.",
        )
    return request


class CompletionResponse(ApiResponse):
    """Completions, whole or in events of the same shape."""

    def __init__(self, response_id: str, model: str, *, has_logprobs: bool) -> None:
        super().__init__(response_id, model, has_logprobs=has_logprobs)
        self._emitted: dict[int, int] = defaultdict(int)

    def whole(self, replies: Sequence[CompletionOutput], usage: Usage) -> TextReply:
        """Return the body of a request that is not streamed."""
        return {**self._reply([self._choice(reply) for reply in replies]), "usage": usage}

    def opening(self, index: int) -> None:  # noqa: ARG002  # there is no such event
        """Begin with the first text."""
        return

    def event(self, output: CompletionOutput) -> TextReply:
        """Return one event."""
        return self._reply([self._choice(output)])

    def usage_event(self, usage: Usage) -> TextReply:
        """Return the event that has no choices."""
        return {**self._reply([]), "usage": usage}

    def _reply(self, choices: list[TextChoice]) -> TextReply:
        return TextReply(
            id=self.response_id,
            object="text_completion",
            created=int(time.time()),
            model=self.model,
            choices=choices,
        )

    def _choice(self, output: CompletionOutput) -> TextChoice:
        return TextChoice(
            index=output.index,
            text=output.text,
            logprobs=self._logprobs(output) if self.has_logprobs else None,
            finish_reason=output.finish_reason,
        )

    def _logprobs(self, output: CompletionOutput) -> TextLogprobs:
        """Return the entries as columns; offsets are characters of the reply's whole text."""
        offsets: list[int] = []
        for entry in output.logprobs:
            offsets.append(self._emitted[output.index])
            self._emitted[output.index] += _characters(entry.token) if entry.is_text else 0
        return TextLogprobs(
            tokens=[_text(entry.token) for entry in output.logprobs],
            token_logprobs=[entry.logprob for entry in output.logprobs],
            top_logprobs=[_top(entry) for entry in output.logprobs],
            text_offset=offsets,
        )


def _top(entry: TokenLogprob) -> dict[str, float]:
    """Return the likeliest tokens and the one that was taken; halves of characters may share a
    name, and the likeliest of them has it.
    """
    likeliest: dict[str, float] = {}
    for token, logprob in (*entry.top, (entry.token, entry.logprob)):
        likeliest.setdefault(_text(token), logprob)
    return likeliest


def _text(token: bytes) -> str:
    return token.decode(errors="replace")


def _characters(token: bytes) -> int:
    """Return how many characters begin in the bytes of a token."""
    return sum(byte & 0xC0 != 0x80 for byte in token)


def _prompts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list):
        texts = cast("list[object]", value)
        prompts = tuple(text for text in texts if isinstance(text, str) and text)
        if 0 < len(prompts) == len(texts):
            return prompts
    raise PydanticCustomError(
        "prompt", "must be a text or a list of texts, none of them empty (tokens are not taken)"
    )


COMPLETION_VALIDATOR = RequestValidator(
    {
        "prompt": required(core_schema.no_info_plain_validator_function(_prompts)),
        "logprobs": optional(TOP_LOGPROBS),
    },
    NEUTRAL,
    example='{"model": …, "prompt": …}',
    hint="See OpenAI's completions for what each field takes.",
)
