"""notebook/notices.py: what the session tells is shown, whenever the session came to be."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.events import Notice, Step
from conduit_nb.notebook.moving_line import MovingLine
from conduit_nb.notebook.notices import NoticeBoard, told_on_stderr
from conduit_nb.session import process_session
from tests.notebook.conftest import Cells


def test_a_notice_is_printed_where_the_cell_prints(cells: Cells):
    cells.names["tell"] = lambda: process_session().events.emit(
        Notice(text="Models run on the CPU. \x1b[31m")
    )

    cells.run("tell()")

    assert cells.stdout == "Models run on the CPU. \ufffd[31m\n"


def test_notices_from_before_the_extension_was_loaded_are_not_shown(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
):
    process_session().events.emit(Notice(text="of old"))
    shell.run_line_magic("load_ext", "conduit_nb")

    Cells(shell).run("1")

    assert "of old" not in capsys.readouterr().out


def test_an_extension_that_was_unloaded_shows_nothing_more(
    cells: Cells, capsys: pytest.CaptureFixture[str]
):
    cells.shell.run_line_magic("unload_ext", "conduit_nb")

    process_session().events.emit(Notice(text="too late"))

    assert "too late" not in capsys.readouterr().out


def test_a_notice_of_the_cell_that_made_the_session_is_shown_once():
    """In a process of its own: here the session has long been made."""
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "conduit_nb")
shell.run_cell('''
from conduit_nb.events import Notice
from conduit_nb.session import process_session
process_session().events.emit(Notice(text="first"))
''')
shell.run_cell("process_session().events.emit(Notice(text='second'))")
shell.run_cell("1")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    said = [line for line in done.stdout.splitlines() if line in ("first", "second")]
    assert said == ["first", "second"], done.stdout


def test_a_step_moves_in_a_cell_and_what_follows_begins_a_line_of_its_own():
    shown = io.StringIO()
    board = NoticeBoard(MovingLine(lambda: shown, "cell"))
    for far in ("1 of 9 MB \x1b[31m", "5 of 9 MB"):
        process_session().events.emit(Step(text=far))
    board.settle()
    board.close()

    said = shown.getvalue()
    assert said.startswith("\r1 of 9 MB \ufffd[31m\r5 of 9 MB")
    assert said.endswith("\n")


def test_the_shell_tells_on_stderr_while_a_word_is_carried_out(
    capsys: pytest.CaptureFixture[str],
):
    with told_on_stderr():
        process_session().events.emit(Notice(text="it starts"))
    process_session().events.emit(Notice(text="too late"))

    captured = capsys.readouterr()
    assert captured.err == "it starts\n"
    assert captured.out == ""
