"""protocol.py: our words for the wire are those of OpenAI's own client, read from its types."""

from __future__ import annotations

from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from openai.types import Model
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    completion_create_params,
)
from openai.types.chat.chat_completion_stream_options_param import (
    ChatCompletionStreamOptionsParam,
)
from openai.types.shared_params.response_format_json_schema import (
    JSONSchema,
    ResponseFormatJSONSchema,
)

from conduit_nb import protocol

REPLY: protocol.ChatReply = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "{}"},
            "finish_reason": "length",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
CHUNK: protocol.ChatChunk = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "{"}, "finish_reason": None}
    ],
    "usage": None,
}
MODEL: protocol.ModelInfo = {"id": "m", "object": "model", "created": 1, "owned_by": "conduit"}


@pytest.mark.parametrize(
    ("theirs", "ours"), [(ChatCompletion, REPLY), (ChatCompletionChunk, CHUNK), (Model, MODEL)]
)
def test_openais_client_reads_what_we_write(theirs: Any, ours: Any):
    read = theirs.model_validate(ours, strict=True)

    assert read.to_dict(exclude_unset=True) == ours
    assert not read.model_extra


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (protocol.ChatRequest, completion_create_params.CompletionCreateParamsBase),
        (protocol.StreamOptions, ChatCompletionStreamOptionsParam),
        (protocol.ResponseFormat, ResponseFormatJSONSchema),
        (protocol.JsonSchemaSpec, JSONSchema),
    ],
    ids=lambda kind: kind.__name__,
)
def test_what_we_ask_for_is_called_as_openai_calls_it(ours: Any, theirs: Any):
    additions = {"conduit"} if ours is protocol.ChatRequest else set()
    streaming = {"stream"}  # theirs stands in the two classes derived from the base

    unknown = set(get_type_hints(ours)) - set(get_type_hints(theirs)) - additions - streaming

    assert not unknown


def test_our_additions_stand_under_one_key():
    for kind in (protocol.ChatRequest, protocol.ModelInfo):
        ours = [name for name, hint in get_type_hints(kind).items() if _is_ours(hint)]

        assert ours == ["conduit"]


def _is_ours(hint: Any) -> bool:
    hints = get_args(hint) if get_origin(hint) is Union else (hint,)
    return any(one in (protocol.ModelOptions, protocol.LoadedModel) for one in hints)
