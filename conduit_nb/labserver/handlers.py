"""The addresses under `conduit/api/`: who may ask, what is answered, with which status.

Jupyter's own handler lets in only who has the server's token or cookie, and wants the XSRF token
with every call that changes something; its authorizer may forbid more.
Layer 7.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from conduit_nb.desk.desk import Desk
from conduit_nb.desk.wire import (
    Document,
    action_document,
    form_document,
    log_document,
    plain_document,
    read_body,
    read_deploy,
    read_hours,
    read_tail,
)
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    ProviderAuthError,
    SpendCapError,
    StateConflictError,
    StorageError,
)
from conduit_nb.plans.documents import error_document
from conduit_nb.session import Session

DEFAULT_TAIL = "200"
# The first that an error is an instance of; what is none of these lies beyond this server.
STATUSES: tuple[tuple[type[ConduitError], int], ...] = (
    (ArgumentError, 400),
    (SpendCapError, 402),
    (ProviderAuthError, 403),
    (StateConflictError, 409),
    (StorageError, 503),
)
BEYOND = 502


class DeskHandler(APIHandler):
    """What all have in common: the desk, JSON, and errors with their code and hint."""

    auth_resource = "conduit"

    def initialize(self, session: Session, desk: Desk) -> None:
        """Take what every request is answered with, and the session on whose loop that is done."""
        self.session = session
        self.desk = desk

    def answer(self, document: Document, status: int = 200) -> None:
        """Send a document that nobody may keep."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(document, allow_nan=False))

    async def answering(self, work: Callable[[], Awaitable[Document]], status: int = 200) -> None:
        """Answer with what `work` returns, or with the ConduitError that it raises."""
        try:
            document = await asyncio.wrap_future(self.session.submit(_document_of(work)))
        except ConduitError as err:
            self.answer(plain_document(error_document(err)), status_of(err))
        else:
            self.answer(document, status)


class OverviewHandler(DeskHandler):
    """`GET overview?since=REVISION`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer what runs and what it costs."""
        since = self.get_query_argument("since", None)
        await self.answering(lambda: self.desk.overview(since))


class OfferingsHandler(DeskHandler):
    """`GET offerings`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer what is offered."""
        await self.answering(self.desk.offerings)


class OptionsHandler(DeskHandler):
    """`GET options`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer the options of a deployment, as a form draws them."""
        self.answer({"options": form_document()})


class LogsHandler(DeskHandler):
    """`GET deployments/KEY/logs?tail=N`."""

    @web.authenticated
    @authorized
    async def get(self, key: str) -> None:
        """Answer the last lines of a log."""

        async def read() -> Document:
            tail = read_tail(self.get_query_argument("tail", DEFAULT_TAIL))
            return log_document(await self.desk.logs(key, tail))

        await self.answering(read)


class ActionHandler(DeskHandler):
    """`GET actions/ID`."""

    @web.authenticated
    @authorized
    async def get(self, action_id: str) -> None:
        """Answer how far an action is."""

        async def read() -> Document:
            return action_document(self.desk.action(action_id))

        await self.answering(read)


class DeployHandler(DeskHandler):
    """`POST deployments`: 202, and it goes on."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Begin a deployment."""

        async def begin() -> Document:
            return action_document(self.desk.deploy(read_deploy(read_body(self.request.body))))

        await self.answering(begin, 202)


class VerbHandler(DeskHandler):
    """`POST deployments/KEY/VERB`, with `all` as a key: 202, and it goes on."""

    @web.authenticated
    @authorized
    async def post(self, key: str, verb: str) -> None:
        """Begin what the verb says."""

        async def begin() -> Document:
            hours = read_hours(read_body(self.request.body))
            return action_document(self.desk.act(key, verb, hours=hours))

        await self.answering(begin, 202)


async def _document_of(work: Callable[[], Awaitable[Document]]) -> Document:
    return await work()


def routes(
    base_url: str, session: Session, desk: Desk
) -> list[tuple[str, type[DeskHandler], dict[str, Any]]]:
    """Return every address, under the server's own."""
    addresses: list[tuple[str, type[DeskHandler]]] = [
        ("overview", OverviewHandler),
        ("offerings", OfferingsHandler),
        ("options", OptionsHandler),
        ("deployments", DeployHandler),
        ("deployments/([^/]+)/logs", LogsHandler),
        ("deployments/([^/]+)/([a-z]+)", VerbHandler),
        ("actions/([^/]+)", ActionHandler),
    ]
    return [
        (
            url_path_join(base_url, "conduit/api", address),
            handler,
            {"session": session, "desk": desk},
        )
        for address, handler in addresses
    ]


def status_of(error: ConduitError) -> int:
    """Return the HTTP status that fits an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), BEYOND)
