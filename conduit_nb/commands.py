"""The one table of commands: what the program `conduit` and the magics `%conduit` can do.

Each command is declared once, with its arguments, its options and its help; the shell
(`cli`) and the notebook (`notebook/magics`) run the same click commands, and show what they return.
What carries a command out is imported when the command runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, cast

import click

from conduit_nb.command_line import (
    PROGRAMS,
    Argument,
    AsJson,
    Command,
    LineError,
    Place,
    how,
    load,
    place_of,
)
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import deployment_options
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import BlockOptions, MapOptions, task_options
from conduit_nb.options import Option, options_of
from conduit_nb.plain_text import plain
from conduit_nb.plans.options import GPU, LIMIT, WHY, OfferingsOptions, PlanOptions
from conduit_nb.spelling import command_meant, did_you_mean, nearest

HELP_COLUMNS = 98
"""The width of a help text in a notebook; a terminal has its own."""

DRY_RUN = Option(
    name="dry_run",
    kind="flag",
    default=False,
    help="Print what would start, its cost and the remaining budget; start nothing.",
    is_basic=True,
)
MODELS = Argument(name="model_ids", metavar="ID_OR_FOLDER", is_many=True, source="model")
NAME = Argument(name="name", metavar="NAME", source="deployment")
NAME_OR_NONE = Argument(name="name", metavar="NAME", is_required=False, source="deployment")
NAME_OR_ALL = Argument(name="name", metavar="NAME|all", source="deployment_or_all")


class Commands(click.Group):
    """Commands under one name; an alias runs the command, and is not listed."""

    def __init__(
        self,
        name: str,
        summary: str,
        commands: Sequence[Command | Commands],
        *,
        places: Sequence[Place],
        epilog: str = "",
    ) -> None:
        self.places = tuple(places)
        self.aliases: tuple[str, ...] = ()
        self._by_alias = {alias: one for one in commands for alias in one.aliases}
        super().__init__(
            name,
            commands=list(commands),
            help=summary,
            short_help=summary,
            epilog=epilog,
            context_settings={"help_option_names": ["-h", "--help"]},
        )

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's protocol
        """Return the names in the order of the table."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name or alias."""
        return super().get_command(ctx, cmd_name) or self._by_alias.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the words begin with; raise LineError where there is none."""
        word = args[0]
        if self.get_command(ctx, word) is not None:
            return super().resolve_command(ctx, args)
        is_inner = ctx.parent is not None
        hint = nearest(word, self.commands) if is_inner else _command_meant(word, place_of(ctx))
        raise _unknown(f"{ctx.command_path} {word}", hint, self.commands)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's protocol
        """Return what stands behind the name."""
        return ["COMMAND", "[OPTIONS]"] if len(self.commands) > 3 else ["|".join(self.commands)]


class Help(Command):
    """The command that shows the help on others."""

    def carry_out(self, **values: Any) -> str:
        """Return the help on the command that the words name, or the overview."""
        return help_text(values["words"], place_of(click.get_current_context()))


def log_lines(found: Any) -> list[str] | None:
    """Return what a command has returned, made safe to print, where it is lines; else None."""
    if type(found) is list and all(isinstance(line, str) for line in cast("list[Any]", found)):
        return [plain(line) for line in cast("list[str]", found)]
    return None


def document_of(answer: AsJson) -> Any:
    """Return what a command has returned as plain JSON values."""
    found = answer.found
    if hasattr(found, "document"):
        return found.document()
    if (lines := log_lines(found)) is not None:
        return lines
    return load("conduit_nb.plans.documents:table_document")(found)


def run_line(place: Place, tokens: Sequence[str], *, cell: object = None) -> Any:
    """Run a line of words and return what its command returns.

    `cell` is what a notebook's commands take. Raises click.UsageError where the line cannot be
    understood (see `to_argument_error`), click.exceptions.Exit where it asked for help.
    """
    # Not `main`: that makes an interrupt, and the end of a file, into something of its own.
    group = program(place)
    with group.make_context(PROGRAMS[place], list(tokens), obj=cell) as context:
        return group.invoke(context)


def to_argument_error(err: click.UsageError) -> ArgumentError:
    """Return the error for a line that cannot be understood, with what was meant."""
    if isinstance(err, LineError):
        return err.error
    path = err.ctx.command_path if err.ctx else PROGRAMS["shell"]
    message, param = err.message, None
    if isinstance(err, click.exceptions.NoArgsIsHelpError):
        message = "Missing command."
    if isinstance(err, click.NoSuchOption):
        message, param = f"Unknown option: {err.option_name}.", err.option_name.lstrip("-")
    return ArgumentError(f"{path}: {message}", param=param, hint=how(err.ctx) if err.ctx else "")


def _unknown(what: str, hint: str, known: Iterable[str]) -> LineError:
    return LineError(
        ArgumentError(
            f"Unknown command: {what:.80}.",
            param="command",
            hint=hint or f"Commands are: {', '.join(known)}.",
        )
    )


def _command_meant(word: str, place: Place | None) -> str:
    """Return the cure for a command that is unknown in this place, None for all places."""
    elsewhere = find_command(word)
    if elsewhere is None:
        meant = command_meant(word, names())
        elsewhere = find_command(meant) if meant else None
        if meant is None or elsewhere is None:
            return ""
        if place is None or place in elsewhere.places:
            return did_you_mean(meant)
    there = elsewhere.places[-1]
    kind = "above a cell" if there == "cell" else "on a line of its own"
    whose = " of a notebook" if place == "shell" else ""
    return f"It stands {kind}{whose}: {PROGRAMS[there]} {elsewhere.name}."


def help_text(words: Sequence[str], place: Place) -> str:
    """Return the help on a command, or the overview. Raises LineError."""
    if not words:
        return _overview(place)
    found = find_command(words[0])
    if found is None:
        raise _unknown(words[0], _command_meant(words[0], None), names())
    where = place if place in found.places else found.places[-1]
    command: click.Command = program(where)
    context = _context(command, PROGRAMS[where])
    if place != "shell":  # a terminal has a width of its own
        context.terminal_width = HELP_COLUMNS
    for word in words:
        if not isinstance(command, Commands):
            break
        _, inner, _ = command.resolve_command(context, [word])
        command = inner or command
        context = _context(command, command.name or "", context)
    return command.get_help(context)


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> Any:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _overview(place: Place) -> str:
    if place == "shell":
        return program(place).get_help(_context(program(place), PROGRAMS[place]))
    lines = ["Conduit turns rows into typed records with a language model.", ""]
    places: tuple[Place, Place] = ("cell", "line")
    for where in places:
        commands = [one for one in TABLE if where in one.places]
        lines += [f"  {f'{PROGRAMS[where]} {one.name}':<21} {one.help}" for one in commands]
        lines.append("")
    return "\n".join([*lines, OVERVIEW_END])


def names() -> list[str]:
    """Return the names of all commands, wherever they can stand."""
    return [one.name or "" for one in TABLE]


def find_command(name: str) -> Command | Commands | None:
    """Return the command of that name or alias, wherever it can stand."""
    return next((one for one in TABLE if name == one.name or name in one.aliases), None)


@cache
def program(place: Place) -> Commands:
    """Return the commands of one place as one click group."""
    group = Commands(
        PROGRAMS[place],
        "Plan, deploy and watch language models; see what they need, and what they cost.",
        [one for one in TABLE if place in one.places],
        places=(place,),
        epilog="The same commands work in a notebook: %conduit plan, %conduit deploy, %conduit ps.",
    )
    group.context_settings["max_content_width"] = 100
    if place == "shell":
        click.version_option(package_name="conduit-nb", prog_name=PROGRAMS["shell"])(group)
    return group


OVERVIEW_END = """\
A first cell, for a DataFrame `reviews` with a column `text`:

  %%conduit map reviews -o verdicts
  class Verdict:
      '''Say how the reviewer feels about the product.'''
      sentiment: Literal["positive", "negative"]

`%conduit help map` describes one command. A variable may stand for a whole argument:
%conduit plan {model_id}. The same in Python: conduit_nb.LMLiteBlock, conduit_nb.ps()."""

_SCHEMA = """\
The cell's dataclasses become schemas and are shown in MDL, the form in which a model reads them.

  %%conduit schema
  class Item:
      name: str
      quantity: Annotated[int, Range(ge=1, le=99)]

  class Order:
      '''Take the order out of the letter.'''
      items: List[Item]
      urgent: bool = False

- The decorator @dataclass may be left out.
- No import is needed for:
{provided}.
  Your own definitions under such a name win.
- A class's docstring is the instruction when a model fills it.
- Types: str int float bool bytes date datetime, List, Dict[str, ...], Optional, Union, Literal,
  Enum, Annotated with a constraint or a description, and other dataclasses."""

_BLOCK = """\
The cell's text is the instruction; NAME becomes a function from In to Out.

  %%conduit block judge --input Review --output Verdict
  Say how the reviewer feels about the product.

  judge(Review(text="It broke on day two."))     one record
  judge.batch([Review(...), Review(...)])        many at once; errors stand in their places"""

_PIPELINE = """\
The cell is Python and ends with a chain of blocks; NAME becomes a block from the first one's input
to the last one's output. The chain is checked at once, and drawn with the schema on every edge.

  %%conduit pipeline file_away
  save = FileSystemWriteBlock(Report, "report.txt", trusted=True)
  extract >> report >> save

  file_away(Letter(text="..."))                  one record
  file_away.batch([Letter(...), Letter(...)])    many at once; errors stand in their places

- Blocks: what %%conduit block made, LMLiteBlock(...).task(In, Out), classes of your own that derive
  from conduit_nb.Block, and these, which need no import:
  FileSystemReadBlock, FileSystemWriteBlock, HttpGetBlock, HttpPostBlock, Sqlite3Block,
  SystemCommandBlock.
- Two neighbours that do not fit are an error at their line.
- A block with effects needs trusted=True: in a pipeline, records may come from a model."""

_MAP = """\
ROWS is an expression: a DataFrame, a Series, or a list of texts, of dicts or of dataclass records.

  %%conduit map reviews -o verdicts --columns text
  class Verdict:
      '''Say how the reviewer feels about the product.'''
      sentiment: Literal["positive", "negative"]
      mentions_price: bool

- One dataclass in the cell: the output. The input is made from the columns; where a column lacks
  values, the model is told null. In an input of your own, `text: str` makes such rows errors.
- Two: the input, whose fields are columns, then the output. A dataclass that another one uses as a
  field's type is part of that one and does not count.
- The output's docstring is the instruction. The rows are copied when the map starts.
- OUT has the rows' columns and index, the output's columns, `error` and `error_code`. Rows that
  failed have no values; conduit_nb.errors(OUT) has their error objects. Literal and Enum are
  categories (of their values), nested records dicts: Parquet, SQL and JSON take OUT as it is.
- The cell holds classes only. Stop (interrupt the kernel): OUT keeps what is finished.
- --confidence adds a column FIELD_confidence for each bool, Literal and Enum (in lists the lowest:
  LIST[].FIELD_confidence); of a block NAME.detailed(record).confidence has it.
- --on-length keep adds a column `truncated`; of a block NAME.detailed(record) tells.
- --background returns a handle: `await _`, `_.result()`, `_.cancel()`. OUT is bound when it ends.
- The default model is {default_model}."""

_PS = """\
Nodes of other installations in the same accounts come last; `attach` takes one over. Where nothing
was ever deployed from here, providers are asked for those with --all only. In Python:
conduit_nb.ps(), conduit_nb.ps(all_nodes=True)."""

_MODELS = """\
The models that the local server has loaded, and what they are busy with. A model is loaded at the
first request for it. `memory gib` is what is reserved for it there: its weights, and room for as
many requests at once as fit; what it needs at least says %conduit plan ID --runtime lmlite. A model
that failed to load is listed for some minutes. In Python: conduit_nb.list_models()."""

_STOP = """\
Without NAME: the shared local server, which the next request starts again; it also ends by itself
after a while without requests (CONDUIT_SIDECAR_IDLE_S). A deployment that is stopped keeps its
disks, which may still be billed; `terminate` ends that, too. `all` terminates every deployment, as
`terminate all` does, and stops the shared local server. In Python: conduit_nb.stop()."""

_DEPLOY = """\
Blocks and cells with the same models, options and provider use the same deployment.

  %conduit deploy Qwen/Qwen3-8B --runtime vllm --provider runpod --gpu L40S --max-usd 3 --hours 2

Nothing starts that could cost more than the limits allow: CONDUIT_MAX_USD_PER_DEPLOYMENT (or
--max-usd), CONDUIT_MAX_USD_PER_DAY. Every node ends by itself at the end of its lease, when its
budget is spent, and after a while without a request. In Python: conduit_nb.deploy()."""

_COST = """\
The last line is the sum, with today's cost (in UTC) of CONDUIT_MAX_USD_PER_DAY.
In Python: conduit_nb.cost()."""

_DEBUG = """\
Where it came from, its fields, the model's text, and what caused it. Without a word, the last
error; else an expression.

  %conduit debug                       the last error
  %conduit debug verdicts              the rows that failed, those that failed alike in one line
  %conduit debug verdicts.error[3]     one of them, whole"""

_PLAN = """\
Weights, KV cache, activations, and what the runtime takes, each with its formula and source.
Several models are planned together. A folder may hold nothing but a config.json; of a model on the
hub only headers are read.

  %conduit plan Qwen/Qwen2.5-7B-Instruct --gpu L40S --max-model-len 8192 --max-concurrency 16

Without --gpu the plan is held against this machine. That a model does not fit is no error: the
answer says what would. In Python: conduit_nb.plan()."""

_OFFERINGS = """\
All sources are asked at once; those that fail are named. With --for, what holds the model is
ranked, with an estimate of its speed and the range of that.

  %conduit offerings --for Qwen/Qwen2.5-7B-Instruct --max-model-len 8192 --max-usd-per-hour 2

"price only" marks what Conduit cannot start. The result has .best, .ranked, .failures, and .why(),
a DataFrame of every reason. In Python: conduit_nb.find_offerings()."""

_IMAGE_BUILD = """\
It is made of this very package, and used once CONDUIT_LMLITE_IMAGE names it."""

_PANEL = """\
State, log, endpoint, cost so far and lease of everything that runs, with buttons to extend, stop
and terminate it, and a box to try it. Name a model to see what holds it, pick an offering, and
deploy on it.

  %conduit panel HuggingFaceTB/SmolLM2-135M-Instruct"""

_RECEIPTS = """\
  %conduit receipts                  the last maps: model, tokens, seconds, dollars
  %conduit receipts NOTEBOOK.ipynb   the same out of a notebook's file, in the order of its cells

Each map leaves its receipt under its line, and in the saved notebook."""

_CONTROL = "conduit_nb.notebook.control"
_DEPLOYING = "conduit_nb.notebook.deploying"
_PLANNING = "conduit_nb.notebook.planning"
_OF_PLAN = (*options_of(PlanOptions), GPU)
_OF_OFFERINGS = (*options_of(OfferingsOptions, DeploymentConstraint, PlanOptions), WHY, LIMIT)

IMAGE = Commands(
    "image",
    "Build or push the image of LmLite for containers.",
    [
        Command(
            "build",
            "Build the image of LmLite for Docker and Runpod.",
            run="conduit_nb.notebook.image_line:build",
            options=(
                Option(name="cuda", kind="flag", default=False, help="For NVIDIA GPUs."),
                Option(name="tag", kind="text", metavar="NAME", help="Image tag."),
                Option(name="base", kind="text", metavar="IMAGE", help="Python 3.11 with pip."),
                Option(
                    name="torch_index",
                    kind="text",
                    metavar="URL",
                    help="Package index with another build of PyTorch.",
                ),
            ),
            details=_IMAGE_BUILD,
            is_quiet=True,
        ),
        Command(
            "push",
            "Push the image to its registry, with Docker's login.",
            run="conduit_nb.notebook.image_line:push",
            arguments=[Argument(name="tag", metavar="NAME")],
            is_quiet=True,
        ),
    ],
    places=("shell", "line"),
)

HELP = Help(
    "help",
    "Show the commands, or the help on one.",
    arguments=[
        Argument(
            name="words",
            metavar="COMMAND",
            is_many=True,
            is_required=False,
            source="command",
        )
    ],
    has_json=False,
    is_quiet=True,
)

TABLE: tuple[Command | Commands, ...] = (
    Command(
        "schema",
        "Define dataclasses, and show them as the model reads them.",
        run_in_cell="conduit_nb.notebook.cell:define_schemas",
        places=("cell",),
        details=_SCHEMA,
    ),
    Command(
        "block",
        "Make a typed function of an instruction.",
        run_in_cell="conduit_nb.notebook.tasks:define_block",
        arguments=[Argument(name="name", metavar="NAME", source="block")],
        options=(*options_of(BlockOptions), *task_options()),
        places=("cell",),
        details=_BLOCK,
    ),
    Command(
        "map",
        "Fill a dataclass for every row of a DataFrame.",
        run_in_cell="conduit_nb.notebook.map_cell:map_rows",
        arguments=[Argument(name="rows", metavar="ROWS", source="rows")],
        options=(*options_of(MapOptions), *task_options()),
        places=("cell",),
        details=_MAP,
    ),
    Command(
        "pipeline",
        "Chain blocks, have the chain checked and drawn.",
        run_in_cell="conduit_nb.notebook.pipeline_cell:define_pipeline",
        arguments=[Argument(name="name", metavar="NAME", source="block")],
        places=("cell",),
        details=_PIPELINE,
    ),
    Command(
        "plan",
        "Compute what models need of each device's memory, and whether they fit.",
        run=f"{_PLANNING}:plan",
        arguments=[MODELS],
        options=_OF_PLAN,
        details=_PLAN,
        is_quiet=True,
    ),
    Command(
        "offerings",
        "List the compute that this machine and providers offer, with prices.",
        run=f"{_PLANNING}:offerings",
        run_in_cell="conduit_nb.notebook.offerings_line:show_offerings",
        options=_OF_OFFERINGS,
        notebook_options=[
            Option(
                name="static",
                kind="flag",
                default=False,
                help="Show a table that does not refresh itself.",
            )
        ],
        details=_OFFERINGS,
        is_quiet=True,
    ),
    Command(
        "deploy",
        "Deploy models. Reuses a matching deployment if one is running.",
        run=f"{_DEPLOYING}:deploy",
        arguments=[MODELS],
        options=(*deployment_options(), DRY_RUN),
        details=_DEPLOY,
    ),
    Command(
        "ps",
        "List what runs, where, and what it costs.",
        run=f"{_CONTROL}:ps",
        options=[
            Option(
                name="all_nodes",
                kind="flag",
                default=False,
                written="--all",
                help="Ask all providers for nodes of other installations, too.",
            )
        ],
        details=_PS,
        aliases=["list"],
    ),
    Command(
        "models",
        "List the loaded models, and those that need no network.",
        run=f"{_CONTROL}:list_models",
        details=_MODELS,
    ),
    Command(
        "logs",
        "Print the last lines of a deployment's log.",
        run=f"{_CONTROL}:logs",
        arguments=[NAME_OR_NONE],
        options=[
            Option(
                name="tail", kind="whole", default=100, metavar="N", help="Lines (default: 100)."
            )
        ],
        details="Without NAME, the log of the shared local server. In Python: conduit_nb.logs().",
    ),
    Command(
        "stop",
        "Stop a deployment and keep its disks.",
        run=f"{_CONTROL}:stop",
        arguments=[
            Argument(name="name", metavar="NAME|all", is_required=False, source="deployment_or_all")
        ],
        details=_STOP,
    ),
    Command(
        "start",
        "Start a stopped deployment again, with a new lease.",
        run=f"{_DEPLOYING}:start",
        arguments=[NAME],
    ),
    Command(
        "restart",
        "Restart the servers of a deployment.",
        run=f"{_DEPLOYING}:restart",
        arguments=[NAME],
    ),
    Command(
        "terminate",
        "Terminate a deployment for good: nothing of it is billed any more.",
        run=f"{_DEPLOYING}:terminate",
        arguments=[NAME_OR_ALL],
        details="`all` terminates every deployment. In Python: conduit_nb.terminate().",
    ),
    Command(
        "extend",
        "Extend the lease of a deployment, as far as its budget lasts.",
        run=f"{_DEPLOYING}:extend",
        arguments=[NAME],
        options=[
            Option(
                name="hours",
                kind="hours",
                default=1.0,
                metavar="H",
                help="Time from now on (default: 1 h).",
            )
        ],
    ),
    Command(
        "cost",
        "Show what each deployment costs, has cost and may cost.",
        run=f"{_DEPLOYING}:cost",
        details=_COST,
    ),
    Command(
        "attach",
        "Take over a node of another installation, or one that no deployment names.",
        run="conduit_nb.notebook.keeping:attach",
        arguments=[Argument(name="node_name", metavar="NODE")],
        details="It is a deployment from then on, and counts against your spending limits.",
        aliases=["adopt"],
    ),
    Command(
        "cleanup",
        "Terminate orphaned nodes.",
        run="conduit_nb.notebook.keeping:cleanup",
        options=[
            Option(
                name="force",
                kind="flag",
                default=False,
                help="Also nodes that another state (CONDUIT_DB_URI) may use.",
            )
        ],
        aliases=["gc"],
    ),
    Command(
        "panel",
        "Show a live panel of deployments: deploy, watch, try and terminate by hand.",
        run_in_cell="conduit_nb.notebook.panel_line:show_panel",
        arguments=[
            Argument(name="model", metavar="ID_OR_FOLDER", is_required=False, source="model")
        ],
        places=("line",),
        details=_PANEL,
        has_json=False,
    ),
    Command(
        "receipts",
        "Show what maps were and cost.",
        run="conduit_nb.notebook.receipts_line:receipts",
        arguments=[
            Argument(name="notebook", metavar="NOTEBOOK.ipynb", is_required=False, source="file")
        ],
        details=_RECEIPTS,
        is_quiet=True,
    ),
    Command(
        "debug",
        "Show all there is about an error, or the failed rows of a map.",
        run_in_cell="conduit_nb.notebook.debug_line:debug",
        arguments=[
            Argument(name="error", metavar="ERROR|OUT", is_required=False, source="variable")
        ],
        options=[Option(name="limit", kind="count", metavar="N", help="Rows to show.")],
        places=("line",),
        details=_DEBUG,
        has_json=False,
    ),
    IMAGE,
    Command(
        "doctor",
        "Check what works on this machine, and say what to do for the rest.",
        run="conduit_nb.notebook.doctor:doctor",
        details="In Python: conduit_nb.doctor().",
        is_quiet=True,
    ),
    HELP,
)
