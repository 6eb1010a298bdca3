"""The OpenAI wire types that clients and servers of ours speak, and our additions to them.

Requests are written by us and refused when malformed (by the server); replies of other servers
may hold fields that are not listed here, and those are ignored. Our additions stand under one
key, `conduit`, so that no other server's field is ever meant.
Layer 1.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

FinishReason = Literal["stop", "length"]
Role = Literal["system", "user", "assistant"]
Dialect = Literal["lmlite", "openai", "tensorrt"]
"""How a server is spoken to: whether it knows our additions, and how a schema is told to it."""


class FunctionCall(TypedDict):
    """A function that the model calls, and its arguments as JSON."""

    name: NotRequired[str]
    arguments: str


class ToolCall(TypedDict):
    """A call in a reply; in a chunk a piece of it, which has an `index`, and an `id` at first."""

    index: NotRequired[int]
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: FunctionCall


class Message(TypedDict):
    """One turn of a chat."""

    role: Role
    content: str


class JsonSchemaSpec(TypedDict):
    """What `response_format` names."""

    name: str
    schema: dict[str, Any]
    strict: NotRequired[bool]


class ResponseFormat(TypedDict):
    """How a reply must look."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NotRequired[JsonSchemaSpec]


class TensorRtFormat(TypedDict):
    """The same in TensorRT-LLM's words, which are no one else's: the bare schema."""

    type: Literal["json"]
    schema: dict[str, Any]


class ModelOptions(TypedDict):
    """Our addition to a request: how the model is to be loaded and bounded.

    The engine that serves is keyed by model id, revision, dtype and quantization; `max_model_len`
    bounds prompt plus reply of this request; `confidence` asks how sure the reply is of the values
    that it chose from a few; `batch_timeout_ms` is how long it may wait for company where the
    engine is idle; `deadline_s` seconds after its arrival it fails where it is not finished.
    """

    revision: NotRequired[str | None]
    dtype: NotRequired[str]
    quantization: NotRequired[str | None]
    max_model_len: NotRequired[int | None]
    confidence: NotRequired[bool]
    batch_timeout_ms: NotRequired[int | None]
    deadline_s: NotRequired[float | None]


class StreamOptions(TypedDict):
    """What a stream carries besides text."""

    include_usage: NotRequired[bool]


class ChatRequest(TypedDict):
    """Body of POST /v1/chat/completions. `max_tokens` left out: what the context leaves."""

    model: str
    messages: list[Message]
    max_tokens: NotRequired[int | None]
    temperature: NotRequired[float]
    top_p: NotRequired[float]
    seed: NotRequired[int | None]
    stop: NotRequired[str | list[str] | None]
    response_format: NotRequired[ResponseFormat | TensorRtFormat]
    stream: NotRequired[bool]
    stream_options: NotRequired[StreamOptions]
    conduit: NotRequired[ModelOptions]


class Usage(TypedDict):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(TypedDict):
    """A token and its log probability; `bytes` are the token's where it is half a character."""

    token: str
    bytes: list[int] | None
    logprob: float


class TokenLikelihood(TopLogprob):
    """A token of a reply, and what could have stood there instead."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(TypedDict):
    """How likely the tokens of a reply were."""

    content: list[TokenLikelihood] | None
    refusal: None


class ReplyDetails(TypedDict):
    """Our addition to a reply: the probability of each value that was chosen from a few.

    By JSON pointer: the product of the masked probabilities of the tokens that decide the value.
    """

    confidence: NotRequired[dict[str, float]]


class Choice(TypedDict):
    """One reply."""

    index: int
    message: Message
    logprobs: NotRequired[ChoiceLogprobs | None]
    finish_reason: FinishReason | None
    conduit: NotRequired[ReplyDetails]


class ChatReply(TypedDict):
    """Body of the answer to a chat request that is not streamed."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(TypedDict):
    """What a chunk adds."""

    role: NotRequired[Role]
    content: NotRequired[str]


class ChunkChoice(TypedDict):
    """One reply's part in a chunk."""

    index: int
    delta: Delta
    logprobs: NotRequired[ChoiceLogprobs | None]
    finish_reason: FinishReason | None
    conduit: NotRequired[ReplyDetails]


class ChatChunk(TypedDict):
    """One event of a streamed answer; the last before `[DONE]` has usage and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[Usage | None]


class TextLogprobs(TypedDict):
    """How likely the tokens of a completion were, in columns."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(TypedDict):
    """One completion, or in a stream a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextReply(TypedDict):
    """Body of the answer to POST /v1/completions, and each event of it where it is streamed."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: NotRequired[Usage | None]


class Misfit(TypedDict):
    """The numbers of a DoesNotFitError: our addition to an error."""

    needed_gib: float
    available_gib: float
    largest_model_len: int | None
    largest_concurrency: int | None


class ErrorDetail(TypedDict):
    """What went wrong. `code` is a ConduitError's code where the server is ours, and the message
    ends with the `hint`.

    `needed_tokens` is ours too: what the shortest record takes where max_tokens leaves less; and
    so is `reason`, which tells errors of one code apart.
    """

    message: str
    type: str
    param: NotRequired[str | None]
    code: NotRequired[str | None]
    hint: NotRequired[str]
    conduit: NotRequired[Misfit]
    needed_tokens: NotRequired[int]
    reason: NotRequired[str]


class ErrorReply(TypedDict):
    """Body of every answer that is an error."""

    error: ErrorDetail


class ModelInfo(TypedDict):
    """One entry of GET /v1/models; what stands under `conduit` is our addition."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    conduit: NotRequired[LoadedModel]


class LoadedModel(TypedDict):
    """A model in our server. `state` is "loading", "ready" or "failed".

    `attention` says of one that is ready whether its rows are "packed" into one forward, or each
    has its own, which is slower ("fallback"). `memory_bytes` is what is planned for it, of all its
    `replicas` together; `device` names theirs.
    """

    state: Literal["loading", "ready", "failed"]
    revision: str | None
    dtype: str
    device: str
    context_tokens: int
    running: int
    waiting: int
    attention: NotRequired[Literal["packed", "fallback"]]
    memory_bytes: NotRequired[int]
    replicas: NotRequired[int]
    quantization: NotRequired[str]
    detail: NotRequired[str]


class DeviceMemory(TypedDict):
    """What models may take of a device together, and what is planned for those that are there."""

    device: str
    budget_bytes: int
    planned_bytes: int


class ServerMemory(TypedDict):
    """Our addition to the list of models: the memory that they share."""

    devices: list[DeviceMemory]


class ModelList(TypedDict):
    """Body of GET /v1/models."""

    object: Literal["list"]
    data: list[ModelInfo]
    conduit: NotRequired[ServerMemory]


class LoadRequest(TypedDict):
    """Body of POST /v1/models/load, ours alone: a model to load before it is asked for.

    Each of its `replicas` goes on a device of its own. The answer is a ModelInfo.
    """

    model: str
    replicas: NotRequired[int]
    conduit: NotRequired[ModelOptions]


class ModelDeleted(TypedDict):
    """Body of the answer to DELETE /v1/models/{id}: it is not loaded any more."""

    id: str
    object: Literal["model"]
    deleted: Literal[True]


class Health(TypedDict):
    """Body of GET /health: who answers, and whether it can take requests."""

    status: Literal["ok", "stopping"]
    version: str
    device: str
    idle_s: float
    models: dict[str, str]
