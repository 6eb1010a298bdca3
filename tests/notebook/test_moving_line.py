"""notebook/moving_line.py: a line that is written over, and what is written between."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from conduit_nb.notebook import moving_line
from conduit_nb.notebook.moving_line import MovingLine, Place


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
    monkeypatch.setattr(moving_line.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = MovingLine(lambda: stream, "log")
    line._throttle = moving_line.Throttle(10, first=False, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        line.move(f"boots: {second} s")
    line.put("It is ready.")

    assert stream.getvalue() == "boots: 10 s\nboots: 20 s\nIt is ready.\n"


def test_a_line_that_waits_is_left_out_while_another_moves(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(moving_line.time, "monotonic", lambda: now[0])
    first, of_map = line_on("terminal")
    second, of_boot = line_on("terminal")

    of_map.move("0 of 5 rows")
    of_boot.move("boots", waits=True)
    assert second.getvalue() == ""
    now[0] += moving_line.HELD_S
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
