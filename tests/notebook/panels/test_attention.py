"""notebook/panels/attention.py: who looks at a panel, and the clock that stands in cells."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb.notebook.panels.attention import Attention, ShellClock, shell_clock
from tests.waiting import until_true


class Time:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> ShellClock:
    return ShellClock(time)


@pytest.fixture
def attention(clock: ShellClock) -> Attention:
    return Attention(clock, 60)


def test_a_panel_is_seen_for_a_minute_after_it_was_made(attention: Attention, time: Time):
    assert attention.is_seen
    time.pass_s(59)
    assert attention.is_seen
    time.pass_s(2)

    assert not attention.is_seen


def test_it_is_seen_while_one_of_its_views_said_so_lately(attention: Attention, time: Time):
    attention.see("one")
    time.pass_s(50)
    attention.see("two")
    time.pass_s(50)

    assert attention.is_seen
    assert (attention.sees("one"), attention.sees("two"), attention.sees("none")) == (
        False,
        True,
        False,
    )
    time.pass_s(20)
    assert not attention.is_seen
    attention.see("one")
    assert attention.is_seen


def test_it_is_not_seen_once_its_last_view_is_gone(attention: Attention):
    attention.see("one")
    attention.see("two")
    attention.leave("one")
    assert attention.is_seen
    attention.leave("two")

    assert not attention.is_seen


def test_time_in_cells_is_no_absence(attention: Attention, clock: ShellClock, time: Time):
    attention.see("one")
    time.pass_s(30)
    clock.begin_cell()
    time.pass_s(36_000)
    assert attention.is_seen
    clock.end_cell()
    assert attention.is_seen
    time.pass_s(29)
    assert attention.is_seen
    time.pass_s(2)

    assert not attention.is_seen


def test_the_clock_stands_until_the_outermost_cell_ends(clock: ShellClock, time: Time):
    clock.begin_cell()
    began = clock()
    clock.begin_cell()
    time.pass_s(10)
    clock.end_cell()
    time.pass_s(10)
    assert clock() == began
    clock.end_cell()
    time.pass_s(10)

    assert clock() == began + 10


def test_a_cell_that_never_began_ends_nothing(clock: ShellClock, time: Time):
    began = clock()
    clock.end_cell()
    time.pass_s(10)
    clock.begin_cell()
    time.pass_s(10)
    clock.end_cell()

    assert clock() == began + 10


def test_without_ipython_it_goes_on():
    clock = shell_clock()
    began = clock()

    until_true(lambda: clock() > began)


def test_all_panels_of_a_shell_have_one_clock_that_stands_while_it_runs_a_cell(
    shell: InteractiveShell,
):
    read: list[bool] = []

    def goes(clock: ShellClock) -> bool:
        began = clock()
        return any(clock() > began for _ in range(100_000))

    shell.push({"goes": lambda: read.append(goes(shell_clock()))})
    shell.run_cell("goes()")  # the cell that makes the first panel
    clock = shell_clock()
    assert goes(clock)
    shell.run_cell("goes(); 1 / 0")
    shell.run_cell("")

    assert read == [False, False]
    assert goes(clock)
    assert shell_clock() is clock
