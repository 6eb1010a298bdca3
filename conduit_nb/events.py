"""What happened while blocks ran, and the one hook through which it is told.

Progress, receipts and telemetry subscribe; blocks emit. Listeners run in the emitting thread and
must be quick. What a listener raises is logged and disturbs neither the others nor who emits: a
deployment does not fail because somebody closed the terminal that it was shown in.
Layer 0: imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from conduit_nb.errors import ConduitError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStarted:
    """A block took up a record. `call` is the same in all events of one record in one block."""

    block: str
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFinished:
    """A block answered a record after `seconds`."""

    block: str
    call: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFailed:
    """A block could not answer a record."""

    block: str
    call: int
    seconds: float
    error: ConduitError


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensUsed:
    """A model read and wrote tokens for one request."""

    block: str
    call: int
    model: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should be told once, e.g. that the model runs on the CPU."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far something is that takes its time, told again and again: the last one counts."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReady:
    """A model that requests waited for is loaded."""

    model: str


Event = BlockStarted | BlockFinished | BlockFailed | TokensUsed | Notice | Step | ModelReady


@dataclass(slots=True)
class Events:
    """The hook: whoever emits does not know who listens."""

    _listeners: list[Callable[[Event], None]] = field(default_factory=list[Callable[[Event], None]])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _notices: deque[Notice] = field(default_factory=lambda: deque[Notice](maxlen=20))

    def notices(self) -> list[Notice]:
        """Return the last notices, for who came too late to hear of them."""
        with self._lock:
            return list(self._notices)

    def new_call(self) -> int:
        """Return a number that no other call has: it ties the events of one record together."""
        return next(self._calls)

    def emit(self, event: Event) -> None:
        """Tell every listener, in the order in which they subscribed."""
        with self._lock:
            listeners = tuple(self._listeners)
            if isinstance(event, Notice):
                self._notices.append(event)
        for listener in listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001  # whatever it is, who emits must go on
                with contextlib.suppress(Exception):  # nor does a log that is closed stop it
                    _LOG.exception("a listener failed at %s", type(event).__name__)

    @contextlib.contextmanager
    def heard(self, listener: Callable[[Event], None]) -> Generator[None]:
        """Let `listener` hear of every event meanwhile."""
        unsubscribe = self.subscribe(listener)
        try:
            yield
        finally:
            unsubscribe()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of every event from now on; call what is returned to end it."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe
