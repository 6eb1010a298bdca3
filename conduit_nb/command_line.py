"""What a command is: a click command made of a declaration, the same in a shell and a notebook.

A line that cannot be understood is a LineError, whose ArgumentError says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NoReturn

import click

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.interrupts import interrupted_after
from conduit_nb.options import Option, read_options
from conduit_nb.spelling import nearest

Place = Literal["shell", "line", "cell"]
"""Where a command can stand: `conduit ps`, `%conduit ps`, `%%conduit map`."""
PROGRAMS: Mapping[Place, str] = {"shell": "conduit", "line": "%conduit", "cell": "%%conduit"}
MAX_USAGE_OPTIONS = 4
"""A usage line names every option where there are no more than these."""
OPTION_COLUMNS = 26

JSON = Option(
    name="as_json", kind="flag", default=False, written="--json", help="Print one JSON document."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """What stands on the line without a flag. `source` says what Tab completes it with."""

    name: str
    metavar: str
    is_many: bool = False
    is_required: bool = True
    source: str | None = None


class LineError(click.UsageError):
    """A line cannot be understood; `error` says why, which argument is at fault, what to write."""

    def __init__(self, error: ArgumentError) -> None:
        super().__init__(str(error))
        self.error = error


class AsJson:
    """What a command has returned, to be printed as one JSON document."""

    def __init__(self, found: Any) -> None:
        self.found = found


class Command(click.Command):
    """A click command made of a declaration: its callback reads the options and runs `run`.

    `run` is "module:function"; in a notebook `run_in_cell`, where that is given, which takes the
    cell (shell and body) first. `notebook_options` are unknown in a shell. With `is_quiet`,
    nothing is shown on stderr while it runs: it starts and waits for nothing.
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
        has_json: bool = True,
    ) -> None:
        self.run = run
        self.run_in_cell = run_in_cell
        self.arguments = tuple(arguments)
        self.places = tuple(places)
        self.details = details
        self.aliases = tuple(aliases)
        self.is_quiet = is_quiet
        self._of_notebooks = frozenset(one.name for one in notebook_options)
        shared = (*options, JSON) if has_json and self.places != ("cell",) else tuple(options)
        self.options = (*shared, *notebook_options)
        super().__init__(
            name,
            callback=self.carry_out,
            params=[*map(_click_argument, self.arguments), *map(_click_option, self.options)],
            help=summary,
            short_help=summary,
            # What is left over is refused in `parse_args`, with what was meant.
            context_settings={"help_option_names": ["-h", "--help"], "allow_extra_args": True},
        )

    def options_in(self, place: Place) -> tuple[Option, ...]:
        """Return the options that are known there."""
        if place != "shell":
            return self.options
        return tuple(one for one in self.options if one.name not in self._of_notebooks)

    def option_of(self, flag: str) -> Option | None:
        """Return the option that a flag belongs to."""
        return next((one for one in self.options if flag in flags_of(one)), None)

    def carry_out(self, **values: Any) -> Any:
        """Read the options, run what carries the command out, and return what that returns."""
        context = click.get_current_context()
        positional: list[Any] = []
        for one in self.arguments:
            value = values.pop(one.name)
            positional += value if one.is_many else [value]
        given = {name: None if value == () else value for name, value in values.items()}
        try:
            options = read_options(self.options, given)
        except ArgumentError as error:
            self._refuse_value(context, error)
        as_json = options.pop("as_json", False)
        if context.obj is not None and self.run_in_cell and not (as_json and self.run):
            found = load(self.run_in_cell)(context.obj, *positional, **options)
        else:  # a document needs nothing that is alive on the screen
            shared = {name: options[name] for name in options if name not in self._of_notebooks}
            found = load(self.run)(*positional, **shared)
        return AsJson(found) if as_json else found

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return what can stand on the line in this place."""
        hidden = self._of_notebooks if place_of(ctx) == "shell" else frozenset[str]()
        return [one for one in super().get_params(ctx) if one.name not in hidden]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line; raise LineError where it cannot be understood."""
        given = list(args)
        try:
            left = super().parse_args(ctx, args)
        except click.NoSuchOption as err:
            flags = [flag for one in self.options_in(place_of(ctx)) for flag in flags_of(one)]
            name = err.option_name.lstrip("-").replace("-", "_")
            hint = nearest(err.option_name, flags)
            self._refuse(ctx, f"Unknown option: {err.option_name}.", param=name, hint=hint)
        except click.BadOptionUsage as err:
            at_fault = self.option_of(err.option_name)
            self._refuse(ctx, err.message, param=at_fault.name if at_fault else None)
        except click.BadParameter as err:
            self._refuse(ctx, err.format_message(), param=err.param.name if err.param else None)
        if left:
            hint = self._parted(left[0], given)
            self._refuse(ctx, f"Unexpected argument: {left[0]!r:.80}.", hint=hint)
        return left

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what stands behind the command: its arguments, then its options."""
        options = self.options_in(place_of(ctx))
        required = [usage_of(one) for one in options if one.is_required]
        others = [f"[{usage_of(one)}]" for one in options if not one.is_required]
        pieces = [_shown(one) for one in self.arguments]
        return [*pieces, *required, *(others if len(options) <= MAX_USAGE_OPTIONS else _ANY_OPTION)]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage, what it does with examples, and the options, the important ones first."""
        self.format_usage(ctx, formatter)
        formatter.write(f"\n{self.help}\n")
        if self.details:
            details = _filled(self.details)
            if place_of(ctx) == "shell":
                details = details.replace("%conduit", "conduit")
            formatter.write(f"\n{details}\n")
        options = self.options_in(place_of(ctx))
        basic = [one for one in options if one.is_basic]
        others = [one for one in options if not one.is_basic]
        for title, group in (
            ("Options" if basic else "", basic),
            ("More options" if basic else "Options", others),
        ):
            if group:
                with formatter.section(title):
                    rows = [(usage_of(one), one.help) for one in group]
                    formatter.write_dl(rows, col_max=OPTION_COLUMNS)

    def _refuse_value(self, ctx: click.Context, error: ArgumentError) -> NoReturn:
        """Raise LineError for an option's value, with its flag instead of its name in Python."""
        at_fault = next((one for one in self.options if one.name == error.param), None)
        if at_fault is None:
            self._refuse(ctx, str(error), param=error.param, hint=error.hint)
        message = str(error)
        if message.startswith(f"{at_fault.name} "):
            message = at_fault.flag + message.removeprefix(at_fault.name)
        hint = "" if error.hint == at_fault.default_hint else error.hint
        self._refuse(ctx, message, param=error.param, hint=hint)

    def _refuse(
        self, ctx: click.Context, message: str, *, param: str | None = None, hint: str = ""
    ) -> NoReturn:
        raise LineError(
            ArgumentError(f"{ctx.command_path}: {message}", param=param, hint=hint or how(ctx))
        ) from None

    def _parted(self, extra: str, tokens: Sequence[str]) -> str:
        """Return the cure where blanks have parted the value of the option just before `extra`."""
        at = tokens.index(extra) if extra in tokens else 0
        flag, value = tokens[at - 2 : at] if at >= 2 else ("", "")
        one = self.option_of(flag)
        if one is None or one.kind in ("flag", "switch"):
            return ""
        if "," in str(one.metavar):
            return (
                f"Write its values with commas and without blanks, {flag} {one.metavar}; one that"
                " has blanks itself in quotes."
            )
        return f'Put a value that has blanks into quotes: {flag} "{value} {extra}".'


_ANY_OPTION = ("[OPTIONS]",)


def place_of(ctx: click.Context) -> Place:
    """Return where the line stands that a context is of."""
    by_program: dict[str, Place] = {name: place for place, name in PROGRAMS.items()}
    return by_program.get(ctx.find_root().info_name or "", "shell")


def how(ctx: click.Context) -> str:
    """Return how a command is written, and where its help is."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    program, _, words = ctx.command_path.partition(" ")
    return f"Write it as: {usage}; see {program.replace('%%', '%')} help {words}".rstrip() + "."


def flags_of(one: Option) -> tuple[str, ...]:
    """Return every way to write an option."""
    return (*one.flags, one.negative_flag) if one.kind == "switch" else one.flags


def usage_of(one: Option) -> str:
    """Return how an option is written: `-o, --out OUT`."""
    if one.kind == "switch":
        return f"--[no-]{one.flag[2:]}"
    flags = ", ".join(flag for flag in (one.short, one.flag) if flag)
    return flags if one.kind == "flag" else f"{flags} {one.metavar or 'TEXT'}"


def load(where: str) -> Callable[..., Any]:
    """Return a function by "module:name"; an interrupt while it is imported is raised after it."""
    module, _, name = where.partition(":")
    with interrupted_after():  # half an import of numpy could not be made good
        return getattr(import_module(module), name)


def _shown(one: Argument) -> str:
    name = f"{one.metavar}…" if one.is_many else one.metavar
    return name if one.is_required else f"[{name}]"


def _click_argument(one: Argument) -> click.Argument:
    return click.Argument(
        [one.name],
        nargs=-1 if one.is_many else 1,
        required=one.is_required,
        metavar=_shown(one),
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
        required=one.is_required,
        metavar=one.metavar,
        help=one.help,
    )


def _filled(text: str) -> str:
    """Put in what is known only now: the names that a cell need not import, the default model."""
    if "{provided}" in text:
        text = text.replace("{provided}", load("conduit_nb.notebook.cell:provided_text")())
    if "{default_model}" in text:
        text = text.replace("{default_model}", load("conduit_nb.settings:default_model")())
    return text
