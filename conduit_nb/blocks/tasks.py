"""One thing that a model is asked again and again: a typed task.

Knows schemas and prompts; how a model is reached is told by its access.
Layer 3.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from conduit_nb.blocks.ask_options import OnLength
from conduit_nb.blocks.asking import ModelAccess, Question, Said, joined
from conduit_nb.blocks.base import Block, Call, as_block_error, observed, run_all, wait_for
from conduit_nb.blocks.host import current_host
from conduit_nb.blocks.ports import Port, snapshot, snapshots
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ArgumentError, ConduitError, SchemaError, ValidationError
from conduit_nb.protocol import Message
from conduit_nb.schemas import Schema, prompt_messages
from conduit_nb.schemas.partial import Partial, PartialRecords

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class DetailedAnswer(Generic[Answer]):
    """A record, and how far it can be trusted.

    `is_truncated`: the token limit ended it. What the model had begun is closed in the shortest
    way, what it had not begun is missing, or empty where the schema demands it.

    `confidence` is, for each value that was chosen from a few (`bool`, `Literal`, `Enum`), the
    probability that the model gave to it, by path: `sentiment`, `order.kind`, `items[0].color`.
    It is what the model gave to this value among all that the type allows, after what stands before
    it: good for sorting, so that the least sure rows are checked first. It is not how often such
    answers are right, knows nothing of the fields before and after, and counts the one way of
    writing the value that was taken. Values that were written only to close a truncated record
    have none.
    """

    record: Answer
    is_truncated: bool = False
    confidence: dict[str, float] = field(default_factory=dict[str, float])


def require_on_length(value: str) -> OnLength:
    """Return what is to be done with a truncated answer; ArgumentError where it is no such word."""
    if value not in ("error", "keep"):
        raise ArgumentError(
            f"on_length={value!r} is neither 'error' nor 'keep'.",
            param="on_length",
            hint="'error' makes a truncated answer a TruncatedError, 'keep' takes what there is.",
        )
    return value


def path_of(pointer: str) -> str:
    """Return a JSON pointer as a path in a record: `/items/0/color` is `items[0].color`."""
    path = ""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if key.isdecimal():
            path += f"[{key}]"
        elif key.isidentifier():
            path += f".{key}" if path else key
        else:
            path += f"[{key!r}]"
    return path


In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)

INSTRUCTION = "Read the input and fill the output."
"""What a model is told where nobody says more; small models need to be told something."""


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
        on_length: OnLength,
        name: str,
    ) -> None:
        super().__init__(input_type, output_type, name=name)
        self._access = access
        self._on_length = require_on_length(on_length)
        self._question = question
        self._own_guidance = guidance
        self._examples = tuple(snapshots(examples))
        self._prepare()

    def renew(self) -> None:
        ports = (self.input_port, self.output_port)
        super().renew()
        if ports != (self.input_port, self.output_port):
            self._prepare()

    def _prepare(self) -> None:
        """Make what every question has, of the classes as they are now, and check the examples."""
        self._given: Schema[Any] = _only_schema(self.input_port, "input", self.name)
        self._wanted: Schema[Any] = _only_schema(self.output_port, "output", self.name)
        self._wanted.require_model_output()
        self._question = replace(
            self._question, json_schema=self._wanted.json_schema, schema_name=self._wanted.name
        )
        self._guidance = self._own_guidance or self._wanted.instruction or INSTRUCTION
        for number, (given, wanted) in enumerate(self._examples):
            self.input_port.check(given, subject=f"input of examples[{number}]")
            self.output_port.check(wanted, subject=f"output of examples[{number}]")

    @property
    def detailed(self) -> DetailedTask[In, Out]:
        """The same task, which answers with a DetailedAnswer: truncated or not, and how sure."""
        return DetailedTask(self)

    @property
    def model_id(self) -> str:
        """The model that is asked."""
        return self._access.config.model_id

    @property
    def max_model_len(self) -> int | None:
        """How many tokens prompt and reply may have together; None takes the model's own limit."""
        return self._access.config.max_model_len

    @property
    def target(self) -> DeploymentRequest | str | None:
        """What has to run for it, or the deployment that was named with `on`.

        None where a server of somebody's own answers.
        """
        return self._access.target

    def messages(self, record: In) -> Sequence[Message]:
        """Return what the model is told for one record."""
        return self._asking(record).messages

    def stream(self, record: In) -> AsyncGenerator[Partial[Out] | Out]:
        """Yield what there is of the answer each time something comes, at last the record itself.

        What is wrong with it is raised at its end.
        """
        return self._stream(snapshot(record))

    async def _stream(self, record: In) -> AsyncGenerator[Partial[Out] | Out]:
        with observed(self.name) as call:
            self.renew()
            self.input_port.check(record, subject=f"input of {self.name}", user=self.name)
            partial: PartialRecords[Out] = PartialRecords(self._wanted)
            pieces: list[Said] = []
            async with aclosing(self._access.stream(self._asking(record), call)) as stream:
                async for piece in stream:
                    pieces.append(piece)
                    if piece.text:
                        yield partial.feed(piece.text)
            yield self._read(joined(pieces)).record

    def run_detailed(self, record: In) -> Coroutine[Any, Any, DetailedAnswer[Out]]:
        """Answer one record like `run`, with what is known about the answer.

        Classes that are defined again meanwhile are not looked at: a run over many rows takes all
        of them by what it began with.
        """
        return self._run_checked_detailed(snapshot(record))

    async def _run_checked_detailed(self, record: In) -> DetailedAnswer[Out]:
        with observed(self.name) as call:
            self.input_port.check(record, subject=f"input of {self.name}", user=self.name)
            with as_block_error(self.name):
                answer = await self._detailed(record, call)
            self.output_port.check(answer.record, subject=f"output of {self.name}")
        return answer

    async def _run(self, record: In, call: Call) -> Out:
        return (await self._detailed(record, call)).record

    async def _detailed(self, record: In, call: Call) -> DetailedAnswer[Out]:
        return self._read(await self._access.ask(self._asking(record), call))

    def _asking(self, record: In) -> Question:
        messages = prompt_messages(
            instruction=self._guidance,
            input=self._given,
            output=self._wanted,
            record=self.input_port.exact(record),
            examples=self._examples,
        )
        return replace(self._question, messages=cast("list[Message]", messages))

    def _read(self, said: Said) -> DetailedAnswer[Out]:
        record = self._closed(said.text) if said.is_cut else self._decoded(said.text)
        confidence = {path_of(pointer): figure for pointer, figure in said.confidence.items()}
        return DetailedAnswer(record=record, is_truncated=said.is_cut, confidence=confidence)

    def _closed(self, text: str) -> Out:
        record: Out | None = self._wanted.close(text)
        if record is None or self._on_length == "error":
            raise self._access.truncated(text, record)
        return record

    def _decoded(self, text: str) -> Out:
        try:
            return cast("Out", self._wanted.decode(text))
        except ValidationError as error:
            raise ValidationError(
                error.problems, subject=f"answer of {self._access.config.model_id}", text=text
            ) from error


class DetailedTask(Generic[In, Out]):
    """A task whose answers come with what is known about them; made by `LlmTask.detailed`."""

    def __init__(self, task: LlmTask[In, Out]) -> None:
        self._task = task

    def __repr__(self) -> str:
        return f"{self._task!r}, detailed"

    def __call__(self, record: In) -> DetailedAnswer[Out]:
        """Answer one record and wait for it; an interrupt cancels the work."""
        self._task.renew()
        return wait_for(current_host(), lambda: self.run(record))

    def run(self, record: In) -> Coroutine[Any, Any, DetailedAnswer[Out]]:
        """Answer one record."""
        return self._task.run_detailed(record)

    def batch(self, records: Sequence[In]) -> list[DetailedAnswer[Out] | ConduitError]:
        """Answer many records, in order; what goes wrong for one is the error in its place."""
        self._task.renew()
        several = self._task.input_port.several(records, f"{self._task.name}.batch")
        return wait_for(current_host(), lambda: run_all(self.run, several))


def _only_schema(port: Port, side: str, name: str) -> Schema[Any]:
    if port.takes_none or len(port.schemas) != 1:
        raise SchemaError(
            f"the {side} of {name} is {port}, and a model is asked with one dataclass",
            hint="Make a dataclass with one field of that type.",
        )
    return port.schemas[0]
