"""`%%conduit map`: a dataclass filled for every row.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.errors import ArgumentError, ConduitError, Interrupted, RunError
from conduit_nb.notebook.background import BackgroundMap
from conduit_nb.notebook.cell import classes_of, is_open, require_only_classes
from conduit_nb.notebook.cell_options import MapOptions
from conduit_nb.notebook.display import Line
from conduit_nb.notebook.expressions import Binding, overwritten, require_bound, resolve
from conduit_nb.notebook.frames import (
    ERROR_COLUMN,
    Rows,
    derived_input,
    read_columns,
    read_examples,
    read_rows,
    to_records,
)
from conduit_nb.notebook.interrupts import interrupted_after, uninterrupted
from conduit_nb.notebook.local_names import names_seen
from conduit_nb.notebook.preflight import Preflight, preflight
from conduit_nb.notebook.progress import progress_view, summary_text
from conduit_nb.notebook.reloaded import earlier_hints, require_reloaded
from conduit_nb.notebook.results import (
    ANSWER_COLUMN,
    DetailColumns,
    detail_columns,
    plain_result,
    remarks,
    require_free_names,
    result_frame,
)
from conduit_nb.notebook.serving import Witness
from conduit_nb.notebook.shell import Cell, Shell, show_line
from conduit_nb.notebook.tasks import TaskOptions, task_of, variable
from conduit_nb.options import options_of, parse_options
from conduit_nb.runs import Run
from conduit_nb.schemas import Schema, schema_of
from conduit_nb.schemas.shapes import Record, walk
from conduit_nb.session import process_session

if TYPE_CHECKING:
    import pandas as pd

WINDOW = 64
LOOK_EVERY_S = 0.05


def map_rows(cell: Cell, rows: str, **options: Any) -> pd.DataFrame | BackgroundMap | Preflight:
    """Carry out `%%conduit map`: bind OUT to the rows with what the model made of them.

    What it will take is said first; where that is above what may be spent it does not begin. The
    rows are copied first of all: what later cells do to them changes nothing of the map.
    """
    shell = cell.shell
    own = {one.name: options.pop(one.name, None) for one in options_of(MapOptions)}
    arguments = parse_options(MapOptions, own)
    out = _out_name(rows, arguments)
    try:
        job, warnings = _prepare(cell, rows, arguments, TaskOptions.parse(options), out)
    except KeyboardInterrupt:
        raise Interrupted(
            "The map was stopped before it began.",
            hint=f"{out} is what it was before. Run the cell again.",
        ) from None
    try:
        if len(job.rows) or arguments.dry_run:
            session = process_session()
            estimate = preflight(session, job.task, job.run.rows, job.gives)
            if arguments.dry_run:
                return estimate
            if estimate.usd and job.task.target is not None:
                session.wait(session.deployments.require_affordable(estimate.usd, job.task.target))
            show_line(shell, estimate)
        for warning in [*warnings, *job.binding.begin()]:
            show_line(shell, Line(warning))
        return _in_background(job) if arguments.background else _wait(job)
    except KeyboardInterrupt:
        if arguments.dry_run:
            raise
        with uninterrupted():
            job.run.cancel()
            return job.conclude()


def _prepare(
    cell: Cell, expression: str, arguments: MapOptions, asked: TaskOptions, out: str
) -> tuple[MapJob, list[str]]:
    """Read the rows and all that is to be done with them; return it with what to warn of."""
    shell = cell.shell
    warnings = require_bound(shell, expression, names_seen(shell.user_ns))
    source = resolve(expression, shell.user_ns, what="ROWS")
    rows = read_rows(source, what=expression, limit=arguments.limit)
    columns = read_columns(arguments.columns)
    require_only_classes(cell.body, out)
    warnings += overwritten(shell.user_ns, out, cell.body)
    input_type, output_type = _types(shell, arguments, classes_of(shell, cell.body))
    takes = schema_of(input_type or derived_input(rows, columns), namespace=shell.user_ns)
    gives = schema_of(output_type, namespace=shell.user_ns)
    require_reloaded(takes, gives)
    warnings += earlier_hints(shell.user_ns, takes, gives)
    details = detail_columns(
        gives, truncated=asked.ask.on_length == "keep", confidence=asked.ask.confidence
    )
    require_free_names(rows, gives, arguments.prefix, details)
    records = to_records(rows, takes, columns)
    examples = read_examples(
        asked.model.examples, shell.user_ns, takes, gives, columns=columns, prefix=arguments.prefix
    )
    is_derived = input_type is None and rows.record_type is None
    is_named = is_derived and expression.isidentifier()
    title = f"{expression if is_named else takes.name} -> {gives.name}"
    task = task_of(asked, takes.kind, output_type, name=title, examples=examples)
    session = process_session()
    job = MapJob(
        title=title,
        rows=rows,
        task=task,
        run=Run(
            session,
            task.detailed,
            records,
            window=max(WINDOW, asked.compute.get("max_concurrency") or 0),
        ),
        takes=takes,
        gives=gives,
        shell=shell,
        binding=Binding(shell, out, title),
        prefix=arguments.prefix,
        max_errors=arguments.max_errors,
        details=details,
        witness=Witness(session, task, gives, title),
    )
    return job, warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class MapJob:
    """A map's run, and what is to be done with its outcomes, however it ends."""

    shell: Shell
    title: str
    rows: Rows
    task: LlmTask[Any, Any]
    run: Run[Any, Any]
    takes: Schema[Any]
    gives: Schema[Any]
    binding: Binding
    prefix: str
    max_errors: int | None
    details: DetailColumns
    witness: Witness

    @property
    def out(self) -> str:
        """The variable that is bound to the result."""
        return self.binding.name

    def conclude(self) -> pd.DataFrame:
        """Bind OUT to what there is; raise where the run was stopped or failed as a whole."""
        frame = self.bind()
        self.require_whole()
        return frame

    def bind(self) -> pd.DataFrame:
        """Bind OUT to what there is; where its columns cannot be made, to the bare answers."""
        outcomes = self.run.outcomes()
        try:
            frame = result_frame(
                self.rows, self.gives, outcomes, prefix=self.prefix, details=self.details
            )
        except Exception as error:  # a user's class and pandas raise what they like
            bare = plain_result(self.rows, outcomes, prefix=self.prefix)
            self.binding.bind(bare)
            raise RunError(
                f"The columns of {self.out} could not be made: {type(error).__name__}: {error}",
                hint=f"{self.out} has the answers as records, in the column "
                f"{self.prefix + ANSWER_COLUMN!r}.",
            ) from error
        self.binding.bind(frame)
        return frame

    def ending(self) -> str:
        """Return what is said when it has ended: what came of it, and what is worth a look."""
        summary = summary_text(self.run.progress.snapshot(), self.title)
        found = remarks(self.run.rows, self.takes, self.gives, self.run.outcomes())
        if not len(self.rows):
            found = [f"The rows are empty, and so is {self.out}: it has the columns and no row"]
        return ". ".join([f"{summary}; {self.out} is bound", *found])

    def require_whole(self) -> None:
        """Raise Interrupted where the run was stopped, RunError where it failed as a whole."""
        outcomes = self.run.outcomes()
        if self.run.is_cancelled:
            done = self.run.progress.snapshot().done
            raise Interrupted(
                f"Stopped after {done:,} of {len(outcomes):,} rows.",
                hint=f"{self.out} has what is finished; its {self._error_column!r} column says "
                "which rows are not.",
            )
        failure = self.run.failure
        if failure is not None:
            raise RunError(
                f"The map failed: {type(failure).__name__}: {failure}",
                hint=f"{self.out} has what was answered. See %conduit debug.",
            ) from failure
        self._require_few_errors(outcomes)

    @property
    def _error_column(self) -> str:
        return self.prefix + ERROR_COLUMN

    def _require_few_errors(self, outcomes: Sequence[object]) -> None:
        errors = [outcome for outcome in outcomes if isinstance(outcome, ConduitError)]
        limit = len(outcomes) - 1 if self.max_errors is None else self.max_errors
        if len(errors) <= limit or not errors:
            return
        few = f", more than --max-errors {limit}" if self.max_errors is not None else ""
        alike = len({str(error) for error in errors}) == 1
        example = errors[0]
        raise RunError(
            f"{len(errors):,} of {len(outcomes):,} rows failed{few}; "
            f"{'each' if alike else 'the first'} with {type(example).__name__}: {example}",
            hint=f"{example.hint} See %conduit debug {self.out}.".strip(),
        ) from example


def _in_background(job: MapJob) -> BackgroundMap:
    handle = BackgroundMap(
        job.run,
        job.conclude,
        ending=job.ending,
        witness=job.witness,
        title=job.title,
        out=lambda: job.out,
        shell=job.shell,
    )
    with interrupted_after():
        handle.start()
    return handle


def _wait(job: MapJob) -> pd.DataFrame:
    """Wait for the run, showing how far it is; an interrupt stops it and keeps what is done.

    What is said to be bound is bound: an interrupt does not come between.
    """
    run = job.run
    view = progress_view(job.shell, job.title)
    with ExitStack() as end:
        try:
            with interrupted_after():
                run.start(beside=lambda: job.witness.look(run))
            while not run.wait(LOOK_EVERY_S):
                view.update(run.progress.snapshot())
            end.enter_context(uninterrupted())
        except KeyboardInterrupt:
            end.enter_context(uninterrupted())
            run.cancel()
        frame = job.bind()
        view.finish(run.progress.snapshot(), job.ending(), job.witness.receipt(run))
        job.require_whole()
    return frame


def _out_name(rows: str, arguments: MapOptions) -> str:
    """Return the name of the result: the one given, else made from the name of the rows."""
    if arguments.out is not None:
        return variable(arguments.out, what="OUT")
    return f"{rows}_out" if rows.isidentifier() else "rows_out"


def _types(
    shell: Shell, arguments: MapOptions, classes: list[type]
) -> tuple[type[Any] | None, type[Any]]:
    """Return the input, None where it is made from the columns, and the output.

    What another dataclass of the cell uses as a field's type, or derives from, is part of that one.
    """
    names = shell.user_ns
    classes = [kind for kind in classes if not is_open(kind)]
    roots = [kind for kind in classes if not any(_uses(other, kind, names) for other in classes)]
    named = {
        option: resolve(expression, names, what=f"--{option}")
        for option in ("input", "output")
        if (expression := getattr(arguments, option)) is not None
    }
    left = [kind for kind in roots if kind not in named.values()]
    output = named["output"] if "output" in named else (left.pop() if left else None)
    given = named["input"] if "input" in named else (left.pop() if left else None)
    if output is None:
        raise ArgumentError(
            "The cell does not say what to fill: it defines no dataclass"
            f"{' that stands for itself' if classes else ''}.",
            param="output",
            hint="Write the output as a dataclass, or name one with --output.",
        )
    if left:
        shown = ", ".join(kind.__name__ for kind in roots)
        raise ArgumentError(
            f"The cell defines {len(roots)} dataclasses that stand for themselves: {shown}.",
            hint="Leave the output, or the input and then the output; or name them with "
            "--input and --output.",
        )
    return given, output


def _uses(user: type, part: type, names: dict[str, Any]) -> bool:
    if user is part:
        return False
    if issubclass(user, part):
        return True
    shapes = (shape for _, shape, _ in walk(schema_of(user, namespace=names).shape))
    return any(isinstance(shape, Record) and shape.cls is part for shape in shapes)
