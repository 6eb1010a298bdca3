"""Whether anybody looks at a panel: what its views said last, by a clock that stands in cells.

A view says that it is seen, again and again while it is. The kernel hears nothing while it runs a
cell, so that time is no sign of absence.
Layer 7.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

from IPython.core.getipython import get_ipython


class ShellClock:
    """Seconds in which views can be heard: it stands while the shell runs a cell."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._in_cells_s = 0.0
        self._cells = 0  # one may run another
        self._began = 0.0

    def __call__(self) -> float:
        """Return the time of this clock; only differences mean something."""
        return (self._began if self._cells else self._now()) - self._in_cells_s

    def begin_cell(self, *_: object) -> None:
        """Stand still: IPython calls it before a cell."""
        if not self._cells:
            self._began = self._now()
        self._cells += 1

    def end_cell(self, *_: object) -> None:
        """Go on: IPython calls it after a cell, also after an empty one that never began."""
        if self._cells == 1:
            self._in_cells_s += self._now() - self._began
        self._cells = max(0, self._cells - 1)


class Attention:
    """What the views of one panel have said about being seen."""

    def __init__(self, clock: Callable[[], float], absent_after_s: float) -> None:
        self._clock = clock
        self._absent_after_s = absent_after_s
        self._seen = {"": clock()}  # a panel is made to be looked at: its first view comes soon

    @property
    def is_seen(self) -> bool:
        """Whether a view said so lately: of a page that was closed nothing more is heard."""
        return any(self.sees(view) for view in list(self._seen))

    def sees(self, view: str) -> bool:
        """Return whether this view said so lately."""
        at = self._seen.get(view)
        return at is not None and self._clock() - at < self._absent_after_s

    def see(self, view: str) -> None:
        """Take note that a view is seen now."""
        self._seen[view] = self._clock()

    def leave(self, view: str) -> None:
        """Take note that a view is gone."""
        self._seen = {one: at for one, at in self._seen.items() if one not in (view, "")}


_clocks: WeakKeyDictionary[Any, ShellClock] = WeakKeyDictionary()


def shell_clock() -> ShellClock:
    """Return the clock of the running IPython, the same for all panels; without one it goes on."""
    shell = cast("Any", get_ipython())
    if shell is None:
        return ShellClock()
    clock = _clocks.get(shell)
    if clock is None:
        clock = _clocks[shell] = ShellClock()
        clock.begin_cell()  # the one that makes the first panel
        shell.events.register("pre_run_cell", clock.begin_cell)
        shell.events.register("post_run_cell", clock.end_cell)
    return clock
