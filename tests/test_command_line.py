"""command_line.py: a declared command reads its line, and says what to write where it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.command_line import PROGRAMS, Argument, AsJson, Command, LineError, Place, usage_of
from conduit_nb.errors import ArgumentError
from conduit_nb.options import Kind, Option
from conduit_nb.spelling import did_you_mean

CELL = object()


def given(*arguments: Any, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a command's function was given."""
    return arguments, options


def probe(*options: Option, **settings: Any) -> Command:
    return Command(
        "probe",
        "Probe.",
        run=f"{__name__}:given",
        arguments=[Argument(name="name", metavar="NAME", is_required=False)],
        options=options,
        **settings,
    )


def run(command: Command, *words: str, place: Place = "shell", cell: object = None) -> Any:
    context = command.make_context(PROGRAMS[place], list(words), obj=cell)
    with context:
        return command.invoke(context)


def refused(command: Command, *words: str, place: Place = "shell") -> ArgumentError:
    with pytest.raises(LineError) as caught:
        run(command, *words, place=place)
    return caught.value.error


def an(kind: Kind, **more: Any) -> Option:
    return Option(name="it", kind=kind, help="It.", metavar="IT", **more)


@pytest.mark.parametrize(
    ("option", "words", "value"),
    [
        (an("text"), ["--it", "a b"], "a b"),
        (an("texts"), ["--it", "a", "--it", "b"], ("a", "b")),
        (an("names"), ["--it", "a,b"], ("a", "b")),
        (an("count"), ["--it=3"], 3),
        (an("whole"), ["--it", "0"], 0),
        (an("number"), ["--it", "0.5"], 0.5),
        (an("usd"), ["--it", "2"], 2.0),
        (an("hours"), ["--it", "1.5"], 1.5),
        (an("flag"), ["--it"], True),
        (an("switch"), ["--it"], True),
        (an("switch"), ["--no-it"], False),
        (an("range"), ["--it", "1-4"], (1, 4)),
        (an("command"), ["--it", "serve 'a b'"], ("serve", "a b")),
        (an("count", aliases=("that_one",)), ["--that-one", "3"], 3),
        (an("text", short="-i"), ["-i", "x"], "x"),
        (an("text", written="--for"), ["--for", "x"], "x"),
        (an("text", any_word="any"), ["--it", "any"], None),
    ],
)
def test_an_option_reaches_the_function_as_its_kind(option: Option, words: list[str], value: Any):
    assert run(probe(option), *words) == ((None,), {"it": value})


def test_what_is_left_out_is_left_to_the_function():
    options = (an("count", default=3), Option(name="all", kind="switch", help="All."))

    assert run(probe(*options), "x") == (("x",), {})


def test_with_json_the_answer_is_marked_to_be_printed_so():
    answer = run(probe(), "--json")

    assert isinstance(answer, AsJson)
    assert answer.found == ((None,), {})


def test_in_a_notebook_the_cell_comes_first_but_a_document_needs_none():
    command = probe(run_in_cell=f"{__name__}:given")

    assert run(command, "x", place="line", cell=CELL) == ((CELL, "x"), {})
    assert run(command, "x") == (("x",), {})
    assert run(command, "x", "--json", place="line", cell=CELL).found == (("x",), {})


def test_an_option_of_notebooks_is_unknown_in_a_shell():
    command = probe(notebook_options=[an("flag")], run_in_cell=f"{__name__}:given")

    assert run(command, "--it", place="line", cell=CELL) == ((CELL, None), {"it": True})
    assert refused(command, "--it").param == "it"


@pytest.mark.parametrize(
    ("words", "param", "fact", "hint"),
    [
        (["--ti", "x"], "ti", "--ti", did_you_mean("--it")),
        (["--zebra-x"], "zebra_x", "--zebra-x", "conduit [NAME] [--it IT] [--json]"),
        (["--it"], "it", "--it", "conduit [NAME] [--it IT] [--json]"),
        (["--it", "few"], "it", "--it must be a number (got 'few')", "conduit [NAME] [--it IT]"),
        (["a", "b"], None, "'b'", "conduit [NAME] [--it IT] [--json]"),
        (["a", "--it", "1", "2"], None, "'2'", '--it "1 2"'),
    ],
)
def test_a_line_that_cannot_be_understood_says_what_to_write(
    words: list[str], param: str | None, fact: str, hint: str
):
    error = refused(probe(an("count")), *words)

    assert error.param == param
    assert fact in str(error)
    assert hint in error.hint


def test_what_must_be_there_is_named():
    command = Command(
        "probe",
        "Probe.",
        run=f"{__name__}:given",
        arguments=[Argument(name="names", metavar="NAME", is_many=True)],
        options=[an("text", is_required=True)],
        has_json=False,
    )

    assert refused(command, "--it", "x").param == "names"
    missing = refused(command, "a")
    assert missing.param == "it"
    assert "conduit NAME… --it IT" in missing.hint
    assert run(command, "a", "b", "--it", "x") == (("a", "b"), {"it": "x"})


def test_a_hint_of_the_option_is_kept_where_it_says_more():
    error = refused(probe(an("range")), "--it", "4-1")

    assert "1-4" in error.hint


def test_an_option_is_written_with_its_value():
    assert usage_of(an("text", short="-i")) == "-i, --it IT"
    assert usage_of(an("flag")) == "--it"
    assert usage_of(an("switch")) == "--[no-]it"
