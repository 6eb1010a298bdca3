"""What all panels are: a widget in the notebook, and the kernel's side that answers it.

A panel hears messages and tells messages, each an object with a `kind`. Its work goes on on the
session's event loop, so that no cell waits for it and it lives on while a cell runs. It sleeps
while nobody sees it. What draws it is bundled from `extension/src/panels` into `bundles`.
Layer 7.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import anywidget
from traitlets import Unicode

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.desk import Desk
from conduit_nb.desk.wire import Action
from conduit_nb.errors import ConduitError
from conduit_nb.notebook.panels.attention import Attention, shell_clock
from conduit_nb.notebook.shell import new_display
from conduit_nb.plain_text import plain
from conduit_nb.plans.documents import error_document
from conduit_nb.session import Session

Message = dict[str, Any]

BUNDLES = Path(__file__).parent / "bundles"
LONGEST_TEXT = 2_000
_LOG = logging.getLogger(__name__)


class _Widget(anywidget.AnyWidget):
    """The model of a panel's views; what is in a trait is saved with the notebook."""

    _esm = Unicode("").tag(sync=True)
    _css = Unicode("").tag(sync=True)
    seen_at = Unicode("").tag(sync=True)


class Bundle:
    """Something whose forms are known already."""

    def __init__(self, forms: dict[str, Any]) -> None:
        self._forms = forms

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:  # noqa: ARG002  # Jupyter's protocol
        return self._forms


class Panel(ABC):
    """A live thing on the screen. `script` names the bundle that draws it."""

    script: ClassVar[str]
    beat_s: ClassVar[float] = 5.0
    # Views that are seen say so every 20 s.
    absent_after_s: ClassVar[float] = 60.0

    def __init__(self, session: Session) -> None:
        self.session = session
        self.desk = Desk(session)
        self.attention = Attention(shell_clock(), self.absent_after_s)
        self.widget = _Widget(
            _esm=read_bundle(self.script), _css=read_bundle("panels.css"), seen_at=_now()
        )
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = asyncio.Event()
        cast("Any", self.widget).on_msg(self._heard)
        cast("Any", self.widget).observe(self._comm_changed, names="comm")
        session.submit(self._beat())

    @abstractmethod
    async def answer(self, message: Mapping[str, Any]) -> None:
        """Answer what a view has said; a ConduitError is shown as a problem."""

    @abstractmethod
    async def every_beat(self) -> None:
        """Do what is due every few seconds, while somebody looks: the whole of it after a sleep."""

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message to every view."""
        cast("Any", self.widget).send({"kind": kind, **content})

    def show(self, text: str) -> None:
        """Put a view into the running cell's output; `text` is for those who draw no widgets."""
        bundle, _ = cast("Any", self.widget)._repr_mimebundle_()
        new_display().display(Bundle({**bundle, "text/plain": plain(text[:LONGEST_TEXT])}))

    def close(self) -> None:
        """End the panel; its views go."""
        cast("Any", self.widget).close()

    @property
    def is_closed(self) -> bool:
        """Whether nobody can see it any more."""
        return cast("Any", self.widget).comm is None

    async def deploy(
        self, message: Mapping[str, Any], read: Callable[[], DeploymentRequest]
    ) -> None:
        """Deploy what `read` makes of a view's message; tell when it begins and how it ends.

        An error is told with the name of the view as `form`, and with the offering's key: the form
        of that view comes back with the option marked that the error's `param` names.
        """
        about = {"form": str(message.get("view") or ""), "key": str(message.get("key") or "")}
        try:
            action = self.desk.deploy(read())
        except ConduitError as err:
            self.tell("problem", **about, **problem_of(err))
        else:
            await self.follow(action, **about)

    async def follow(self, action: Action, **about: str) -> Action:
        """Wait until an action has ended; tell when it begins and how it ends.

        `about` is told with its error.
        """
        said = f"{action.word} {plain(action.target[:LONGEST_TEXT])}"
        self.tell("action", text=f"{said} …", state="running")
        now = await self.desk.ended(action.id)
        if now.error is not None:
            self.tell("problem", **about, **_bounded(now.error))
        else:
            self.tell("action", text=f"{said}: done", state="done")
        return now

    def beat_now(self) -> None:
        """Let the next beat be now, also where the panel sleeps; called on any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._due.set)

    def _comm_changed(self, change: object) -> None:  # noqa: ARG002  # traitlets' protocol
        self.beat_now()  # which ends it where the comm is closed

    def _heard(self, widget: object, message: object, buffers: object) -> None:  # noqa: ARG002  # ipywidgets' protocol
        if not isinstance(message, Mapping):
            return
        said = cast("Mapping[str, Any]", message)
        view = str(said.get("view") or "")
        if said.get("kind") == "gone":
            self.attention.leave(view)
            return
        self.attention.see(view)
        self.beat_now()
        if said.get("kind") != "seen":
            self.session.submit(self._guarded(self.answer(said), f"answering {said.get('kind')!r}"))

    async def _beat(self) -> None:
        """Let views know that the kernel lives, also while a cell runs; wait while none is seen."""
        self._loop = asyncio.get_running_loop()
        while not self.is_closed:
            self._due.clear()
            is_seen = self.attention.is_seen
            if is_seen:
                await self._guarded(self._beat_once(), "the beat")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), self.beat_s if is_seen else None)
        await self.desk.close()

    async def _beat_once(self) -> None:
        cast("Any", self.widget).seen_at = _now()
        await self.every_beat()

    async def _guarded(self, work: Awaitable[None], what: str) -> None:
        """Do it, and show what goes wrong; a bug that happens at every beat is logged once."""
        try:
            await work
        except ConduitError as err:
            self.tell("problem", **problem_of(err))
        except Exception as err:  # noqa: BLE001  # nobody would hear of it: a bug must be told, not lost
            if self._failure != repr(err):
                self._failure = repr(err)
                _LOG.exception("A panel failed at %s", what)
            self.tell("problem", message="It failed inside: the kernel's log says why.", hint=None)


def problem_of(error: ConduitError) -> Message:
    """Return an error as views are told it: plain and not endless, whoever said it."""
    return _bounded(error_document(error)["error"])


def _bounded(problem: Mapping[str, Any]) -> Message:
    return {
        name: plain(value[:LONGEST_TEXT]) if isinstance(value, str) else value
        for name, value in problem.items()
    }


@cache
def read_bundle(name: str) -> str:
    """Return a file of what `scripts/extension.py build` has bundled for the panels."""
    return (BUNDLES / name).read_text(encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat()
