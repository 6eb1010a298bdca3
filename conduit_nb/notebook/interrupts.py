"""The stop button while something short is done that must not be cut in two. Loads nothing.

Layer 7.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Generator[None]:
    """Let what is short come to its end: an interrupt meanwhile changes nothing, a second one does.

    Only the main thread is ever interrupted; elsewhere nothing has to be kept off.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def let_the_next_through(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, let_the_next_through)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_after() -> Generator[None]:
    """Let what must not be cut in two come to its end, and raise an interrupt meanwhile after it.

    A second interrupt is raised at once.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    is_pressed = False

    def keep_for_later(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # a handler's signature
        nonlocal is_pressed
        is_pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, keep_for_later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if is_pressed:
        raise KeyboardInterrupt
