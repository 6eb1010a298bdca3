"""The front end's end of a widget's connection: what was told, and saying something to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm

from conduit_nb.notebook.panels.widget import Panel
from tests.waiting import until_true


class View:
    """What a browser would get of a panel, and what it says."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []  # all: whose, what kind, what
        self.told: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind, the first first."""
        return [message for message in list(self.told) if message["kind"] == kind]

    def told_by(self, panel: Panel, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the messages of one panel, of a kind where one is named."""
        contents = [data.get("content") for data in self._of(panel)]
        return [one for one in contents if one and kind in (None, one["kind"])]

    def states_of(self, panel: Panel) -> list[dict[str, Any]]:
        """Return what one panel has written into its traits."""
        return [data["state"] for data in self._of(panel) if "state" in data]

    def _of(self, panel: Panel) -> list[dict[str, Any]]:
        own = panel.widget.model_id
        return [data for whose, _, data in list(self.sent) if whose == own]

    def await_(self, kind: str, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> Any:
        """Wait for a message of that kind for which `when` is true; return the newest."""
        until_true(lambda: any(map(when, self.of(kind))), within_s=60)
        return [message for message in self.of(kind) if when(message)][-1]


def say(panel: Panel, **message: Any) -> None:
    """Let a view say something to the kernel."""
    hear(panel, {"method": "custom", "content": message})


def hear(panel: Panel, data: dict[str, Any]) -> None:
    """Let the kernel hear what came over the wire."""
    panel.widget.comm.handle_msg({"content": {"data": data}, "buffers": []})


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """Stand where the browser is, for the widgets that are made meanwhile."""
    view = View()

    class Wire(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, **rest: Any) -> None:
            view.sent.append((self.comm_id, msg_type, data or {}))
            content = (data or {}).get("content")
            if msg_type == "comm_msg" and content is not None:
                view.told.append(content)
            elif data:
                view.states.append(data.get("state", {}))

    monkeypatch.setattr(comm, "create_comm", Wire)
    yield view
