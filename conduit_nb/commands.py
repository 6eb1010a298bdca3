"""The one table of commands: what the program `conduit` and the magics `%conduit` can do.

Each command is declared once, with its arguments, its options and its help; the shell
(`cli`) and the notebook (`notebook/magics`) run the same click commands, and show what they return.
What carries a command out is imported when the command runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, cast

import click

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import deployment_options
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import BlockOptions, MapOptions, task_options
from conduit_nb.options import Option, options_of, read_options
from conduit_nb.plain_text import plain
from conduit_nb.plans.options import GPU, LIMIT, WHY, OfferingsOptions, PlanOptions
from conduit_nb.spelling import command_meant, did_you_mean, nearest

Place = Literal["shell", "line", "cell"]
"""Where a command can stand: `conduit ps`, `%conduit ps`, `%%conduit map`."""
PROGRAMS: Mapping[Place, str] = {"shell": "conduit", "line": "%conduit", "cell": "%%conduit"}
HELP_COLUMNS = 98
USAGE_ERROR = 2

JSON = Option(
    name="as_json", kind="flag", default=False, written="--json", help="Print one JSON document."
)
DRY_RUN = Option(
    name="dry_run",
    kind="flag",
    default=False,
    help="Print what would start, its cost and the remaining budget; start nothing.",
    is_basic=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """What stands on the line without a flag. `source` says what Tab completes it with."""

    name: str
    metavar: str
    is_many: bool = False
    is_required: bool = True
    source: str | None = None


MODELS = Argument(name="model_ids", metavar="ID_OR_FOLDER", is_many=True, source="model")
NAME = Argument(name="name", metavar="NAME", source="deployment")
NAME_OR_NONE = Argument(name="name", metavar="NAME", is_required=False, source="deployment")
NAME_OR_ALL = Argument(name="name", metavar="NAME|all", source="deployment_or_all")


class Command(click.Command):
    """A click command made of a declaration: its callback reads the options and runs `run`.

    `run` is "module:function"; in a notebook `run_in_cell`, where that is given, which takes the
    cell (shell and body) first.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        run: str = "",
        run_in_cell: str = "",
        arguments: Sequence[Argument] = (),
        options: Sequence[Option] = (),
        notebook_options: Sequence[Option] = (),
        places: Sequence[Place] = ("shell", "line"),
        details: str = "",
        aliases: Sequence[str] = (),
        is_quiet: bool = False,
    ) -> None:
        self.run = run
        self.run_in_cell = run_in_cell
        self.arguments = tuple(arguments)
        self.places = tuple(places)
        self.details = details
        self.aliases = tuple(aliases)
        self.is_quiet = is_quiet
        """Whether nothing is shown on stderr while it runs: it starts and waits for nothing."""
        own = [*options] if places == ("cell",) else [*options, JSON]
        self.options = (*own, *notebook_options)
        shown = own if "shell" in places else self.options
        self.shell_options = tuple(shown)
        super().__init__(
            name,
            callback=self._carry_out,
            params=[*map(_click_argument, self.arguments), *map(_click_option, self.options)],
            help=summary,
            short_help=summary,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )

    def option_of(self, flag: str) -> Option | None:
        """Return the option that a flag belongs to."""
        for one in self.options:
            if flag in one.flags or (one.kind == "switch" and flag == one.negative_flag):
                return one
        return None

    def _carry_out(self, **values: Any) -> Any:
        context = click.get_current_context()
        positional: list[Any] = []
        for one in self.arguments:
            value = values.pop(one.name)
            positional += value if one.is_many else [value]
        given = {name: None if value == () else value for name, value in values.items()}
        try:
            options = read_options(self.options, given)
        except ArgumentError as error:
            raise OptionError(error, context.command_path) from error
        as_json = options.pop("as_json", False)
        if context.obj is not None and self.run_in_cell:
            found = _load(self.run_in_cell)(context.obj, *positional, **options)
        else:
            found = _load(self.run)(*positional, **options)
        return AsJson(found) if as_json else found

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage, what it does with examples, and the options, the important ones first."""
        is_shell = ctx.find_root().info_name == PROGRAMS["shell"]
        self.format_usage(ctx, formatter)
        formatter.write(f"\n{self.help}\n")
        if self.details:
            details = _filled(self.details)
            formatter.write(
                f"\n{details.replace('%conduit', 'conduit') if is_shell else details}\n"
            )
        options = self.shell_options if is_shell else self.options
        basic = [one for one in options if one.is_basic]
        others = [one for one in options if not one.is_basic]
        for title, group in (
            ("Options" if basic else "", basic),
            ("More options" if basic else "Options", others),
        ):
            if group:
                with formatter.section(title):
                    formatter.write_dl([(usage_of(one), one.help) for one in group], col_max=34)


class AsJson:
    """What a command has returned, to be printed as one JSON document."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def document(self) -> Any:
        """Return it as plain JSON values."""
        return document_of(self.found)


class OptionError(click.UsageError):
    """An option's value is not valid; `error` says what is wrong with it."""

    def __init__(self, error: ArgumentError, path: str) -> None:
        super().__init__(str(error))
        self.error = ArgumentError(f"{path}: {error}", param=error.param, hint=error.hint)


class Commands(click.Group):
    """Commands under one name; an alias runs the command, and is not listed."""

    def __init__(self, name: str, commands: Sequence[click.Command], **settings: Any) -> None:
        super().__init__(name, commands=list(commands), **settings)
        self._aliases = {
            alias: command
            for command in commands
            if isinstance(command, Command)
            for alias in command.aliases
        }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's protocol
        """Return the names in the order of the table."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name or alias."""
        return super().get_command(ctx, cmd_name) or self._aliases.get(cmd_name)


def usage_of(one: Option) -> str:
    """Return how an option is written: `-o, --out OUT`."""
    if one.kind == "switch":
        return f"{one.flag}, {one.negative_flag}"
    flags = ", ".join(flag for flag in (one.short, one.flag) if flag)
    return flags if one.kind == "flag" else f"{flags} {one.metavar or 'TEXT'}"


def log_lines(found: Any) -> list[str] | None:
    """Return what a command has returned, made safe to print, where it is lines; else None."""
    if type(found) is list and all(isinstance(line, str) for line in cast("list[Any]", found)):
        return [plain(line) for line in cast("list[str]", found)]
    return None


def document_of(found: Any) -> Any:
    """Return what a command has returned as plain JSON values."""
    if hasattr(found, "document"):
        return found.document()
    if (lines := log_lines(found)) is not None:
        return lines
    return _load("conduit_nb.plans.documents:table_document")(found)


def run_line(place: Place, tokens: Sequence[str], *, cell: object = None) -> Any:
    """Run a line of words and return what its command returns.

    `cell` is what a notebook's commands take. Raises click.UsageError where the line cannot be
    understood (see `to_argument_error`), click.exceptions.Exit where it asked for help.
    """
    # Not `main`: that makes an interrupt, and the end of a file, into something of its own.
    group = program(place)
    with group.make_context(PROGRAMS[place], list(tokens), obj=cell) as context:
        return group.invoke(context)


def to_argument_error(
    err: click.UsageError, place: Place, tokens: Sequence[str] = ()
) -> ArgumentError:
    """Return the error for a line that cannot be understood, with what was meant."""
    if isinstance(err, OptionError):
        return err.error
    path = err.ctx.command_path if err.ctx else PROGRAMS[place]
    # Its own message names what is near as well, in words of its own.
    message = re.split(r" \(?Did you mean| \(Possible options", err.format_message())[0]
    hint = _meant(err, place, tokens) or (
        f"See {path} --help." if place == "shell" else f"See {_help_line(path)}."
    )
    return ArgumentError(f"{path}: {message}", param=_param_of(err), hint=hint)


def _help_line(path: str) -> str:
    program_name, _, command = path.partition(" ")
    return f"{program_name.replace('%%', '%')} help {command}".strip()


def _param_of(err: click.UsageError) -> str | None:
    if isinstance(err, click.NoSuchOption):
        return err.option_name
    if isinstance(err, click.BadParameter) and err.param is not None:
        return err.param.name
    return None


def _meant(err: click.UsageError, place: Place, tokens: Sequence[str]) -> str:
    """Return the cure for the option or the command that nobody knows, or a word too many."""
    if err.ctx is None:
        return ""
    command = err.ctx.command
    if isinstance(err, click.NoSuchOption) and isinstance(command, Command):
        return nearest(err.option_name, [flag for one in command.options for flag in one.flags])
    wrong = re.match(r"No such command '(.*?)'", err.message)
    if wrong and isinstance(command, click.Group):
        return _command_meant(wrong[1], place)
    extra = re.match(r"Got unexpected extra arguments? \((\S+)", err.message)
    if extra and isinstance(command, Command):
        return _parted(command, extra[1].rstrip(")"), tokens)
    return ""


def _command_meant(wrong: str, place: Place) -> str:
    elsewhere = find_command(wrong)
    if elsewhere is None:
        meant = command_meant(wrong, [one.name for one in TABLE if one.name])
        if meant is None:
            return ""
        elsewhere = find_command(meant)
        if elsewhere is None or place in elsewhere.places:
            return did_you_mean(meant)
    there = elsewhere.places[-1]
    kind = "above a cell" if there == "cell" else "on a line of a notebook"
    return f"It stands {kind}: {PROGRAMS[there]} {elsewhere.name}."


def _parted(command: Command, extra: str, tokens: Sequence[str]) -> str:
    """Return the cure where blanks have parted the value of the option just before `extra`."""
    at = tokens.index(extra) if extra in tokens else 0
    flag, value = tokens[at - 2 : at] if at >= 2 else ("", "")
    one = command.option_of(flag)
    if one is None or one.kind in ("flag", "switch"):
        return ""
    if "," in str(one.metavar):
        return (
            f"Write its values with commas and without blanks, {flag} {one.metavar}; one that has"
            " blanks itself in quotes."
        )
    return f'Put a value that has blanks into quotes: {flag} "{value} {extra}".'


def help_text(words: Sequence[str], place: Place) -> str:
    """Return the help on a command, or the overview. Raises ArgumentError."""
    if not words:
        return _overview(place)
    found = find_command(words[0])
    if found is None and words[0] != "image":
        raise ArgumentError(
            f"Unknown command: {words[0]!r}.",
            hint=nearest(words[0], [one.name or "" for one in TABLE])
            or f"Commands are: {', '.join(one.name or '' for one in TABLE)}.",
        )
    where: Place = place if found is None or place in found.places else found.places[-1]
    group = program(where)
    parent = click.Context(group, info_name=PROGRAMS[where], terminal_width=HELP_COLUMNS)
    command: click.Command = group
    context = parent
    for word in words:
        if not isinstance(command, click.Group):
            break
        inner = command.get_command(context, word)
        if inner is None:
            break
        command = inner
        context = click.Context(command, info_name=word, parent=context)
    return command.get_help(context)


def _overview(place: Place) -> str:
    if place == "shell":
        group = program("shell")
        return group.get_help(click.Context(group, info_name="conduit", terminal_width=100))
    lines = ["Conduit turns rows into typed records with a language model.", ""]
    for where in ("cell", "line"):
        commands = [one for one in TABLE if where in one.places]
        lines += [
            *(f"  {f'{PROGRAMS[where]} {one.name}':<21} {one.help}" for one in commands),
            "",
        ]
    return "\n".join([*lines, _filled(OVERVIEW_END)])


def find_command(name: str) -> Command | None:
    """Return the command of that name or alias, wherever it can stand."""
    return next((one for one in TABLE if name == one.name or name in one.aliases), None)


@cache
def program(place: Place) -> Commands:
    """Return the commands of one place as one click group."""
    commands: list[click.Command] = [one for one in TABLE if place in one.places]
    if place != "cell":
        commands = [
            Commands("image", IMAGE, help="Build or push the image of LmLite for containers.")
            if one is IMAGE[0]
            else one
            for one in commands
            if one is not IMAGE[1]
        ]
    return Commands(
        PROGRAMS[place],
        commands,
        help="Plan, deploy and watch language models; see what they need, and what they cost.",
        epilog="The same commands work in a notebook: %conduit plan, %conduit deploy, %conduit ps.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def _click_argument(one: Argument) -> click.Argument:
    return click.Argument(
        [one.name],
        nargs=-1 if one.is_many else 1,
        required=one.is_required,
        metavar=(f"{one.metavar}…" if one.is_many else one.metavar)
        if one.is_required
        else f"[{one.metavar}]",
    )


def _click_option(one: Option) -> click.Option:
    """Return the option as click reads it: its value is a text, which `Option.read` checks."""
    if one.kind == "switch":
        return click.Option(
            [f"{one.flag}/{one.negative_flag}", one.name], default=None, help=one.help
        )
    declared = [*one.flags, one.name]
    if one.kind == "flag":
        return click.Option(declared, is_flag=True, default=False, help=one.help)
    return click.Option(
        declared,
        type=click.STRING,
        multiple=one.kind == "texts",
        metavar=one.metavar,
        help=one.help,
    )


def _filled(text: str) -> str:
    """Put in what is known only now: the names that a cell need not import, the default model."""
    if "{provided}" in text:
        names = _load("conduit_nb.notebook.cell:provided_text")()
        text = text.replace("{provided}", names)
    if "{default_model}" in text:
        text = text.replace("{default_model}", _load("conduit_nb.settings:default_model")())
    return text


def _load(where: str) -> Callable[..., Any]:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


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
ROWS is an expression, `reviews.head(20)`: a DataFrame, a Series, or a list of texts, of dicts or of
dataclass records.

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
- --background returns a handle at once; the next cell finds it in `_`: `await _`, `_.result()`,
  `_.cancel()`. OUT is bound when it ends.

The default model is {default_model}."""

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
disks, which may still be billed; `terminate` ends that, too. `all` stops everything that can be
stopped, and says what is still billed. In Python: conduit_nb.stop()."""

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

IMAGE = (
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
)

TABLE: tuple[Command, ...] = (
    Command(
        "schema",
        "Define dataclasses, and show them as the model reads them.",
        run_in_cell="conduit_nb.notebook.schema_cell:define_schemas",
        places=("cell",),
        details=_SCHEMA,
    ),
    Command(
        "block",
        "Make a typed function of an instruction.",
        run_in_cell="conduit_nb.notebook.block_cell:define_block",
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
                help="Show a table that stays as it is, instead of one that refreshes itself.",
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
    ),
    *IMAGE,
    Command(
        "doctor",
        "Check what works on this machine, and say what to do for the rest.",
        run="conduit_nb.notebook.doctor:doctor",
        details="In Python: conduit_nb.doctor().",
        is_quiet=True,
    ),
)
