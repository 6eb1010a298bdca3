"""The program `conduit`: plan, offerings, and what runs, with the words of a cell.

Its answers go to stdout, its errors (two lines) to stderr; with `--json` both are one document on
stdout. The exit code is 0 for an answer, also for "it does not fit"; 1 for an error, 2 where the
command line cannot be understood. What a word needs is loaded when the word is used.
Layer 7.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from conduit_nb.errors import ArgumentError, ConduitError, plain
from conduit_nb.plans.options import (
    DEPLOY_OPTIONS,
    GPU_OPTION,
    JSON_OPTION,
    LIMIT_OPTION,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
    Option,
)
from conduit_nb.spelling import command_meant, did_you_mean, nearest

USAGE_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141
# Words of a notebook that a shell has no use for, and what to do there instead.
NOTEBOOK_WORDS = {
    **{
        word: f"It stands in a notebook: %%conduit {word}."
        for word in ("schema", "block", "map", "pipeline")
    },
    **{word: f"It stands in a notebook: %conduit {word}." for word in ("panel", "debug")},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = JSON_OPTION.flag in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no letters for bars
    try:
        exit_code: int | None = program.main(given, prog_name="conduit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as err:
        print(err.format_message())
        return USAGE_ERROR
    except click.UsageError as err:
        return _fail(_to_argument_error(err), as_json=as_json, exit_code=USAGE_ERROR)
    except ConduitError as err:
        return _fail(err, as_json=as_json, exit_code=1)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # `conduit offerings | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return exit_code or 0


def _fail(error: ConduitError, *, as_json: bool, exit_code: int) -> int:
    if as_json:
        _print_json(_load("conduit_nb.plans.documents:error_document")(error))
    else:
        print(f"{type(error).__name__}: {plain(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  {plain(error.hint)}", file=sys.stderr)
    return exit_code


def _to_argument_error(err: click.UsageError) -> ArgumentError:
    path = err.ctx.command_path if err.ctx else "conduit"
    # Its own message names what is near as well, in words of its own.
    message = re.split(r" \(?Did you mean| \(Possible options", err.format_message())[0]
    at_fault = err.param.name if isinstance(err, click.BadParameter) and err.param else None
    return ArgumentError(
        f"{path}: {message}", param=at_fault, hint=_meant(err) or f"See {path} --help."
    )


def _meant(err: click.UsageError) -> str:
    """Return "Did you mean …?" for the option, the word or the choice that nobody knows."""
    if err.ctx is None:
        return ""
    command = err.ctx.command
    if isinstance(err, click.NoSuchOption):
        options = (one for one in command.get_params(err.ctx) if isinstance(one, click.Option))
        return nearest(
            err.option_name,
            [name for one in options for name in (*one.opts, *one.secondary_opts)],
        )
    if isinstance(err, click.BadParameter):
        wrong = re.match(r"'(.*?)' is not one of ", err.message)
        kind = err.param.type if err.param is not None else None
        return nearest(wrong[1], kind.choices) if wrong and isinstance(kind, click.Choice) else ""
    wrong = re.match(r"No such command '(.*?)'", err.message)
    if wrong and isinstance(command, click.Group):
        meant = command_meant(wrong[1], {*command.list_commands(err.ctx), *NOTEBOOK_WORDS})
        return NOTEBOOK_WORDS.get(meant, did_you_mean(meant)) if meant else ""
    return ""


def _plan(model_ids: tuple[str, ...], as_json: bool, **values: Any) -> None:
    view = _load("conduit_nb.notebook.planning:asked_plan")(model_ids, values)
    _show(view, view.document() if as_json else None)


def _offerings(as_json: bool, **values: Any) -> None:
    view = _load("conduit_nb.notebook.planning:asked_offerings")(values)
    _show(view, view.document(why=values["why"]) if as_json else None)


def _deploy(model_ids: tuple[str, ...], as_json: bool, **values: Any) -> None:
    with _told():
        table = _load("conduit_nb.notebook.deploying:asked_deploy")(model_ids, values)
    _tell(table, as_json=as_json)


def _word(where: str) -> Callable[..., None]:
    """Return what carries out a word that takes a name, or nothing, and shows a table."""

    def carry_out(as_json: bool, **values: Any) -> None:
        with _told():
            table = _load(where)(**values)
        _tell(table, as_json=as_json)

    return carry_out


def _logs(name: str | None, tail: int, as_json: bool) -> None:
    lines = [plain(line) for line in _load("conduit_nb.notebook.control:logs")(name, tail=tail)]
    _show("\n".join(lines), lines if as_json else None)


def _image_build(
    cuda: bool, tag: str | None, base: str | None, torch_index: str, as_json: bool
) -> None:
    build = _load("conduit_nb.images.building:build_image")
    tell = _say_aside if as_json else _say
    name = build(cuda=cuda, tag=tag, base=base, torch_index=torch_index, tell=tell)
    if as_json:
        _print_json({"image": name})


def _image_push(tag: str, as_json: bool) -> None:
    _load("conduit_nb.images.building:push_image")(tag, tell=_say_aside if as_json else _say)
    if as_json:
        _print_json({"image": tag})


def _help(words: tuple[str, ...]) -> None:
    """Show what --help shows: of the program, or of the command that is named."""
    program.main([*words, "--help"], prog_name="conduit", standalone_mode=False)


def _told() -> AbstractContextManager[None]:
    """Show on stderr what goes on while a word is carried out."""
    return _load("conduit_nb.notebook.notices:told_on_stderr")()


def _say(text: str) -> None:
    print(plain(text), flush=True)


def _say_aside(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


def _tell(table: object, *, as_json: bool) -> None:
    """Print a table, as text or as a list of objects."""
    _show(table, _load("conduit_nb.plans.documents:table_document")(table) if as_json else None)


def _show(view: object, document: object | None) -> None:
    if document is None:
        print(view)
    else:
        _print_json(document)


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


def _load(where: str) -> Callable[..., Any]:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def _parameter(option: Option) -> click.Option:
    """Return the option as click knows it."""
    if option.kind == "switch":
        declared = [f"{option.flag}/{option.negative_flag}", option.name]
        return click.Option(declared, default=None, help=option.help)
    declared = [option.flag, option.name]
    if option.kind == "flag":
        return click.Option(declared, is_flag=True, help=option.help)
    return click.Option(
        declared,
        type=_type(option),
        multiple=option.kind == "texts",
        default=option.default,
        metavar=option.metavar,
        callback=_split if option.kind == "names" else None,
        help=option.help,
    )


def _type(option: Option) -> click.ParamType[Any]:
    if option.choices:
        return click.Choice(option.choices)
    match option.kind:
        case "count":
            return click.IntRange(min=1)
        case "number":
            return click.FloatRange(min=0)
        case _:
            return click.STRING


def _split(_context: click.Context, _option: click.Parameter, text: str | None) -> list[str] | None:
    return None if text is None else text.split(",")


_ANSWER_OPTIONS = (WHY_OPTION, LIMIT_OPTION, JSON_OPTION)

_JSON = _parameter(JSON_OPTION)
_DEPLOYING = "conduit_nb.notebook.deploying"


def _named(word: str, help_text: str, *, where: str = _DEPLOYING) -> click.Command:
    """Return a word that takes the name of a deployment."""
    return click.Command(
        word,
        callback=_word(f"{where}:{word}"),
        params=[click.Argument(["name"], metavar="NAME"), _JSON],
        help=help_text,
    )


program = click.Group(
    "conduit",
    help="What language models need, what can hold them, what that costs, and what runs.",
    epilog="The same words work in a notebook: %conduit plan, %conduit deploy, %conduit ps.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    commands=[
        click.Command(
            "plan",
            callback=_plan,
            params=[
                click.Argument(["model_ids"], nargs=-1, required=True, metavar="ID_OR_FOLDER…"),
                *map(_parameter, (*PLAN_OPTIONS, GPU_OPTION, JSON_OPTION)),
            ],
            short_help="What models need of each device's memory, and whether it fits.",
            help="What models need of each device's memory, term by term, and whether it fits. "
            "A folder may hold nothing but a config.json; several models are planned together.",
        ),
        click.Command(
            "offerings",
            callback=_offerings,
            params=list(map(_parameter, (*OFFERINGS_OPTIONS, *PLAN_OPTIONS, *_ANSWER_OPTIONS))),
            short_help="What compute is offered, at what price, and what holds a model.",
            help="What compute is offered, by this machine and by providers, at what price; with "
            "--for ranked by what holds a model.",
        ),
        click.Command(
            "deploy",
            callback=_deploy,
            params=[
                click.Argument(["model_ids"], nargs=-1, required=True, metavar="ID…"),
                *map(_parameter, (*DEPLOY_OPTIONS, JSON_OPTION)),
            ],
            short_help="Have models running: here, in Docker, or rented.",
            help="Have models running: what is there already, else what is started now. Nothing "
            "starts that could cost more than the caps allow; every node ends by itself.",
        ),
        click.Command(
            "ps",
            callback=_word("conduit_nb.notebook.control:ps"),
            params=[
                click.Option(
                    ["--all", "all_nodes"],
                    is_flag=True,
                    help="also nodes of other installations, where nothing was deployed from here",
                ),
                _JSON,
            ],
            help="What runs, where, and what it costs.",
        ),
        click.Command(
            "models",
            callback=_word("conduit_nb.notebook.control:list_models"),
            params=[_JSON],
            help="The models that are loaded, and those that need no network.",
        ),
        click.Command(
            "receipts",
            callback=_word("conduit_nb.notebook.receipts_line:receipts"),
            params=[click.Argument(["notebook"], required=False, metavar="NOTEBOOK.ipynb"), _JSON],
            help="What maps were and cost: the last ones, or those in a notebook's file.",
        ),
        click.Command(
            "logs",
            callback=_logs,
            params=[
                click.Argument(["name"], required=False),
                click.Option(["--tail"], type=click.IntRange(min=0), default=100, metavar="N"),
                _JSON,
            ],
            help="The last lines of a deployment's log; without a name, the local server's.",
        ),
        _named(
            "stop",
            "Stop a deployment and keep its place, which may go on to cost; all: end everything.",
            where="conduit_nb.notebook.control",
        ),
        _named("start", "Start a stopped deployment again, with a new lease."),
        _named("restart", "Start the programs of a deployment anew."),
        _named("terminate", "End a deployment for good; all: every one."),
        click.Command(
            "extend",
            callback=_word(f"{_DEPLOYING}:extend"),
            params=[
                click.Argument(["name"], metavar="NAME"),
                click.Option(["--hours"], type=click.FLOAT, default=1.0, metavar="H"),
                _JSON,
            ],
            help="Let a deployment live so many hours from now on, as far as its money lasts.",
        ),
        click.Command(
            "adopt",
            callback=_word("conduit_nb.notebook.keeping:adopt"),
            params=[click.Argument(["node_name"], metavar="NODE"), _JSON],
            help="Take over a node of another installation, or one that no deployment names.",
        ),
        click.Command(
            "gc",
            callback=_word("conduit_nb.notebook.keeping:gc"),
            params=[
                click.Option(
                    ["--force"], is_flag=True, help="also nodes that another state may use"
                ),
                _JSON,
            ],
            help="End every node of ours that no deployment wants.",
        ),
        click.Command(
            "cost",
            callback=_word(f"{_DEPLOYING}:cost"),
            params=[_JSON],
            help="What each deployment costs and has cost, and what today has cost.",
        ),
        click.Group(
            "image",
            help="The image of LmLite for Docker and Runpod.",
            commands=[
                click.Command(
                    "build",
                    callback=_image_build,
                    params=[
                        click.Option(["--cuda"], is_flag=True, help="for NVIDIA GPUs"),
                        click.Option(["--tag"], metavar="NAME", help="how it is called"),
                        click.Option(["--base"], metavar="IMAGE", help="Python 3.11 with pip"),
                        click.Option(
                            ["--torch-index"],
                            default="",
                            metavar="URL",
                            help="a package index with another build of PyTorch",
                        ),
                        _JSON,
                    ],
                    help="Build it out of this very package.",
                ),
                click.Command(
                    "push",
                    callback=_image_push,
                    params=[click.Argument(["tag"], metavar="NAME"), _JSON],
                    help="Push it to its registry, with Docker's login.",
                ),
            ],
        ),
        click.Command(
            "help",
            callback=_help,
            params=[click.Argument(["words"], nargs=-1, metavar="[COMMAND]")],
            help="Show this help, or that of a command.",
        ),
        click.Command(
            "doctor",
            callback=_word("conduit_nb.notebook.doctor:doctor"),
            params=[_JSON],
            help="What works on this machine, and what to do for the rest.",
        ),
    ],
)
click.version_option(package_name="conduit-nb", prog_name="conduit")(program)
