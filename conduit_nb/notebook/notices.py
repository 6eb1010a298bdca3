"""Shows notices (a server starts, it runs on the CPU) and steps (it boots, a model loads).

They stand where the user looks: in the output of the cell that caused them, in a terminal, on the
shell's stderr. Layer 7.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import ClassVar, Literal, TextIO, cast

from conduit_nb.events import Event, Events, Notice, Step
from conduit_nb.plain_text import plain

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


class NoticeBoard:
    """Prints notices as they come, and the last step in a line that moves.

    The session may be made by any block at any time and is slow to load, so the board does not
    load it: `listen` is called before and after each cell, and finds it once it is there.
    """

    def __init__(self, line: MovingLine) -> None:
        self._line = line
        self._stop_listening: Callable[[], None] | None = None
        events = _session_events()
        if events is not None:
            self._stop_listening = events.subscribe(self._show)

    def listen(self, *_: object) -> None:
        """Listen to the session if there is one, and show what was missed."""
        if self._stop_listening is not None:
            return
        events = _session_events()
        if events is not None:
            missed = events.notices()
            self._stop_listening = events.subscribe(self._show)
            for notice in missed:
                self._show(notice)

    def settle(self, *_: object) -> None:
        """Leave what is shown as it is; what comes next begins a line of its own."""
        self.listen()
        self._line.rest()

    def close(self) -> None:
        """Listen no more."""
        self._line.rest()
        if self._stop_listening is not None:
            self._stop_listening()

    def _show(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._line.put(plain(event.text))
        elif isinstance(event, Step):
            self._line.move(plain(event.text), waits=True)


@contextmanager
def told_on_stderr() -> Generator[None]:
    """Show on stderr what happens meanwhile; for the shell, whose answers stand on stdout."""
    import_module("conduit_nb.session").process_session()  # heavy: only where something is told
    place = "terminal" if sys.stderr.isatty() else "log"
    board = NoticeBoard(MovingLine(lambda: sys.stderr, place))
    try:
        yield
    finally:
        board.close()


def _session_events() -> Events | None:
    module = sys.modules.get("conduit_nb.session")
    return None if module is None else cast("Events", module.process_session().events)
