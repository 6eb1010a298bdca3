"""A line that is written over as things go on: in a terminal, in a cell's output, in a log.

Layer 7.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Literal, TextIO

LOG_EVERY_S = 10.0
HELD_S = 1.5
CELL_COLUMNS = 110

Place = Literal["terminal", "cell", "log"]


class Throttle:
    """Says when the next line is due."""

    def __init__(
        self, every_s: float, *, first: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._clock = clock
        self._next = clock() + (0.0 if first else every_s)

    def is_due(self) -> bool:
        """Say whether it is time, and if so begin to wait for the next."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._every_s
        return True


class MovingLine:
    """Text on a stream, its last line replaced by each `move`; in a log a plain line, seldom.

    Two lines cannot move in one terminal or one cell: who moved last holds it, until it rests or a
    moment has passed. The text must be plain. May be used from several threads.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _last: ClassVar[tuple[MovingLine | None, float]] = (None, 0.0)

    def __init__(self, stream: Callable[[], TextIO], place: Place) -> None:
        self._stream = stream
        self._place = place
        self._width = 0
        self._throttle = Throttle(LOG_EVERY_S, first=False)

    def move(self, text: str, *, waits: bool = False) -> None:
        """Replace the line; one that `waits` is left out while another line moves."""
        with self._lock:
            if self._place == "log":
                if self._throttle.is_due():
                    self._write(f"{text}\n")
                return
            holder, at = MovingLine._last
            now = time.monotonic()
            if waits and now - at < HELD_S and self._is_beside(holder):
                return
            MovingLine._last = (self, now)
            text, room = text.replace("\n", " "), self._room()
            text = text if len(text) <= room else f"{text[: room - 1]}…"
            self._write(f"\r{text.ljust(self._width)}")
            self._width = len(text)

    def put(self, text: str) -> None:
        """Write a line that stays, in place of the moving one if there is any."""
        with self._lock:
            begin = "\r" if self._place == "terminal" or self._width else ""
            self._write(f"{begin}{text.ljust(self._width)}\n")
            self._release()

    def rest(self) -> None:
        """Leave the line as it is, and go on below it."""
        with self._lock:
            if self._width:
                self._write("\n")
                self._release()

    def _release(self) -> None:
        self._width = 0
        if MovingLine._last[0] is self:
            MovingLine._last = (None, 0.0)

    def _is_beside(self, other: MovingLine | None) -> bool:
        if other is None or other is self:
            return False
        if self._place == other._place == "terminal":
            return True  # stdout and stderr are shown there alike
        return self._stream() is other._stream()

    def _room(self) -> int:
        if self._place == "cell":
            return CELL_COLUMNS
        return shutil.get_terminal_size().columns - 1  # a longer line could not be written over

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # closed: nobody looks there any more
            stream = self._stream()
            stream.write(text)
            stream.flush()
