"""The block that asks a language model: typed records, plain chat, streams and batches.

Knows schemas and prompts; whether the model runs beside the kernel or far away it cannot tell.
Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar, cast, overload

from conduit_nb.blocks.asking import ModelAccess, Question
from conduit_nb.blocks.base import Block, Call, observed, wait_for
from conduit_nb.blocks.checks import (
    require_messages,
    require_models,
    require_positive,
    require_provider,
)
from conduit_nb.blocks.host import current_host
from conduit_nb.blocks.ports import Port
from conduit_nb.blocks.streams import iterate
from conduit_nb.compute.offerings import ComputeProvider
from conduit_nb.errors import ArgumentError, ConduitError, SchemaError, ValidationError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Message
from conduit_nb.schemas import Schema, prompt_messages

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Record = TypeVar("Record")
Answer = TypeVar("Answer")

INSTRUCTION = "Read the input and fill the output."
"""What a model is told where nobody says more; small models need to be told something."""


class LMLiteBlock:
    """Language models behind one name: call it, stream from it, or make typed tasks of it.

    `models` says which, by id, and in a LmLiteModelConfig within what bounds. They run on
    `compute_provider` (a member of ComputeProvider or a registered name), or wherever `endpoint`
    says: the URL of any OpenAI-compatible server, whose key stands in the environment variable
    `api_key_env`.

    Everywhere, `guidance` is the instruction (by default the output's docstring), `examples` are
    pairs of input and output, `max_tokens` is by default what the context leaves. `model_id` may
    be left out where there is one model. An answer cut by a limit is a TruncatedError.
    """

    def __init__(
        self,
        models: Sequence[LmLiteModelConfig | str],
        compute_provider: ComputeProvider | str = ComputeProvider.LOCAL,
        *,
        endpoint: str | None = None,
        api_key_env: str | None = None,
        timeout_seconds: float = 600,
        name: str | None = None,
    ) -> None:
        if api_key_env is not None and endpoint is None:
            raise ArgumentError(
                "api_key_env= names the key of an endpoint, and no endpoint= is given.",
                hint="Give endpoint= too; what runs on a compute provider needs no key of yours.",
            )
        if endpoint is None:
            require_provider(compute_provider)
        self.name = name or type(self).__name__
        self.models = require_models(models)
        self._access = {
            config.model_id: ModelAccess(
                config,
                provider=str(compute_provider),
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
            _type_of(_given("input", input)),
            _given("output", output),
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
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
    ) -> Iterator[str]: ...
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
    ) -> Iterator[str]:
        """Yield the answer's text as it is written; closing the iterator makes the model stop.

        The text of a record is JSON, and is checked when it is whole.
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
            _type_of(_given("input", input)),
            _given("output", output),
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
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
    ) -> list[Answer | ConduitError]:
        """Answer many records of one type, in order; what goes wrong for one is in its place."""
        if not inputs:
            return []
        task = self.task(
            _type_of(inputs[0]),
            output,
            model_id=model_id,
            guidance=guidance,
            examples=examples,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
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
        name: str | None = None,
    ) -> LlmTask[Record, Answer]:
        """Make a block that answers records of one type with records of another; it chains."""
        return LlmTask(
            input_type,
            output_type,
            access=self._access_to(model_id),
            question=Question(
                messages=(), max_tokens=max_tokens, temperature=temperature, seed=seed
            ),
            guidance=guidance,
            examples=examples,
            name=name or f"{self.name}.task({_name_of(input_type)} -> {_name_of(output_type)})",
        )

    def _access_to(self, model_id: str | None) -> ModelAccess:
        if model_id is None and len(self._access) == 1:
            return next(iter(self._access.values()))
        if model_id is not None and model_id in self._access:
            return self._access[model_id]
        raise ArgumentError(
            "The block has several models, and model_id does not say which."
            if model_id is None
            else f"The block has no model {model_id!r}.",
            hint=f"Give model_id= one of these: {', '.join(self._access)}.",
        )


class LlmTask(Block[In, Out]):
    """One thing that a model is asked again and again; made by `LMLiteBlock.task`."""

    def __init__(
        self,
        input_type: type[In],
        output_type: type[Out],
        *,
        access: ModelAccess,
        question: Question,
        guidance: str,
        examples: Sequence[tuple[Any, Any]],
        name: str,
    ) -> None:
        super().__init__(input_type, output_type, name=name)
        self._given: Schema[Any] = _only_schema(self.input_port, "input", name)
        self._wanted: Schema[Any] = _only_schema(self.output_port, "output", name)
        self._wanted.require_model_output()
        self._access = access
        self._question = replace(
            question, json_schema=self._wanted.json_schema, schema_name=self._wanted.name
        )
        self._guidance = guidance or self._wanted.instruction or INSTRUCTION
        self._examples = tuple(examples)
        for number, (given, wanted) in enumerate(self._examples):
            self.input_port.check(given, subject=f"input of examples[{number}]")
            self.output_port.check(wanted, subject=f"output of examples[{number}]")

    async def _run(self, record: In, call: Call) -> Out:
        text = await self._access.ask(self._asking(record), call)
        return self._read(text)

    async def stream(self, record: In) -> AsyncGenerator[str]:
        """Yield the answer's JSON as it is written; what is wrong with it is raised at its end."""
        with observed(self.name) as call:
            self.input_port.check(record, subject=f"input of {self.name}")
            said: list[str] = []
            async with aclosing(self._access.stream(self._asking(record), call)) as texts:
                async for text in texts:
                    said.append(text)
                    yield text
            self._read("".join(said))

    def _asking(self, record: In) -> Question:
        messages = prompt_messages(
            instruction=self._guidance,
            input=self._given,
            output=self._wanted,
            record=self.input_port.exact(record),
            examples=self._examples,
        )
        return replace(self._question, messages=cast("list[Message]", messages))

    def _read(self, text: str) -> Out:
        try:
            return cast("Out", self._wanted.decode(text))
        except ValidationError as error:
            raise ValidationError(
                error.problems, subject=f"answer of {self._access.config.model_id}", text=text
            ) from error


async def _chat(name: str, access: ModelAccess, question: Question) -> str:
    with observed(name) as call:
        return await access.ask(question, call)


async def _chat_stream(name: str, access: ModelAccess, question: Question) -> AsyncGenerator[str]:
    with observed(name) as call:
        async with aclosing(access.stream(question, call)) as texts:
            async for text in texts:
                yield text


def _refuse_with_messages(**others: object) -> None:
    for name, value in others.items():
        if value:
            raise ArgumentError(
                f"messages= and {name}= do not go together.",
                hint="Ask with messages= for text, or with input= and output= for a record.",
            )


def _given(name: str, value: Any) -> Any:
    if value is None:
        raise ArgumentError(
            f"{name}= is missing.",
            hint="Ask with input= (a record) and output= (a dataclass), or with messages=.",
        )
    return value


def _only_schema(port: Port, side: str, name: str) -> Schema[Any]:
    if port.takes_none or len(port.schemas) != 1:
        raise SchemaError(
            f"the {side} of {name} is {port}, and a model is asked with one dataclass",
            hint="Make a dataclass with one field of that type.",
        )
    return port.schemas[0]


def _type_of(record: Record) -> type[Record]:
    return cast("type[Record]", getattr(record, "__orig_class__", type(record)))


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
