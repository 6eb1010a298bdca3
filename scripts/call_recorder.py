"""Record which functions below a folder a message makes a kernel enter, and in which threads.

What a message causes is told from other work by a context variable: tasks, `asyncio.to_thread` and
`call_soon_threadsafe` carry it on. What else is entered meanwhile is counted as `other_calls`:
beats, and work that was handed on in another way (`run_in_executor`, a queue). Module and class
bodies and comprehensions are no functions; a coroutine counts each time it is resumed. Runs inside
the kernel, installed before Conduit is loaded: a thread is seen only where it started later.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import json
import os
import sys
import threading
import time
from asyncio.base_events import BaseEventLoop
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

IN_PARENTS = {"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"}
SUBMIT = concurrent.futures.ThreadPoolExecutor.submit.__code__
CALL_SOON = BaseEventLoop.call_soon_threadsafe.__code__
START = threading.Thread.start.__code__
RESULT = concurrent.futures.Future.result.__code__
WAIT = concurrent.futures.wait.__code__
QUIET_S = 1.0

_cause: ContextVar[object] = ContextVar("recorded_cause", default=None)


class Visit(NamedTuple):
    """A thread in a function of ours; `is_call` is false where it returns from a wait there."""

    thread: str
    function: str
    is_call: bool


class Recorder:
    """Records one journey at a time: `follow`, then the message, then `finish`."""

    def __init__(self, root: Path, *, leave_out: Iterable[str] = ()) -> None:
        self._root = f"{root}{os.sep}"
        self._left_out = tuple(f"{root / name}{os.sep}" for name in leave_out)
        self._names: dict[tuple[str, str, int], str | None] = {}
        self._follows_next = False
        self._clear(None)

    def install(self) -> None:
        """Watch this thread, and all that start from now on."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def listen(self, handlers: dict[str, Callable[..., Any]]) -> None:
        """Stand before a kernel's handlers of cells and of messages to widgets."""
        for kind in ("execute_request", "comm_msg"):
            handlers[kind] = self._before(handlers[kind])

    def follow(self) -> None:
        """Record what the next message causes."""
        self._follows_next = True

    def begin(self) -> None:
        """Record what this context causes from now on."""
        self._clear(object())
        _cause.set(self._cause)

    def finish(self) -> dict[str, Any]:
        """Wait until nothing more is caused, and return what was recorded."""
        seen = -1
        while seen != len(self._visits):
            seen = len(self._visits)
            time.sleep(QUIET_S)
        self._cause = None
        return summary(self._visits, self._handed_over, self._imported, self._other_calls)

    def write(self, path: str) -> None:
        """Finish, and write what was recorded as JSON."""
        Path(path).write_text(json.dumps(self.finish()), "utf-8")

    def _clear(self, cause: object) -> None:
        self._visits: list[Visit] = []
        self._handed_over: Counter[str] = Counter()
        self._imported: list[str] = []
        self._other_calls = 0
        self._cause = cause

    def _before(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        async def handle_followed(*arguments: Any) -> None:
            follows, self._follows_next = self._follows_next, False
            if follows:
                self.begin()
            try:
                handled = handle(*arguments)
                if inspect.isawaitable(handled):
                    await handled
            finally:
                if follows:
                    _cause.set(None)

        return handle_followed

    def _note(self, frame: FrameType, event: str, value: object) -> None:
        """Hear from Python of every call and return in a watched thread."""
        if self._cause is None or event not in ("call", "return"):
            return
        code, is_caused = frame.f_code, _cause.get() is self._cause
        if event == "return":
            if is_caused and (code is RESULT or (code is WAIT and getattr(value, "done", None))):
                self._note_return(frame)
        elif name := self._name(code):
            if not is_caused:
                self._other_calls += 1
            elif code.co_name == "<module>":
                self._imported.append(name)
            else:
                self._visits.append(Visit(_thread(), name, is_call=True))
        elif is_caused:
            self._note_hand_over(frame)

    def _note_hand_over(self, frame: FrameType) -> None:
        if frame.f_code is SUBMIT:
            self._handed_over["executor, there and back"] += 2
        elif frame.f_code is CALL_SOON:
            if frame.f_locals["self"]._thread_id != threading.get_ident():
                self._handed_over["call_soon_threadsafe"] += 1
        elif frame.f_code is START and self._caller(frame):
            self._handed_over["thread started"] += 1

    def _note_return(self, frame: FrameType) -> None:
        """Note that a function of ours goes on, as another thread has a result for it."""
        if caller := self._caller(frame):
            self._handed_over["back to who waits"] += 1
            self._visits.append(Visit(_thread(), caller, is_call=False))

    def _caller(self, frame: FrameType) -> str | None:
        return self._name(frame.f_back.f_code) if frame.f_back is not None else None

    def _name(self, code: CodeType) -> str | None:
        """Return `file:function:line` for a function of ours, `file:<module>` for a module."""
        key = code.co_filename, code.co_qualname, code.co_firstlineno  # code of two files is equal
        if key not in self._names:
            self._names[key] = self._new_name(code)
        return self._names[key]

    def _new_name(self, code: CodeType) -> str | None:
        path = code.co_filename
        if not path.startswith(self._root) or path.startswith(self._left_out):
            return None
        file = path.removeprefix(self._root).replace(os.sep, "/")
        if code.co_name == "<module>":
            return f"{file}:<module>"
        if code.co_name in IN_PARENTS or not code.co_flags & inspect.CO_OPTIMIZED:
            return None
        return f"{file}:{code.co_qualname}:{code.co_firstlineno}"


def summary(
    visits: list[Visit], handed_over: Counter[str], imported: list[str], other_calls: int
) -> dict[str, Any]:
    """Return the figures of a journey, and where it went from one thread to another."""
    functions = {visit.function for visit in visits}
    files = Counter(name.partition(":")[0] for name in functions)
    path = [
        visit
        for before, visit in zip([None, *visits], visits, strict=False)
        if before is None or before.thread != visit.thread
    ]
    return {
        "files": dict(sorted(files.items())),
        "functions": len(functions),
        "calls": sum(visit.is_call for visit in visits),
        "hops": sum(handed_over.values()),
        "handed_over": dict(sorted(handed_over.items())),
        "thread_changes": max(0, len(path) - 1),
        "path": [[visit.thread, visit.function.rpartition(":")[0]] for visit in path],
        "imported": imported,
        "other_calls": other_calls,
    }


def _thread() -> str:
    return threading.current_thread().name
