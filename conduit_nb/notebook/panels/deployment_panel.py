"""The panel of deployments: plan, pick, deploy, watch, try, extend, end.

Layer 7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.wire import SIDECAR_MARK, read_hours
from conduit_nb.errors import ArgumentError, ConduitError
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.offering_table import (
    offering_of,
    open_options,
    request_on,
    table_message,
)
from conduit_nb.notebook.panels.widget import Panel, problem_of
from conduit_nb.plain_text import plain
from conduit_nb.protocol import ChatRequest
from conduit_nb.session import Session

BOOTING = frozenset({"launching", "starting", "booting"})
LOG_LINES = 20
LONGEST_QUESTION = 8_000
LONGEST_ANSWER_TOKENS = 512
LONGEST_LINE = 2_000

Ask = Callable[[str, str, bool], OfferingsView]
"""Called with a model, a runtime and whether to ask anew: what holds it."""


class DeploymentPanel(Panel):
    """Everything that runs, with what it costs; and from a model's id to one more."""

    script: ClassVar[str] = "deployment_panel.js"
    beat_s: ClassVar[float] = 2.0

    def __init__(self, session: Session, *, ask: Ask, runtimes: list[str], model: str = "") -> None:
        self._ask = ask
        self._runtimes = runtimes
        self._model = model
        self._picking: tuple[OfferingsView, Mapping[str, Any]] | None = None
        self._logs: set[tuple[str, str]] = set()  # views, and the keys of what they have open
        super().__init__(session)

    async def answer(self, message: Mapping[str, Any]) -> None:
        """Answer a view: `here`, `plan`, `deploy`, `act`, `logs`, `ask`."""
        answers: dict[object, Callable[[Mapping[str, Any]], Awaitable[object]]] = {
            "here": self._greet,
            "plan": self._plan,
            "deploy": self._deploy,
            "act": self._act,
            "logs": self._watch_logs,
            "ask": self._try,
        }
        answer = answers.get(message.get("kind"))
        if answer is None:
            raise ArgumentError("The panel does not know that.", hint="Run the cell again.")
        await answer(message)

    async def every_beat(self) -> None:
        """Tell what runs and what it costs, with the logs of what boots or is looked at."""
        overview = await self.desk.overview(None)
        self.tell("overview", **overview, urls=self.desk.urls)
        opened = {key for view, key in self._logs if self.attention.sees(view)}
        for one in overview["deployments"]:
            if one["status"] in BOOTING or one["key"] in opened:
                await self._tell_logs(one["key"])

    async def _greet(self, message: Mapping[str, Any]) -> None:  # noqa: ARG002  # every answer is called alike
        self.tell("choices", runtimes=self._runtimes, model=self._model, options=open_options({}))

    async def _plan(self, message: Mapping[str, Any]) -> None:
        model, runtime = _text(message, "model"), _text(message, "runtime")
        self._picking = None
        is_fresh = message.get("fresh") is True
        view = await asyncio.to_thread(self._ask, model, runtime, is_fresh)
        self._picking = view, {"models": [model], "runtime": runtime}
        table = await asyncio.to_thread(table_message, view, at=datetime.now(UTC), models=[model])
        self.tell("table", **table)

    async def _deploy(self, message: Mapping[str, Any]) -> None:
        await self.deploy(message, lambda: self._request(message))
        self.beat_now()

    def _request(self, message: Mapping[str, Any]) -> DeploymentRequest:
        if self._picking is None:
            raise ArgumentError("Nothing is planned.", hint="Name a model, and plan first.")
        view, asked = self._picking
        offering = offering_of(view.choice, _text(message, "key"))
        return request_on(offering, asked, message.get("request"))

    async def _act(self, message: Mapping[str, Any]) -> None:
        key, verb = _text(message, "key"), _text(message, "verb")
        hours = read_hours(dict(message))
        await self.follow(self.desk.act(key, verb, hours=hours))
        self.beat_now()

    async def _watch_logs(self, message: Mapping[str, Any]) -> None:
        key = _text(message, "key")
        opened = str(message.get("view") or ""), key
        if message.get("open") is True:
            self._logs.add(opened)
            await self._tell_logs(key)
        else:
            self._logs.discard(opened)

    async def _tell_logs(self, key: str) -> None:
        try:
            lines = await self.desk.logs(key, LOG_LINES)
        except ConduitError as err:
            lines = [str(err)]
        self.tell("logs", key=key, lines=[plain(line[:LONGEST_LINE]) for line in lines])

    async def _try(self, message: Mapping[str, Any]) -> None:
        """Ask a model something, and tell the answer as it is written."""
        key, model = _text(message, "key"), _text(message, "model")
        question = _text(message, "text", longest=LONGEST_QUESTION)
        try:
            endpoint = await self.session.endpoint(key.removeprefix(SIDECAR_MARK))
            request = ChatRequest(
                model=model,
                messages=[{"role": "user", "content": question}],
                max_tokens=LONGEST_ANSWER_TOKENS,
            )
            async for chunk in endpoint.stream(request):
                for choice in chunk["choices"]:
                    self.tell("answer", key=key, text=plain(choice["delta"].get("content") or ""))
            self.tell("answer", key=key, text="", state="done")
        except ConduitError as err:
            self.tell("answer", key=key, text="", state="failed", error=problem_of(err))


def _text(message: Mapping[str, Any], name: str, *, longest: int = 400) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise ArgumentError(
            f"{name} is missing or longer than {longest:,} letters.", param=name, hint="Fill it in."
        )
    return value.strip()
