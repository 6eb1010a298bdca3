"""notebook/notices.py: what the session tells is shown, whenever the session came to be."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.events import Notice, Step
from conduit_nb.notebook import notices
from conduit_nb.notebook.notices import MovingLine, NoticeBoard, Place, told_on_stderr
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


def line_on(place: Place) -> tuple[io.StringIO, MovingLine]:
    stream = io.StringIO()
    return stream, MovingLine(lambda: stream, place)


def seen(written: str) -> list[str]:
    """Return the lines that a reader sees, where `\\r` goes back to a line's begin."""
    lines: list[str] = []
    for line in written.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.parametrize("place", ["cell", "terminal"])
def test_the_last_word_replaces_the_one_before_and_a_notice_both(place: Place):
    stream, line = line_on(place)

    line.move("boots: a longer text")
    line.move("boots: 2 s")
    assert seen(stream.getvalue()) == ["boots: 2 s"]
    line.put("It is ready.")
    line.move("loads")
    line.rest()
    line.rest()
    line.put("more")

    assert seen(stream.getvalue()) == ["It is ready.", "loads", "more", ""]


def test_in_a_log_are_whole_lines_and_few(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(notices.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = MovingLine(lambda: stream, "log")
    line._throttle = notices.Throttle(10, first=False, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        line.move(f"boots: {second} s")
    line.put("It is ready.")

    assert stream.getvalue() == "boots: 10 s\nboots: 20 s\nIt is ready.\n"


def test_a_line_that_waits_is_left_out_while_another_moves(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(notices.time, "monotonic", lambda: now[0])
    first, of_map = line_on("terminal")
    second, of_boot = line_on("terminal")

    of_map.move("0 of 5 rows")
    of_boot.move("boots", waits=True)
    assert second.getvalue() == ""
    now[0] += notices.HELD_S
    of_boot.move("boots still", waits=True)
    of_map.move("1 of 5 rows")

    assert seen(second.getvalue()) == ["boots still"]
    assert seen(first.getvalue()) == ["1 of 5 rows"]


@pytest.mark.parametrize("end", [lambda line: line.rest(), lambda line: line.put("Done.")])
def test_a_line_that_has_ended_keeps_no_other_from_moving(end: Callable[[MovingLine], None]):
    _, of_map = line_on("terminal")
    second, of_boot = line_on("terminal")

    of_map.move("5 of 5 rows")
    end(of_map)
    of_boot.move("boots", waits=True)

    assert seen(second.getvalue()) == ["boots"]


def test_lines_of_two_outputs_move_at_once():
    _, of_map = line_on("cell")
    second, of_boot = line_on("cell")

    of_map.move("0 of 5 rows")
    of_boot.move("boots", waits=True)

    assert seen(second.getvalue()) == ["boots"]


@pytest.mark.parametrize("place", ["terminal", "cell", "log"])
def test_a_stream_that_is_closed_fails_nobody(place: Place):
    stream = io.StringIO()
    line = MovingLine(lambda: stream, place)
    line.move("1 of 2")
    stream.close()

    line.move("2 of 2")
    line.put("Done.")
    line.rest()
