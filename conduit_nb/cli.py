"""The program `conduit`: the commands of the one table, in a shell.

Answers go to stdout, errors (two lines) to stderr; with `--json` both are one document on stdout.
The exit code is 0 for an answer, also for "it does not fit"; 1 for an error, 2 where the command
line cannot be understood. What a command needs is loaded when it runs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from conduit_nb.command_line import JSON, AsJson, Command
from conduit_nb.commands import document_of, find_command, log_lines, run_line, to_argument_error
from conduit_nb.errors import ConduitError
from conduit_nb.plain_text import plain

USAGE_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = JSON.flag in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no letters for bars
    try:
        exit_code = _run(given)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as err:
        print(err.format_message())
        return USAGE_ERROR
    except click.exceptions.Exit as err:
        return err.exit_code
    except click.UsageError as err:
        return _fail(to_argument_error(err), as_json=as_json, code=USAGE_ERROR)
    except ConduitError as err:
        return _fail(err, as_json=as_json, code=1)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # `conduit offerings | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return exit_code


def _run(given: Sequence[str]) -> int:
    command = find_command(given[0]) if given else None
    with _progress(command if isinstance(command, Command) else None):
        found: Any = run_line("shell", given)
    if isinstance(found, AsJson):
        print(json.dumps(document_of(found), indent=2, allow_nan=False))
    elif (lines := log_lines(found)) is not None:
        for line in lines:
            print(line)
    elif found is not None:
        print(found)
    return 0


def _progress(command: Command | None) -> Any:
    """Show on stderr what goes on while a command runs, unless it starts and waits for nothing."""
    if command is None or command.is_quiet or "shell" not in command.places:
        return nullcontext()
    return import_module("conduit_nb.notebook.notices").told_on_stderr()


def _fail(error: ConduitError, *, as_json: bool, code: int) -> int:
    if as_json:
        document = import_module("conduit_nb.plans.documents").error_document(error)
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        print(f"{type(error).__name__}: {plain(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  {plain(error.hint)}", file=sys.stderr)
    return code
