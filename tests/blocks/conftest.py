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
