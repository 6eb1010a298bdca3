"""What is kept between two questions of a panel: revisions, looks, actions under way.

The state is read at every question, so that a change through any Conduit is told at once. The
providers are asked in the background while somebody asks, every half minute at most. Knows
neither a web server nor a notebook.
Layer 6.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from conduit_nb import settings
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.desk.wire import (
    SIDECAR_MARK,
    Action,
    Document,
    action_document,
    deployment_document,
    key_of,
    plain_document,
)
from conduit_nb.errors import ArgumentError, ConduitError, Interrupted
from conduit_nb.plain_text import plain
from conduit_nb.plans.choice import choose
from conduit_nb.plans.documents import error_document, offerings_document
from conduit_nb.session import Session
from conduit_nb.units import require_hours

LOOK_EVERY = timedelta(seconds=30)
KEPT_ACTIONS = 20
ALL = "all"
"""Stands where a key does: every deployment, and the server beside the kernels."""
_LOG = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Desk:
    """Answers the panels. Every method is called on the session's event loop.

    Revisions are its own: they cover the sidecar too, which is in no state store. They begin with
    an epoch, so that a question that was meant for another desk is answered in full.
    """

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], datetime] = _now,
        look_every: timedelta = LOOK_EVERY,
    ) -> None:
        self._session = session
        self._deployments = session.deployments
        self._clock = clock
        self._look_every = look_every
        self._epoch = secrets.token_hex(4)
        self._revision = 0
        self._told: dict[str, tuple[int, Document]] = {}
        self._looked_at: datetime | None = None
        self._began_look: datetime | None = None
        self._look_failures: list[str] = []
        self._look: asyncio.Task[None] | None = None
        self._actions: dict[str, Action] = {}
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()
        self.urls: dict[str, str] = {}
        """Where each thing that runs answers, as of the last overview."""

    async def overview(self, since: str | None) -> Document:
        """Return what runs and costs: all of it, or what has changed since a revision of ours.

        Raises StorageError where the state cannot be read.
        """
        self._look_if_due()
        async with self._reading:
            infos, cost = await self._deployments.snapshot()
            self.urls = {key_of(one): plain(one.url) for one in infos}
            as_of = self._clock()
            self._note(infos)
        from_revision = self._read_since(since)
        return {
            "revision": f"{self._epoch}.{self._revision}",
            "whole": from_revision is None,
            "deployments": [
                document
                for revision, document in self._told.values()
                if from_revision is None or revision > from_revision
            ],
            "live": list(self._told),
            "nodes": sum(len(one.nodes) for one in cost.deployments) if cost else 0,
            "usd_per_hour": cost.usd_per_hour if cost else 0.0,
            "spent": {key_of(one): one.spent_usd for one in infos if one.spent_usd is not None},
            "today_usd": cost.today_usd if cost else 0.0,
            "day_cap_usd": cost.day_cap_usd if cost else settings.max_usd_per_day(),
            "as_of": as_of.isoformat(),
            "looked_at": self._looked_at.isoformat() if self._looked_at and cost else None,
            "look_failures": self._look_failures,
            "actions": [action_document(action) for action in self._actions.values()],
        }

    async def logs(self, key: str, tail: int) -> list[str]:
        """Return the last lines of a log."""
        return await self._deployments.logs(_name_of(key), tail=tail)

    async def offerings(self) -> Document:
        """Ask everybody what is offered now, the cheapest by its memory first."""
        market = await self._session.offerings(is_fresh=True)
        choice = choose(market, constraint=DeploymentConstraint())
        return await asyncio.to_thread(lambda: plain_document(offerings_document(choice)))

    def act(self, key: str, verb: str, *, hours: float = 1.0) -> Action:
        """Begin what a verb says with one deployment, or with all of them. Raises ArgumentError."""
        if key == ALL:
            return self._act_on_all(verb)
        if key not in self._told:
            raise ArgumentError(
                f"Nothing that runs is known as {key[:80]!r}.",
                param="key",
                hint="It may have ended: look again.",
            )
        name = str(self._told[key][1]["name"])
        require_hours("hours", hours)
        if key.startswith(SIDECAR_MARK) and verb not in ("stop", "terminate"):
            raise ArgumentError(
                f"The local server cannot {verb[:40]}.",
                param="verb",
                hint="Stop it; the next block that needs it starts it.",
            )
        service = self._deployments
        key = _name_of(key)
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "start": lambda: service.start(key),
            "stop": lambda: service.stop(key),
            "restart": lambda: service.restart(key),
            "terminate": lambda: service.terminate(key),
            "extend": lambda: service.extend(key, hours),
        }
        if verb not in works:
            raise ArgumentError(
                f"Unknown action: {verb[:40]!r}.",
                param="verb",
                hint=f"One of {', '.join(works)}.",
            )
        return self._begin(verb, name, works[verb])

    def _act_on_all(self, verb: str) -> Action:
        if verb != "terminate":
            raise ArgumentError(
                f"Only terminate applies to all deployments (got {verb[:40]!r}).",
                param="verb",
                hint="Terminate all, or act on one of them by its key.",
            )
        return self._begin(verb, ALL, lambda: self._deployments.terminate(ALL))

    def deploy(self, request: DeploymentRequest) -> Action:
        """Begin a deployment."""
        target = ", ".join(model.model_id for model in request.models)
        return self._begin("deploy", target, lambda: self._deployments.deploy(request))

    def action(self, action_id: str) -> Action:
        """Return an action as it stands. Raises ArgumentError where it is forgotten."""
        if action_id not in self._actions:
            raise ArgumentError(
                f"No action is known as {action_id[:80]!r}.",
                param="action_id",
                hint=f"The last {KEPT_ACTIONS} are kept, until the process that did them ends.",
            )
        return self._actions[action_id]

    async def ended(self, action_id: str) -> Action:
        """Wait until an action has ended, and return it."""
        task = self._carrying.get(action_id)
        if task is not None:
            await asyncio.wait([task])
        return self.action(action_id)

    async def close(self) -> None:
        """Cancel what is under way, as ■ does in a notebook; what runs goes on."""
        tasks = [*self._carrying.values(), *([self._look] if self._look else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, infos: list[DeploymentInfo]) -> None:
        """Give what has changed since it was last told the next revision."""
        documents = {key_of(info): deployment_document(info) for info in infos}
        changed = [
            key
            for key, document in documents.items()
            if key not in self._told or self._told[key][1] != document
        ]
        if changed or documents.keys() != self._told.keys():
            self._revision += 1
        self._told = {
            key: (self._revision if key in changed else self._told[key][0], document)
            for key, document in documents.items()
        }

    def _read_since(self, since: str | None) -> int | None:
        epoch, _, number = (since or "").partition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal()):
            return None
        revision = int(number[:18])
        return revision if revision <= self._revision else None

    def _look_if_due(self) -> None:
        now = self._clock()
        is_due = self._began_look is None or now - self._began_look >= self._look_every
        if is_due and (self._look is None or self._look.done()):
            self._began_look = now
            self._look = asyncio.create_task(self._look_at_providers(), name="look at providers")

    async def _look_at_providers(self) -> None:
        """Reconcile with the providers; only a look that reached all of them makes news fresh."""
        failures: list[str] = []
        began = self._clock()

        async def look() -> None:
            if self._deployments.context.has_state():
                looked = await self._deployments.look(tells_unseen=False)
                failures.extend(f"{name}: {error}" for name, error in looked.failures.items())

        error = await _error_of(look, "the look")
        if error is not None:
            failures.append(error["message"])
        failures = [plain(one[:500]) for one in failures]
        self._look_failures = failures
        if not failures:
            self._looked_at = began

    def _begin(self, word: str, target: str, work: Callable[[], Awaitable[object]]) -> Action:
        action = Action(
            id=secrets.token_hex(8),
            word=word,
            target=target,
            state="running",
            began_at=self._clock(),
        )
        self._actions[action.id] = action
        for old in [one.id for one in self._actions.values() if one.state != "running"]:
            if len(self._actions) > KEPT_ACTIONS:
                del self._actions[old]
        task = asyncio.create_task(self._carry_out(action, work), name=f"{word} {target}")
        self._carrying[action.id] = task
        task.add_done_callback(lambda _: self._carrying.pop(action.id))
        return action

    async def _carry_out(self, action: Action, work: Callable[[], Awaitable[object]]) -> None:
        stopped = Interrupted("Its process was stopped meanwhile.")
        error: Document | None = error_document(stopped)["error"]
        try:
            error = await _error_of(work, f"{action.word} {action.target}")
        finally:
            state = "done" if error is None else "failed"
            ended = replace(action, state=state, error=error, ended_at=self._clock())
            self._actions[action.id] = ended


async def _error_of(work: Callable[[], Awaitable[object]], what: str) -> Document | None:
    """Do it, and return the error that it raised, if any: nobody awaits what it returns."""
    try:
        await work()
    except ConduitError as err:
        return error_document(err)["error"]
    except Exception:  # noqa: BLE001  # nobody would hear of it: a bug must be told, not lost
        _LOG.exception("%s failed", what)
        bug = ConduitError("It failed inside: the log of its process says why.")
        return error_document(bug)["error"]
    return None


def _name_of(key: str) -> str:
    """Return what the service knows a key as: an id, or the name of a shared server."""
    return key.removeprefix(SIDECAR_MARK)
