"""Shows notices (a server starts, a model loads, it runs on the CPU) where the user looks.

Layer 6.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

from conduit_nb.events import Event, Events, Notice
from conduit_nb.plain_text import plain


class NoticeBoard:
    """Prints notices as they come; in a cell, into the output of the cell that caused them.

    The session may be made by any block at any time and is slow to load, so the board does not
    load it: `listen` is called before and after each cell, and finds it once it is there.
    """

    def __init__(self) -> None:
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

    def close(self) -> None:
        """Listen no more."""
        if self._stop_listening is not None:
            self._stop_listening()

    def _show(self, event: Event) -> None:
        if isinstance(event, Notice):
            is_terminal = sys.stdout.isatty()
            print(f"{chr(13) if is_terminal else ''}{plain(event.text)}", flush=True)


def _session_events() -> Events | None:
    module = sys.modules.get("conduit_nb.session")
    return None if module is None else cast("Events", module.process_session().events)
