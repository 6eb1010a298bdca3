"""lmlite/answer.py: whatever the endpoint, OpenAI's own types read what is said."""

from __future__ import annotations

from typing import Any

import pydantic_core
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from conduit_nb.lmlite.answer import Answer, Piece
from conduit_nb.lmlite.chat import ChatAnswer
from conduit_nb.lmlite.completion import TextAnswer
from conduit_nb.lmlite.logprobs import TokenLogprob
from conduit_nb.protocol import Usage

USAGE = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
ENTRY = TokenLogprob(token=b"\xc3", logprob=-0.5, top=((b"\xc3", -0.5), (b"a", -1.5)))
PIECES = (
    Piece(index=0, text="ß", logprobs=(ENTRY,), finish_reason="stop"),
    Piece(index=1, text="", finish_reason="length"),
)


@pytest.mark.parametrize("has_logprobs", [True, False])
@pytest.mark.parametrize(
    ("kind", "whole", "event"),
    [
        (ChatAnswer, ChatCompletion, ChatCompletionChunk),
        (TextAnswer, Completion, Completion),
    ],
)
def test_openais_client_reads_what_we_write(
    kind: type[Answer], whole: Any, event: Any, has_logprobs: bool
):
    answer = kind("id-1", "m", has_logprobs=has_logprobs)
    opening = answer.opening(0)
    said = [
        (whole, answer.whole(PIECES, USAGE)),
        *[(event, answer.event(piece)) for piece in PIECES if piece.logprobs],
        (event, answer.usage_event(USAGE)),
        *([(event, opening)] if opening else []),
    ]

    for theirs, ours in said:
        read = theirs.model_validate_json(pydantic_core.to_json(ours))
        assert not read.model_extra
        assert read.to_dict(exclude_unset=True) == ours
