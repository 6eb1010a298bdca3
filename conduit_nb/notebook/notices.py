"""Shows notices (a server starts, it runs on the CPU) and steps (it boots, a model loads).

They stand where the user looks: in the output of the cell that caused them, in a terminal, on the
shell's stderr. Layer 7.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import cast

from conduit_nb.events import Event, Events, Notice, Step
from conduit_nb.notebook.moving_line import MovingLine
from conduit_nb.plain_text import plain


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
