"""Blocks that ask language models: typed records, plain chat, streams and batches.

Knows schemas and prompts; whether the model runs beside the kernel or far away it cannot tell.
Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, TypeVar, Unpack, overload

from conduit_nb.blocks.ask_options import OnLength
from conduit_nb.blocks.asking import ModelAccess, Question, Said, joined
from conduit_nb.blocks.base import iterate, observed, wait_for
from conduit_nb.blocks.checks import (
    require_messages,
    require_models,
    require_positive,
    require_provider,
    require_served,
    require_within,
)
from conduit_nb.blocks.host import current_host
from conduit_nb.blocks.ports import as_list
from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.request import ComputeOptions, DeploymentRequest
from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.models.config import LmLiteModelConfig, split_revision
from conduit_nb.protocol import Message
from conduit_nb.schemas.partial import Partial
from conduit_nb.schemas.refusals import type_name
from conduit_nb.schemas.schema import kind_of_record

Record = TypeVar("Record")
Answer = TypeVar("Answer")


class LlmBlock:
    """Language models behind one name: call it, stream from it, or make typed tasks of it.

    `models` says which, by id, and in a LmLiteModelConfig within what bounds. They run on
    `compute_provider` (a member of ComputeProvider or a registered name); or in the running
    deployment that `on` names; or wherever `endpoint` says: the URL of any OpenAI-compatible
    server, whose key stands in the environment variable `api_key_env`. The other options are those
    of a deployment (`gpu`, `replicas`, `max_usd`, `constraint`, …, see DeploymentRequest), and of a
    model (`max_model_len`, …) that is named by its id. A provider that the constraint rules out is
    an ArgumentError.

    Everywhere, `guidance` is the instruction (by default the output's docstring), `examples` are
    pairs of input and output, `max_tokens` is by default what the context leaves. `model_id` may
    be left out where there is one model. An answer cut by a limit is a TruncatedError, whose
    `partial` is the record as far as it came; with `on_length="keep"` that is the answer, and only
    `task(...).detailed` tells it from a whole one.
    """

    runtime: ClassVar[str]
    """The name of the runtime that serves the models."""

    def __init__(
        self,
        models: Sequence[LmLiteModelConfig | str],
        compute_provider: ComputeProvider | str = ComputeProvider.LOCAL,
        *,
        endpoint: str | None = None,
        api_key_env: str | None = None,
        on: str | None = None,
        timeout_seconds: float = 600,
        name: str | None = None,
        **options: Unpack[ComputeOptions],
    ) -> None:
        if api_key_env is not None and endpoint is None:
            raise ArgumentError(
                "api_key_env= names the key of an endpoint, and no endpoint= is given.",
                param="api_key_env",
                hint="Give endpoint= too; what runs on a compute provider needs no key of yours.",
            )
        request = DeploymentRequest.parse(
            {
                **options,
                "models": require_models(models),
                "runtime": self.runtime,
                "provider": str(compute_provider),
            }
        )
        if endpoint is not None and on is not None:
            raise ArgumentError(
                "endpoint= and on= both say where the models are.",
                param="on",
                hint="Leave one of the two out.",
            )
        if endpoint is not None or on is not None:
            _require_nothing_to_start(request, "endpoint" if on is None else "on")
        else:
            require_provider(request.provider)
            require_within(request.constraint, request.provider)
            require_served(self.runtime, request.models)
        self.name = name or type(self).__name__
        self.models = request.models
        self.constraint = request.constraint
        target = None if endpoint is not None else request if on is None else on
        self._access = {
            config.model_id: ModelAccess(
                config,
                target=target,
                url=endpoint,
                api_key_env=api_key_env,
                timeout_s=require_positive("timeout_seconds", timeout_seconds),
            )
            for config in self.models
        }

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(self._access)})"

    @overload
    def __call__(
        self,
        *,
        input: Record,  # the name that users know
        output: type[Answer],
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Record, Answer]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
    ) -> Answer: ...
    @overload
    def __call__(
        self,
        *,
        messages: Sequence[Message],
        model_id: str | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> str: ...
    def __call__(
        self,
        *,
        input: Any = None,  # noqa: A002  # the name that users know
        output: Any = None,
        messages: Sequence[Message] | None = None,
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Any, Any]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
    ) -> Any:
        """Answer `input` with a record of `output`, or `messages` with text, and wait for it."""
        if messages is not None:
            _refuse_with_messages(input=input, output=output, guidance=guidance, examples=examples)
            access = self._access_to(model_id)
            question = Question(
                messages=require_messages(messages),
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            return wait_for(current_host(), lambda: _chat(self.name, access, question))
        task = self.task(
            kind_of_record(_given("input", input)),
            _given("output", output),
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            on_length=on_length,
        )
        return task(input)

    @overload
    def stream(
        self,
        *,
        input: Record,  # the name that users know
        output: type[Answer],
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Record, Answer]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
    ) -> Iterator[Partial[Answer] | Answer]: ...
    @overload
    def stream(
        self,
        *,
        messages: Sequence[Message],
        model_id: str | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Iterator[str]: ...
    def stream(
        self,
        *,
        input: Any = None,  # noqa: A002  # the name that users know
        output: Any = None,
        messages: Sequence[Message] | None = None,
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Any, Any]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
    ) -> Iterator[Any]:
        """Yield the answer as it is written; closing the iterator makes the model stop.

        Of a text its pieces; of a record what there is of it each time (see Partial), and at last
        the whole record, checked.
        """
        if messages is not None:
            _refuse_with_messages(input=input, output=output, guidance=guidance, examples=examples)
            access = self._access_to(model_id)
            question = Question(
                messages=require_messages(messages),
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            return iterate(current_host(), _chat_stream(self.name, access, question))
        task = self.task(
            kind_of_record(_given("input", input)),
            _given("output", output),
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            on_length=on_length,
        )
        return iterate(current_host(), task.stream(input))

    def batch(
        self,
        inputs: Sequence[Record],
        *,
        output: type[Answer],
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Record, Answer]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
    ) -> list[Answer | ConduitError]:
        """Answer many records of one type, in order; what goes wrong for one is in its place."""
        inputs = as_list(inputs, "batch", of="records", hint="Make a record of each.")
        if not inputs:
            return []
        task = self.task(
            kind_of_record(inputs[0]),
            output,
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            on_length=on_length,
        )
        return task.batch(inputs)

    def task(
        self,
        input_type: type[Record],
        output_type: type[Answer],
        *,
        model_id: str | None = None,
        guidance: str = "",
        examples: Sequence[tuple[Record, Answer]] = (),
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        on_length: OnLength = "error",
        confidence: bool = False,
        name: str | None = None,
    ) -> LlmTask[Record, Answer]:
        """Make a block that answers records of one type with records of another; it chains.

        With `confidence`, `detailed` tells how sure each chosen value is: see DetailedAnswer.
        """
        return LlmTask(
            input_type,
            output_type,
            access=self._access_to(model_id),
            question=Question(
                messages=(),
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                confidence=confidence,
            ),
            guidance=guidance,
            examples=examples,
            on_length=on_length,
            name=name or f"{self.name}.task({_name_of(input_type)} -> {_name_of(output_type)})",
        )

    def _access_to(self, model_id: str | None) -> ModelAccess:
        if model_id is None and len(self._access) == 1:
            return next(iter(self._access.values()))
        if model_id is not None:
            name, revision = split_revision(model_id)
            access = self._access.get(name)
            if access is not None and revision in (None, access.config.revision):
                return access
        raise ArgumentError(
            "The block has several models, and model_id does not say which."
            if model_id is None
            else f"The block has no model {model_id!r}.",
            param="model_id",
            hint=f"Give model_id= one of these: {', '.join(self._access)}.",
        )


async def _chat(name: str, access: ModelAccess, question: Question) -> str:
    with observed(name) as call:
        said = await access.ask(question, call)
        if said.is_cut:
            raise access.truncated(said.text)
        return said.text


async def _chat_stream(name: str, access: ModelAccess, question: Question) -> AsyncGenerator[str]:
    with observed(name) as call:
        pieces: list[Said] = []
        async with aclosing(access.stream(question, call)) as stream:
            async for piece in stream:
                pieces.append(piece)
                if piece.text:
                    yield piece.text
        said = joined(pieces)
        if said.is_cut:
            raise access.truncated(said.text)


def _require_nothing_to_start(request: DeploymentRequest, where: str) -> None:
    """Raise ArgumentError where an option says what to start, and `where` names what runs."""
    plain = DeploymentRequest(models=request.models, runtime=request.runtime)
    for option in (*request.differences(plain), *request.bounds()):
        name = "compute_provider" if option == "provider" else option
        raise ArgumentError(
            f"{name} applies to compute that Conduit starts, and {where}= names what runs.",
            param=name,
            hint="Leave one of the two out.",
        )


def _refuse_with_messages(**others: object) -> None:
    for name, value in others.items():
        if value:
            raise ArgumentError(
                f"messages= and {name}= do not go together.",
                param=name,
                hint="Ask with messages= for text, or with input= and output= for a record.",
            )


def _given(name: str, value: Any) -> Any:
    if value is None:
        raise ArgumentError(
            f"{name}= is missing.",
            param=name,
            hint="Ask with input= (a record) and output= (a dataclass), or with messages=.",
        )
    return value


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", None) or type_name(kind)


class LMLiteBlock(LlmBlock):
    """Language models in LmLite, Conduit's own runtime; see LlmBlock for all it can do.

    On this machine they run in the server beside the kernel that all notebooks share.
    """

    runtime: ClassVar[str] = "lmlite"


class VllmBlock(LlmBlock):
    """Language models in vLLM, one server for each; see LlmBlock for all it can do."""

    runtime: ClassVar[str] = "vllm"


class TensorRtBlock(LlmBlock):
    """Language models in TensorRT-LLM (`trtllm-serve`), one server for each; see LlmBlock."""

    runtime: ClassVar[str] = "tensorrt"


class CustomBlock(LlmBlock):
    """Language models in an image of one's own that speaks OpenAI's API: `image=`, `command=`.

    What runs already needs no image: give `endpoint=` to any of these blocks.
    """

    runtime: ClassVar[str] = "custom"


NAMED: dict[str, type[LlmBlock]] = {
    block.runtime: block for block in (LMLiteBlock, VllmBlock, TensorRtBlock, CustomBlock)
}


def block_type(runtime: str) -> type[LlmBlock]:
    """Return the block of that runtime; one that a package has registered has none of its own."""
    if runtime in NAMED:
        return NAMED[runtime]
    return type(f"LlmBlock[{runtime}]", (LlmBlock,), {"runtime": runtime})
