"""How far a run is: rows, errors, tokens, rate, time left. Knows no display.

Layer 4.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from conduit_nb.errors import ConduitError
from conduit_nb.events import Event, TokensUsed

RATE_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment. `rows_per_s` and `eta_s` are None until a row has been answered.

    A row that failed is no sign of speed. `start_s` is what passed before the server and its model
    were ready; it is part of `elapsed_s`.
    `usd_per_hour` is what the servers that answer cost meanwhile; None where nobody knows.
    """

    total: int
    done: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    elapsed_s: float
    rows_per_s: float | None
    eta_s: float | None
    start_s: float = 0.0
    usd_per_hour: float | None = None

    @property
    def spent_usd(self) -> float | None:
        """What the servers have cost while it ran, where that is known."""
        return None if self.usd_per_hour is None else self.usd_per_hour * self.elapsed_s / 3600

    @property
    def tokens_per_s(self) -> float:
        """Written tokens a second over the whole run."""
        return self.completion_tokens / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Progress:
    """Counts what a run tells it; may be told and asked from several threads."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.usd_per_hour: float | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._ready = self._started
        self._ended: float | None = None
        self._done = 0
        self._failed = 0
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._recent: deque[float] = deque()

    def on_row(self, index: int, outcome: object) -> None:  # noqa: ARG002  # the shape of a hook
        """Count a row that ended."""
        now = self._clock()
        with self._lock:
            self._done += 1
            if isinstance(outcome, ConduitError):
                self._failed += 1
            else:
                self._recent.append(now)
            self._forget(now)

    def on_event(self, event: Event) -> None:
        """Count the tokens of a request."""
        if not isinstance(event, TokensUsed):
            return
        with self._lock:
            self._prompt_tokens += event.prompt_tokens
            self._completion_tokens += event.completion_tokens

    def ready(self) -> None:
        """Count the speed from now on: only now the server and its model can answer."""
        with self._lock:
            if self._done == self._failed:
                self._ready = self._clock()

    def end(self) -> None:
        """Stop the clock."""
        with self._lock:
            self._ended = self._ended or self._clock()

    def snapshot(self) -> Snapshot:
        """Return where the run is now."""
        with self._lock:
            now = self._ended or self._clock()
            elapsed_s = now - self._started
            rows_per_s = self._rate(now, now - self._ready)
            left = self.total - self._done
            return Snapshot(
                total=self.total,
                done=self._done,
                failed=self._failed,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                elapsed_s=elapsed_s,
                rows_per_s=rows_per_s,
                eta_s=left / rows_per_s if rows_per_s else None,
                start_s=self._ready - self._started,
                usd_per_hour=self.usd_per_hour,
            )

    def _rate(self, now: float, answering_s: float) -> float | None:
        """Return answered rows a second: of late while it runs, over all once it has ended."""
        answered = self._done - self._failed
        if answered == 0 or answering_s <= 0:
            return None
        if self._ended is None:
            self._forget(now)
            if self._recent:
                return len(self._recent) / min(answering_s, RATE_WINDOW_S)
        return answered / answering_s

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0] < now - RATE_WINDOW_S:
            self._recent.popleft()
