"""What tests of blocks share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.loop_host import LoopHost, loop_host


@pytest.fixture
def host() -> Iterator[LoopHost]:
    """A host for blocks that are called without a session."""
    with loop_host() as host:
        yield host


@pytest.fixture
def interrupt_when(interruptible: None) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Press the stop button, once what is given (it waits for the moment) has returned."""
    pressers: list[threading.Thread] = []

    def interrupt_when(wait: Callable[[], object]) -> None:
        def press() -> None:
            wait()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        pressers.append(threading.Thread(target=press))
        pressers[-1].start()

    yield interrupt_when
    for presser in pressers:
        presser.join()


Presser = Callable[[threading.Event, threading.Event], Callable[[], bool]]


@pytest.fixture
def interrupt_elsewhere(interruptible: None) -> Iterator[Presser]:
    """Press the stop button once the first event is set, so that no wait is broken off by it.

    Another thread is handed the signal. What is returned waits, and says whether the second event
    came of it.
    """
    pressers: list[threading.Thread] = []

    def interrupt_elsewhere(started: threading.Event, ended: threading.Event) -> Callable[[], bool]:
        is_seen: list[bool] = []

        def press() -> None:
            started.wait(10)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            is_seen.append(ended.wait(5))
            if not is_seen[0]:  # else nobody would ever wake the test
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        pressers.append(threading.Thread(target=press))
        pressers[-1].start()

        def is_seen_soon() -> bool:
            pressers[-1].join()
            return is_seen[0]

        return is_seen_soon

    yield interrupt_elsewhere
    for presser in pressers:
        presser.join()
