"""commands.py: one table of commands, whose help is there, is short, and does not lie."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from conduit_nb.cli import main
from conduit_nb.command_line import PROGRAMS, Command, LineError, Place, flags_of, usage_of
from conduit_nb.commands import TABLE, Commands, help_text, names, program, run_line
from conduit_nb.notebook.cell import PROVIDED
from conduit_nb.spelling import did_you_mean

VERBS = {
    *("Build", "Chain", "Check", "Compute", "Define", "Deploy", "Extend", "Fill", "List", "Make"),
    *("Print", "Push", "Restart", "Show", "Start", "Stop", "Take", "Terminate"),
}
"""What a summary may begin with: imperatives."""


def leaves() -> Iterator[tuple[str, Command]]:
    """Yield every command with the words that call it."""
    for one in TABLE:
        if isinstance(one, Command):
            yield one.name or "", one
        else:
            for inner in one.commands.values():
                assert isinstance(inner, Command)
                yield f"{one.name} {inner.name}", inner


COMMANDS = dict(leaves())
SHARED = [words for words, command in COMMANDS.items() if {"shell", "line"} <= {*command.places}]
every_command = pytest.mark.parametrize("words", COMMANDS)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("one", TABLE, ids=names())
def test_a_summary_begins_with_an_imperative(one: Command | Commands):
    assert one.help is not None
    assert one.help.split()[0] in VERBS
    assert one.help.endswith(".")


@every_command
def test_help_fits_a_screen_and_has_no_gaps(words: str):
    for place in ("line", "shell"):
        text = help_text(words.split(), place)

        assert max(map(len, text.splitlines())) <= 100
        assert len(text.splitlines()) < 75
        # What the command of an image may have in it is written so, and a variable.
        assert not re.search(r"\{(?!port\}|model\}|model_id\})[a-z_]+\}", text)


@every_command
def test_help_names_exactly_the_options_that_there_are(words: str):
    command = COMMANDS[words]
    text = help_text(words.split(), "line")
    listed = re.findall(r"(?m)^  (-\S.*?)(?:\s{2,}.*)?$", text.partition("ptions:\n")[2])

    assert sorted(listed) == sorted(map(usage_of, command.options))


@pytest.mark.parametrize("words", ["map", "block", "deploy", "offerings", "plan"])
def test_what_help_says_of_options_is_about_its_own(words: str):
    named = set(re.findall(r"(?<![\w-])--[a-z-]+[a-z]", help_text([words], "line")))

    assert named <= {flag for one in COMMANDS[words].options for flag in flags_of(one)}


@every_command
def test_every_option_is_described_in_sentences(words: str):
    for one in COMMANDS[words].options:
        assert one.help.endswith("."), one.flag
        assert one.help[0].isupper(), one.flag


@every_command
def test_no_two_options_of_a_command_are_written_alike(words: str):
    command = COMMANDS[words]
    flags = [flag for one in command.options for flag in flags_of(one)]
    options = [one.name for one in command.options] + [one.name for one in command.arguments]

    assert len(flags) == len(set(flags))
    assert len(options) == len(set(options))


@every_command
def test_what_takes_a_value_says_what_that_is(words: str):
    for one in COMMANDS[words].options:
        assert one.kind in ("flag", "switch") or one.metavar, one.flag


@pytest.mark.parametrize("words", SHARED)
def test_shell_and_notebook_show_the_same_help(words: str):
    shell, line = (help_text(words.split(), place) for place in ("shell", "line"))
    of_notebooks = [
        one.flag
        for one in COMMANDS[words].options
        if one not in COMMANDS[words].options_in("shell")
    ]

    shared = [row for row in line.splitlines() if not any(flag in row for flag in of_notebooks)]
    assert shell.splitlines() == [row.replace("%conduit", "conduit") for row in shared]


@pytest.mark.parametrize("words", [*SHARED, "image", "help deploy"])
def test_help_is_an_option_and_a_command(words: str, capsys: pytest.CaptureFixture[str]):
    codes = main(["help", *words.split()]), main([*words.split(), "--help"])

    half = len(text := capsys.readouterr().out) // 2
    assert codes == (0, 0)
    if words != "help deploy":  # which shows the help on deploy, or on help
        assert text[:half] == text[half:]


@pytest.mark.parametrize(("alias", "name"), [(a, one.name) for one in TABLE for a in one.aliases])
def test_an_alias_runs_its_command_and_is_not_listed(alias: str, name: str):
    for place in ("shell", "line"):
        group = program(place)

        assert alias not in group.commands
        assert help_text([alias], place) == help_text([name], place)
        with pytest.raises(LineError) as caught:
            run_line(place, [alias, "--zebra"])
        assert f"{PROGRAMS[place]} help" in caught.value.error.hint


def test_the_old_words_are_still_understood():
    found = {alias: one.name for one in TABLE for alias in one.aliases}

    assert found == {"adopt": "attach", "gc": "cleanup", "list": "ps"}


def test_the_overview_names_every_command():
    text = help_text([], "line")

    assert all(re.search(rf"(?m)^  %%?conduit {name} ", text) for name in names())
    assert max(map(len, text.splitlines())) <= 100
    assert set(program("shell").commands) <= set(
        re.findall(r"(?m)^  (\w+)", help_text([], "shell"))
    )


def test_help_on_schemas_names_what_needs_no_import():
    assert all(name in help_text(["schema"], "line") for name in PROVIDED)


@pytest.mark.parametrize(
    ("place", "words", "hint"),
    [
        ("line", ["maps"], did_you_mean("map")),
        ("shell", ["depoly"], did_you_mean("deploy")),
        ("line", ["status"], did_you_mean("ps")),
        ("line", ["image", "biuld"], did_you_mean("build")),
        ("line", ["zebra"], "deploy, ps"),
    ],
)
def test_help_on_an_unknown_command_names_the_nearest(place: Place, words: list[str], hint: str):
    with pytest.raises(LineError) as caught:
        help_text(words, place)

    assert hint in caught.value.error.hint
    assert words[-1] in str(caught.value)


def test_a_command_that_stands_elsewhere_is_told_where():
    cases: list[tuple[Place, str, str]] = [
        ("shell", "map", "%%conduit map"),
        ("shell", "panel", "%conduit panel"),
        ("line", "schema", "%%conduit schema"),
        ("cell", "deploy", "%conduit deploy"),
        ("cell", "statuss", "%conduit ps"),
        ("shell", "run", "%%conduit map"),
    ]
    for place, word, there in cases:
        with pytest.raises(LineError) as caught:
            run_line(place, [word])
        assert f" {there}." in caught.value.error.hint
