"""notebook/magics.py: every word does its work, every mistake fails the cell."""

from __future__ import annotations

import re

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.magics import keep_empty_cell
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells


@pytest.mark.parametrize(
    ("cell", "param", "fact", "hint"),
    [
        ("%conduit pss", "command", "%conduit pss", did_you_mean("ps")),
        ("%conduit zebra", "command", "%conduit zebra", "ps, models, logs"),
        ("%%conduit mpa df\nclass A:\n    x: int", "command", "%conduit mpa", did_you_mean("map")),
        ("%conduit map df", "command", "map", " %%conduit map"),
        ("%%conduit ps\nbody", "command", "ps", " %conduit ps"),
        ("%%conduit\nclass A:\n    x: int", None, "%%conduit", "map, "),
        ("%conduit ps now", None, "'now'", "%conduit ps"),
        ("%conduit ps  # what runs", None, "'# what runs'", ""),
        ("%conduit logs --tial 3", "tial", "--tial", did_you_mean("--tail")),
        ("%conduit logs --tail few", "tail", "'few'", "%conduit logs [NAME] [--tail N]"),
        ("%conduit help maps", "command", "maps", did_you_mean("map")),
        ("%%conduit map df -o\nclass A:\n    x: int", "out", "-o", "ROWS"),
        ("%%conduit map 'df\nclass A:\n    x: int", None, "'df", "'"),
        ("%%conduit schema A\nclass A:\n    x: int", None, "'A'", "%%conduit schema"),
    ],
)
def test_a_mistake_is_an_error_that_fails_the_cell(
    cells: Cells, cell: str, param: str | None, fact: str, hint: str
):
    error = cells.fail(cell, ArgumentError)

    assert error.param == param
    assert fact in str(error)
    assert hint in error.hint


@pytest.mark.parametrize("cell", ["%%conduit schema", "%%conduit schema\n", "%%conduit schema\n\n"])
def test_a_cell_without_a_body_is_our_error_and_not_ipythons(cells: Cells, cell: str):
    assert "`class Review:`" in cells.fail(cell, ArgumentError).hint


def test_an_error_shows_two_lines_what_and_what_to_do(cells: Cells):
    cells.fail("%conduit pss")

    what, to_do = cells.stdout.splitlines()
    assert re.fullmatch("ArgumentError: .*%conduit pss.*", what)
    assert to_do == f"  {did_you_mean('ps')}"


@pytest.mark.parametrize("cell", ["%conduit", "%conduit help", "%conduit --help", "%conduit -h"])
def test_help_is_what_it_says_without_a_word(cells: Cells, cell: str):
    assert "%%conduit map reviews -o verdicts" in repr(cells.run(cell))


@pytest.mark.parametrize(
    "cell",
    ["%conduit help map", "%conduit map --help", "%%conduit map df -h\nclass A:\n    x: int"],
)
def test_help_on_a_word_is_had_in_three_ways(cells: Cells, cell: str):
    assert "--max-errors N" in repr(cells.run(cell))


def test_dollars_and_braces_reach_the_command_as_they_are(cells: Cells):
    cells.names["x"] = 1

    error = cells.fail("%conduit help {x}$x")

    assert "{x}$x" in str(error)


def test_the_extension_is_loaded_twice_and_unloaded(shell: InteractiveShell):
    shell.run_line_magic("load_ext", "conduit_nb")
    shell.run_line_magic("reload_ext", "conduit_nb")
    cells = Cells(shell)
    assert cells.run("%conduit help") is not None

    shell.run_line_magic("unload_ext", "conduit_nb")

    assert shell.find_line_magic("conduit") is None
    assert shell.find_cell_magic("conduit") is None
    assert keep_empty_cell not in shell.input_transformers_cleanup


def test_ordinary_cells_and_other_magics_are_left_alone(cells: Cells):
    assert cells.run("1 + 1") == 2
    cells.run("%%time\nx = 3")
    assert cells.names["x"] == 3


def test_a_line_takes_the_value_of_a_variable(cells: Cells):
    cells.names["topic"] = "map"

    cells.run("%conduit help {topic}")

    assert "%%conduit map ROWS" in cells.stdout


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("status", did_you_mean("ps")),
        ("statuss", did_you_mean("ps")),
        ("kill", did_you_mean("terminate")),
        ("run", " %%conduit map"),
    ],
)
def test_what_other_tools_call_it_is_understood(cells: Cells, word: str, meant: str):
    assert meant in cells.fail(f"%conduit {word}", ArgumentError).hint
