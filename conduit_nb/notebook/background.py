"""A map that runs while the notebook goes on: a handle that shows how far it is.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from conduit_nb.errors import ConduitError, Interrupted, RunError
from conduit_nb.notebook.display import Shown, html_of
from conduit_nb.notebook.moving_line import Throttle
from conduit_nb.notebook.progress import (
    NOTEBOOK_EVERY_S,
    ProgressLine,
    progress_text,
)
from conduit_nb.notebook.receipt_display import ReceiptView
from conduit_nb.notebook.serving import Witness
from conduit_nb.notebook.shell import Display, Shell, is_notebook, new_display
from conduit_nb.runs import Receipt, Run

if TYPE_CHECKING:
    import pandas as pd


class BackgroundMap(Shown):
    """A map under way: `await` it, or ask for its `result()`; `cancel()` stops it.

    OUT is bound when the map has ended, before the wait for it does.
    """

    def __init__(
        self,
        run: Run[Any, Any],
        finish: Callable[[Run[Any, Any]], pd.DataFrame],
        *,
        ending: Callable[[Run[Any, Any]], str],
        witness: Witness,
        title: str,
        out: str,
        shell: Shell,
    ) -> None:
        self._run = run
        self._finish = finish
        self._ending = ending
        self._witness = witness
        self._receipt: Receipt | None = None
        self._title = title
        self._out = out
        self._is_notebook = is_notebook(shell)
        self._throttle = Throttle(NOTEBOOK_EVERY_S)
        self._handles: list[Display] = []
        self._frame: pd.DataFrame | None = None
        self._ended_with = ""
        self._error: ConduitError | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._run.is_done

    def start(self) -> None:
        """Begin; once."""
        self._run.start(on_row=self._row_ended, when_ended=self._ended, beside=self._look)

    def cancel(self) -> None:
        """Stop it; OUT gets what is finished."""
        self._run.cancel()

    def result(self, timeout_s: float | None = None) -> pd.DataFrame:
        """Wait for the end and return what OUT is; raise what the blocking map would raise."""
        if not self._run.wait(timeout_s):
            raise RunError(
                f"{self._title} has not ended within {timeout_s} s; it goes on.",
                hint="Wait longer, or stop it with cancel().",
            )
        self._refresh()  # from this cell: some front ends do not hear of cells that have ended
        return self._outcome()

    def __await__(self) -> Generator[Any, None, pd.DataFrame]:
        return self._awaited().__await__()

    async def _awaited(self) -> pd.DataFrame:
        await self._run.wait_async()
        self._refresh()
        return self._outcome()

    def _outcome(self) -> pd.DataFrame:
        if self._error is not None:
            raise self._error
        if self._frame is None:
            raise Interrupted(
                f"{self._title} was stopped before it began.", hint="Run the cell again."
            )
        return self._frame

    def _row_ended(self) -> None:
        if self._handles and self._throttle.is_due():
            self._refresh()

    async def _look(self) -> None:
        await self._witness.look(self._run)

    def _ended(self) -> None:
        self._receipt = self._witness.receipt(self._run)
        try:
            self._frame = self._finish(self._run)
            self._ended_with = self._ending(self._run)
        except ConduitError as error:
            self._error = error
        self._refresh()

    def _refresh(self) -> None:
        for handle in self._handles:
            handle.update(self._line())

    def _line(self) -> Shown:
        snapshot = self._run.progress.snapshot()
        if self._error is not None:
            said = f"{self._title}: {type(self._error).__name__}: {self._error}"
        elif self._frame is not None:
            said = self._ended_with
        else:
            said = f"{progress_text(snapshot, self._title)}; {self._out} is bound when it ends"
            said += " (wait for it in another cell: await _)" if self._is_notebook else ""
        line = ProgressLine(snapshot, said)
        return line if self._receipt is None else ReceiptView(self._receipt, line)

    def _ipython_display_(self) -> None:
        handle = new_display()
        handle.display(self._line())
        if self._is_notebook:  # elsewhere an update is one line more
            self._handles.append(handle)

    def _text(self) -> str:
        return repr(self._line())

    def _html(self) -> str:
        return html_of(self._line())
