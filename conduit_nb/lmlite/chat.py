"""A chat request in, checked field by field; replies and chunks out, in OpenAI's words.

Knows no HTTP and no model.
Layer 3.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic_core import PydanticCustomError, core_schema

from conduit_nb.errors import RequestRefusedError
from conduit_nb.lmlite.answer import Answer, Piece
from conduit_nb.lmlite.call import (
    COUNT,
    TEXT,
    TOP_LOGPROBS,
    Call,
    CallForm,
    common_parts,
    optional,
    required,
)
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.protocol import (
    ChatChunk,
    ChatReply,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    Message,
    ReplyDetails,
    TokenLikelihood,
    TopLogprob,
    Usage,
)

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need

MOST_MESSAGES = 10_000
NEUTRAL: dict[str, tuple[object, ...]] = {
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "reasoning_effort": (None, "none"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall(Call):
    """A request for replies to a chat."""

    messages: list[Message]

    @property
    def replies(self) -> int:
        """How many replies are to be written."""
        return self.n

    def encode(self, engine: Engine) -> list[list[int]]:
        """Return the tokens of the one prompt."""
        return [engine.encode_chat(self.messages)]

    def answer(self, request_id: str) -> ChatAnswer:
        """Return what puts the replies into chat completions."""
        has_logprobs = self.sampling.top_logprobs is not None
        return ChatAnswer(f"chatcmpl-{request_id}", self.key.model_id, has_logprobs=has_logprobs)


def parse_chat(body: bytes) -> ChatCall:
    """Return what `body` asks for.

    Raises RequestRefusedError that names every field that is wrong.
    """
    checked = CHAT_FORM.read(body)
    top_logprobs: int | None = checked.get("top_logprobs")
    if top_logprobs and not checked.get("logprobs"):
        raise RequestRefusedError(
            f"top_logprobs={top_logprobs} tells nothing without logprobs.",
            hint="Set logprobs to true, or leave top_logprobs out.",
        )
    return ChatCall(
        **common_parts(
            checked, top_logprobs=(top_logprobs or 0) if checked.get("logprobs") else None
        ),
        max_tokens=checked.get("max_completion_tokens") or checked.get("max_tokens"),
        messages=[
            Message(role=message["role"], content=message["content"])
            for message in checked["messages"]
        ],
    )


class ChatAnswer(Answer):
    """Chat completions, whole or in chunks."""

    def whole(self, replies: Sequence[Piece], usage: Usage) -> ChatReply:
        """Return the body of a request that is not streamed."""
        return ChatReply(
            id=self.answer_id,
            object="chat.completion",
            created=int(time.time()),
            model=self.model,
            choices=[self._choice(reply) for reply in replies],
            usage=usage,
        )

    def opening(self, index: int) -> ChatChunk:
        """Return the chunk that says who speaks."""
        return self._chunk(Piece(index=index, text=""), Delta(role="assistant", content=""))

    def event(self, piece: Piece) -> ChatChunk:
        """Return one chunk."""
        return self._chunk(piece, Delta(content=piece.text) if piece.text else Delta())

    def usage_event(self, usage: Usage) -> ChatChunk:
        """Return the chunk that has no choices."""
        return {**self.opening(0), "choices": [], "usage": usage}

    def _choice(self, reply: Piece) -> Choice:
        choice = Choice(
            index=reply.index,
            message=Message(role="assistant", content=reply.text),
            logprobs=self._logprobs(reply.logprobs),
            finish_reason=reply.finish_reason,
        )
        if reply.confidence is not None:
            choice["conduit"] = ReplyDetails(confidence=dict(reply.confidence))
        return choice

    def _chunk(self, piece: Piece, delta: Delta) -> ChatChunk:
        choice = ChunkChoice(
            index=piece.index,
            delta=delta,
            logprobs=self._logprobs(piece.logprobs) if piece.logprobs else None,
            finish_reason=piece.finish_reason,
        )
        if piece.confidence is not None:
            choice["conduit"] = ReplyDetails(confidence=dict(piece.confidence))
        return ChatChunk(
            id=self.answer_id,
            object="chat.completion.chunk",
            created=int(time.time()),
            model=self.model,
            choices=[choice],
        )

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


_MESSAGE = core_schema.typed_dict_schema(
    {
        "role": required(core_schema.no_info_plain_validator_function(_role)),
        "content": required(core_schema.no_info_plain_validator_function(_content)),
        "name": optional(TEXT),
    },
    extra_behavior="forbid",
)
CHAT_FORM = CallForm(
    {
        "messages": required(
            core_schema.list_schema(_MESSAGE, min_length=1, max_length=MOST_MESSAGES)
        ),
        "max_completion_tokens": optional(COUNT),
        "logprobs": optional(core_schema.bool_schema()),
        "top_logprobs": optional(TOP_LOGPROBS),
    },
    NEUTRAL,
    example='{"model": …, "messages": […]}',
    hint="See OpenAI's chat completions for what each field takes.",
)
