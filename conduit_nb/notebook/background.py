"""A map that runs while the notebook goes on: a handle that shows how far it is.

Layer 7.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from conduit_nb.blocks.host import wait_until_done
from conduit_nb.errors import ConduitError, RunError
from conduit_nb.notebook.display import Shown, html_of
from conduit_nb.notebook.notices import Throttle
from conduit_nb.notebook.progress import (
    NOTEBOOK_EVERY_S,
    ProgressLine,
    progress_text,
)
from conduit_nb.notebook.serving import ReceiptView, Witness
from conduit_nb.notebook.shell import Display, Shell, is_notebook, is_unattended, new_display
from conduit_nb.runs import Receipt, Run

if TYPE_CHECKING:
    import pandas as pd

BIND_S = 5.0
UNATTENDED = (
    ". This notebook runs unattended: what has not ended when the notebook does is lost, so wait "
    "for it in a later cell (await _, or _.result())"
)


class BackgroundMap(Shown):
    """A map under way: `await` it, or ask for its `result()`; `cancel()` stops it.

    OUT is bound when the map has ended, before the wait for it does.
    """

    def __init__(
        self,
        run: Run[Any, Any],
        finish: Callable[[], pd.DataFrame],
        *,
        ending: Callable[[], str],
        witness: Witness,
        title: str,
        out: Callable[[], str],
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
        self._is_unattended = is_unattended(shell)
        self._throttle = Throttle(NOTEBOOK_EVERY_S)
        self._handles: list[Display] = []
        self._lock = threading.Lock()
        self._end: concurrent.futures.Future[pd.DataFrame] | None = None
        self._ended_with = ""

    @property
    def title(self) -> str:
        """What is mapped to what."""
        return self._title

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way, and OUT is bound."""
        return self._run.is_done and self._concluded().done()

    def start(self) -> None:
        """Begin; once."""
        self._run.start(on_row=self._row_ended, when_ended=self._run_ended, beside=self._look)
        if not self._is_notebook:  # a kernel is told to end, and is not asked
            _wait_at_exit(self)

    def cancel(self) -> None:
        """Stop it; OUT gets what is finished."""
        self._run.cancel()
        if self._run.is_done:
            concurrent.futures.wait([self._concluded()], timeout=BIND_S)

    def result(self, timeout_s: float | None = None) -> pd.DataFrame:
        """Wait for the end and return what OUT is; raise what the blocking map would raise."""
        if not self._run.wait(timeout_s):
            raise RunError(
                f"{self._title} has not ended within {timeout_s} s; it goes on.",
                hint="Wait longer, or stop it with cancel().",
            )
        end = self._concluded()
        concurrent.futures.wait([end])
        self._refresh()  # from this cell: some front ends do not hear of cells that have ended
        return self._outcome(end)

    def __await__(self) -> Generator[Any, None, pd.DataFrame]:
        return self._awaited().__await__()

    async def _awaited(self) -> pd.DataFrame:
        await self._run.wait_async()
        end = self._concluded()
        await wait_until_done(end)
        self._refresh()
        return self._outcome(end)

    def _outcome(self, end: concurrent.futures.Future[pd.DataFrame]) -> pd.DataFrame:
        error = end.exception()
        if error is None or isinstance(error, ConduitError):
            return end.result()
        raise RunError(self._failure(error), hint=self._what_is_bound) from error

    def _failure(self, error: BaseException) -> str:
        return f"{self._title} ended, and then failed: {type(error).__name__}: {error}"

    @property
    def _what_is_bound(self) -> str:
        return f"See %conduit debug. {self._out()} is bound to what could be made of the answers."

    def _row_ended(self) -> None:
        if self._handles and self._throttle.is_due():
            self._refresh()

    def _run_ended(self) -> None:
        self._concluded()

    async def _look(self) -> None:
        await self._witness.look(self._run)

    def _concluded(self) -> concurrent.futures.Future[pd.DataFrame]:
        """Return what the map comes to, once the run has ended.

        It is made in a thread of its own: a large frame would hold up the session's loop, and with
        it every other map and panel.
        """
        with self._lock:
            if self._end is not None:
                return self._end
            end = self._end = concurrent.futures.Future()
        end.add_done_callback(lambda _: self._refresh())
        threading.Thread(target=self._conclude, args=(end,), name="conduit map").start()
        return end

    def _conclude(self, end: concurrent.futures.Future[pd.DataFrame]) -> None:
        try:
            try:
                self._receipt = self._witness.receipt(self._run)
            finally:  # what was answered is bound whatever becomes of the receipt
                frame = self._finish()
            self._ended_with = self._ending()
        except BaseException as error:  # noqa: BLE001  # whoever waits for the result is told
            end.set_exception(error)
        else:
            end.set_result(frame)

    def _refresh(self) -> None:
        for handle in self._handles:
            handle.update(self._line())

    def _line(self) -> Shown:
        snapshot = self._run.progress.snapshot()
        error = None if self._end is None or not self._end.done() else self._end.exception()
        if isinstance(error, ConduitError):
            said = f"{self._title}: {type(error).__name__}: {error}"
        elif error is not None:
            said = f"{self._failure(error)}. {self._what_is_bound}"
        elif self._ended_with:
            said = self._ended_with
        else:
            said = f"{progress_text(snapshot, self._title)}; {self._out()} is bound when it ends"
            if self._is_unattended:
                said += UNATTENDED
            elif self._is_notebook:
                said += " (wait for it in another cell: await _)"
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


_under_way: weakref.WeakSet[BackgroundMap] = weakref.WeakSet()


def _wait_at_exit(one: BackgroundMap) -> None:
    """Let the process not end before the map has: a script may end with a map."""
    if not _under_way:
        atexit.unregister(_wait_for_all)
        atexit.register(_wait_for_all)  # after the session's own, so that it is called before it
    _under_way.add(one)


def _wait_for_all() -> None:
    for one in list(_under_way):
        if not one.is_done:
            print(f"Waiting for {one.title}; Ctrl-C stops it.", file=sys.stderr, flush=True)
            try:
                one.result()
            except (ConduitError, KeyboardInterrupt) as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
