"""What all panels are: a widget in the notebook, and the kernel's side that answers it.

A panel hears messages and tells messages, each an object with a `kind`. Its work goes on on the
session's event loop, so that no cell waits for it and it lives on while a cell runs.
Layer 7.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

import anywidget
from traitlets import Unicode

from conduit_nb.desk.desk import Desk
from conduit_nb.desk.wire import Action
from conduit_nb.errors import ConduitError, Interrupted
from conduit_nb.notebook.shell import new_display
from conduit_nb.plain_text import plain
from conduit_nb.plans.documents import error_document
from conduit_nb.session import Session

Message = dict[str, Any]

HERE = Path(__file__).parent
LONGEST_TEXT = 2_000
_IMPORT = re.compile(r"^import \{[^}]*\} from '\./(\w+\.js)';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=function |const )", re.MULTILINE)
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
    """A live thing on the screen. `script` names what draws it."""

    script: ClassVar[str]
    beat_s: ClassVar[float] = 5.0
    # Views say so every minute; the kernel may hear none of it while a cell runs.
    looked_at_for_s: ClassVar[float] = 600.0

    def __init__(self, session: Session) -> None:
        self.session = session
        self.desk = Desk(session)
        self.widget = _Widget(_esm=bundled(self.script), _css=_read("panels.css"), seen_at=_now())
        self._looks: dict[str, float] = {"": time.monotonic()}
        cast("Any", self.widget).on_msg(self._heard)
        session.submit(self._beat())

    @abstractmethod
    async def answer(self, message: Mapping[str, Any]) -> None:
        """Answer what a view has said; a ConduitError is shown as a problem."""

    @abstractmethod
    async def every_beat(self) -> None:
        """Do what is due every few seconds, while somebody looks."""

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
    def is_looked_at(self) -> bool:
        """Whether a view said so lately: of a page that was closed nothing more is heard."""
        now = time.monotonic()
        return any(now - at < self.looked_at_for_s for at in list(self._looks.values()))

    @property
    def is_closed(self) -> bool:
        """Whether nobody can see it any more."""
        return cast("Any", self.widget).comm is None

    async def follow(self, action: Action) -> Action:
        """Wait until an action has ended; tell when it begins and how it ends."""
        said = f"{action.word} {plain(action.target[:LONGEST_TEXT])}"
        self.tell("action", text=f"{said} …", state="running")
        now = await self.desk.ended(action.id)
        if now.error is not None:
            self.tell("problem", **_bounded(now.error))
        else:
            self.tell("action", text=f"{said}: done", state="done")
        return now

    def _heard(self, widget: object, message: object, buffers: object) -> None:  # noqa: ARG002  # ipywidgets' protocol
        if not isinstance(message, Mapping):
            return
        said = cast("Mapping[str, Any]", message)
        match said.get("kind"), str(said.get("view") or ""):
            case "look", view:
                self._looks[view] = time.monotonic()
            case "gone", view:
                self._looks = {one: at for one, at in self._looks.items() if one not in (view, "")}
            case _:
                self.session.submit(self._answered(said))

    async def _answered(self, message: Mapping[str, Any]) -> None:
        try:
            await self.answer(message)
        except ConduitError as err:
            self.tell("problem", **problem_of(err))
        except Exception:  # noqa: BLE001  # nobody would hear of it: a bug must be told, not lost
            _LOG.exception("A panel failed at %r", message.get("kind"))
            self.tell("problem", message="It failed inside: the kernel's log says why.", hint=None)

    async def _beat(self) -> None:
        """Let views know that the kernel lives, also while a cell runs."""
        while not self.is_closed:
            cast("Any", self.widget).seen_at = _now()
            if self.is_looked_at:
                await self._due()
            await asyncio.sleep(self.beat_s)
        await self.desk.close()

    async def _due(self) -> None:
        try:
            await self.every_beat()
        except Interrupted:
            raise
        except ConduitError as err:
            self.tell("problem", **problem_of(err))


def problem_of(error: ConduitError) -> Message:
    """Return an error as views are told it: plain and not endless, whoever said it."""
    return _bounded(error_document(error)["error"])


def _bounded(problem: Mapping[str, Any]) -> Message:
    return {
        name: plain(value[:LONGEST_TEXT]) if isinstance(value, str) else value
        for name, value in problem.items()
    }


@cache
def bundled(script: str) -> str:
    """Return a script and what it imports from this folder as the one file that a widget takes."""
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in parts:
            return
        source = _read(name)
        for needed in _IMPORT.findall(source):
            add(needed)
        parts[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(script)
    return "\n".join(parts.values())


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat()
