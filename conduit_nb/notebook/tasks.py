"""From a cell's options to a block that asks a model."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from conduit_nb import settings
from conduit_nb.blocks.ask_options import AskOptions
from conduit_nb.blocks.base import Block
from conduit_nb.blocks.llm import block_type
from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.request import ANY, LMLITE
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import BlockOptions, ModelOptions
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.expressions import BUILTINS, overwritten, resolve
from conduit_nb.notebook.frames import read_examples
from conduit_nb.notebook.mdl_display import SchemaListings
from conduit_nb.notebook.reloaded import require_reloaded
from conduit_nb.notebook.shell import Cell, show_line
from conduit_nb.options import options_of, parse_options
from conduit_nb.schemas import schema_of
from conduit_nb.session import process_session

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a cell says of the model: which one, how it is asked, and on what it runs."""

    model: ModelOptions
    ask: AskOptions
    compute: Mapping[str, Any]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the options of `cell_options.task_options`, as they were read."""
        of_model, of_ask = (
            {one.name: values[one.name] for one in options_of(kind) if one.name in values}
            for kind in (ModelOptions, AskOptions)
        )
        rest = {name: value for name, value in values.items() if name not in of_model | of_ask}
        return cls(
            model=parse_options(ModelOptions, of_model),
            ask=parse_options(AskOptions, of_ask),
            compute=rest,
        )


def task_of(
    options: TaskOptions,
    input_type: type[In],
    output_type: type[Out],
    *,
    name: str,
    guidance: str = "",
    examples: Sequence[tuple[In, Out]] = (),
) -> LlmTask[In, Out]:
    """Return the task that a cell's options stand for."""
    on = options.model.on
    compute = dict(options.compute)
    running = None if on is None else _running(on, compute)
    first = None if running is None else next(iter(running.models), None)
    model_id = options.model.model or first or settings.default_model()
    runtime = compute.pop("runtime", LMLITE)
    provider = compute.pop("provider", ComputeProvider.LOCAL) or ANY
    block = block_type(runtime)(
        [model_id],
        provider,
        endpoint=options.model.endpoint,
        api_key_env=options.model.api_key_env,
        on=on,
        **compute,
    )
    ask = options.ask
    return block.task(
        input_type,
        output_type,
        guidance=guidance,
        examples=examples,
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        seed=ask.seed,
        on_length=ask.on_length,
        confidence=ask.confidence,
        name=name,
    )


def _running(name: str, compute: Mapping[str, Any]) -> DeploymentInfo:
    """Return the deployment that `--on` names. Raises ArgumentError where there is none."""
    if "runtime" in compute:
        raise ArgumentError(
            "runtime applies to compute that Conduit starts, and on= names what runs.",
            param="runtime",
            hint="Leave one of the two out.",
        )
    session = process_session()
    try:
        return session.wait(session.deployments.find(name))
    except ArgumentError as err:
        raise ArgumentError(str(err), param="on", hint=err.hint) from err


def define_block(cell: Cell, name: str, **options: Any) -> SchemaListings:
    """Carry out `%%conduit block`: bind NAME to a callable from In to Out, and show both."""
    shell = cell.shell
    name = variable(name, what="NAME")
    line = parse_options(BlockOptions, {one: options.pop(one, None) for one in ("input", "output")})
    input_type, output_type = (
        resolve(getattr(line, one), shell.user_ns, what=f"--{one}") for one in ("input", "output")
    )
    takes, gives = (schema_of(kind, namespace=shell.user_ns) for kind in (input_type, output_type))
    require_reloaded(takes, gives)
    task = TaskOptions.parse(options)
    block = task_of(
        task,
        input_type,
        output_type,
        name=name,
        guidance=cell.body.strip(),
        examples=read_examples(task.model.examples, shell.user_ns, takes, gives),
    )
    for warning in overwritten(shell.user_ns, name, may_be=(Block,)):
        show_line(shell, Line(warning))
    shell.push({name: block})
    return SchemaListings(
        {"takes": takes.mdl, "gives": gives.mdl},
        head=f"{name}: {takes.name} -> {gives.name}",
    )


def variable(text: str, *, what: str) -> str:
    """Return the text if a variable can be called so."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise ArgumentError(
            f"{what} {text!r} is no name for a variable.",
            param=what.lower(),
            hint="Use letters, digits and _, beginning with a letter.",
        )
    if text in BUILTINS:
        raise ArgumentError(
            f"{what} {text!r} is the name of something of Python's own, which would be hidden.",
            param=what.lower(),
            hint=f"Call it something else, my_{text} for example.",
        )
    return text
