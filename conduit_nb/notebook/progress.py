"""The line that moves while a map runs: in a notebook, in a terminal, in a CI log.

Knows how a snapshot reads and where it can be shown; not how a run is counted.
Layer 7.
"""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from conduit_nb.notebook.display import LONGEST_LINE, Shown, escaped, shortened
from conduit_nb.notebook.notices import MovingLine, Throttle
from conduit_nb.notebook.serving import ReceiptView
from conduit_nb.notebook.shell import Shell, is_notebook, new_display
from conduit_nb.plain_text import plain
from conduit_nb.runs import Receipt, Snapshot
from conduit_nb.units import counted, dollars, duration

NOTEBOOK_EVERY_S = 0.25
TERMINAL_EVERY_S = 0.1


class ProgressView(Protocol):
    """Where progress is shown. `update` may be called as often as one likes."""

    def update(self, snapshot: Snapshot) -> None:
        """Show the snapshot, if enough time has passed since the last."""
        ...

    def finish(self, snapshot: Snapshot, text: str, receipt: Receipt | None = None) -> None:
        """Show the end; where a display has room for it, with the receipt."""
        ...


def progress_view(shell: Shell, title: str) -> ProgressView:
    """Return the view that fits where this shell's output goes."""
    if is_notebook(shell):
        return NotebookProgress(title)
    if sys.stderr.isatty():
        return TerminalProgress(title, sys.stderr)
    return LogProgress(title, sys.stderr)


class NotebookProgress:
    """A line in the cell's output that is replaced in place."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._throttle = Throttle(NOTEBOOK_EVERY_S)
        self._handle = new_display()
        self._is_shown = False

    def update(self, snapshot: Snapshot) -> None:
        """Replace the line."""
        if self._throttle.is_due():
            self._show(ProgressLine(snapshot, progress_text(snapshot, self._title)))

    def finish(self, snapshot: Snapshot, text: str, receipt: Receipt | None = None) -> None:
        """Leave the end's line, and the receipt."""
        line = ProgressLine(snapshot, text)
        self._show(line if receipt is None else ReceiptView(receipt, line))

    def _show(self, line: Shown) -> None:
        if self._is_shown:
            self._handle.update(line)
        else:
            self._handle.display(line)
            self._is_shown = True


class TerminalProgress:
    """A line in a terminal that is written over."""

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._throttle = Throttle(TERMINAL_EVERY_S)
        self._line = MovingLine(lambda: stream, "terminal")

    def update(self, snapshot: Snapshot) -> None:
        """Write over the line."""
        if self._throttle.is_due():
            self._line.move(plain(progress_text(snapshot, self._title)))

    def finish(self, snapshot: Snapshot, text: str, receipt: Receipt | None = None) -> None:  # noqa: ARG002  # the text has its figures
        """Write the end's line and go to the next."""
        self._line.move(plain(text))
        self._line.rest()


class LogProgress:
    """Plain lines, few of them."""

    def __init__(self, title: str, stream: TextIO) -> None:
        self._title = title
        self._line = MovingLine(lambda: stream, "log")

    def update(self, snapshot: Snapshot) -> None:
        """Add a line, if it is time."""
        self._line.move(plain(progress_text(snapshot, self._title)))

    def finish(self, snapshot: Snapshot, text: str, receipt: Receipt | None = None) -> None:  # noqa: ARG002  # the text has its figures
        """Add the end's line."""
        self._line.put(plain(text))


class ProgressLine(Shown):
    """A bar and a line of text."""

    def __init__(self, snapshot: Snapshot, text: str) -> None:
        self._snapshot = snapshot
        self._said = shortened(text, LONGEST_LINE)

    def _text(self) -> str:
        return plain(self._said)

    def _html(self) -> str:
        bar = (
            f'<progress max="{self._snapshot.total}" value="{self._snapshot.done}" '
            'aria-label="rows done"></progress>'
        )
        return f"<div>{bar} {escaped(self._said)}</div>"


def progress_text(snapshot: Snapshot, title: str) -> str:
    """Return one line: how far, how fast, how long still, how many errors."""
    parts = [f"{title}: {snapshot.done:,} of {counted(snapshot.total, 'row')}"]
    if snapshot.rows_per_s is None:
        doing = "" if snapshot.done else "starting, "
        parts.append(f"{doing}{duration(snapshot.elapsed_s)} so far")
    else:
        parts.append(f"{snapshot.rows_per_s:,.1f} rows/s")
    if snapshot.completion_tokens:
        parts.append(f"{snapshot.tokens_per_s:,.0f} tokens/s")
    if snapshot.eta_s is not None:
        parts.append(f"{duration(snapshot.eta_s)} left")
    parts += _spent(snapshot)
    return ", ".join([*parts, *_errors(snapshot)])


def summary_text(snapshot: Snapshot, title: str) -> str:
    """Return one line on a run that has ended."""
    parts = [f"{title}: {snapshot.done:,} of {counted(snapshot.total, 'row')}"]
    parts[0] += f" in {duration(snapshot.elapsed_s)}"
    if snapshot.rows_per_s is not None:
        parts.append(f"{snapshot.rows_per_s:,.1f} rows/s")
    if snapshot.completion_tokens:
        read, written = snapshot.prompt_tokens, snapshot.completion_tokens
        parts.append(f"{read:,} tokens read, {written:,} written")
    parts += _spent(snapshot)
    return ", ".join([*parts, *(_errors(snapshot) or ["no errors"])])


def _spent(snapshot: Snapshot) -> list[str]:
    return [dollars(snapshot.spent_usd)] if snapshot.spent_usd else []


def _errors(snapshot: Snapshot) -> list[str]:
    if not snapshot.failed:
        return []
    return [counted(snapshot.failed, "error")]
