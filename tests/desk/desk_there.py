"""A desk on its session's loop, asked from the loop of a test, as a web server asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.desk import Desk
from conduit_nb.desk.wire import Action, Document
from conduit_nb.session import Session

T = TypeVar("T")


class DeskThere:
    """Has the methods of a desk, each of which is called on the session's loop."""

    def __init__(self, session: Session, **options: Any) -> None:
        self.session = session
        self.desk = Desk(session, **options)

    async def overview(self, since: str | None) -> Document:
        return await self.there(self.desk.overview(since))

    async def offerings(self) -> Document:
        return await self.there(self.desk.offerings())

    async def deploy(self, request: DeploymentRequest) -> Action:
        return await self.called(lambda: self.desk.deploy(request))

    async def act(self, key: str, verb: str, *, hours: float = 1.0) -> Action:
        return await self.called(lambda: self.desk.act(key, verb, hours=hours))

    async def action(self, action_id: str) -> Action:
        return await self.called(lambda: self.desk.action(action_id))

    async def ended(self, action_id: str) -> Action:
        return await self.there(self.desk.ended(action_id))

    async def close(self) -> None:
        await self.there(self.desk.close())

    async def called(self, work: Callable[[], T]) -> T:
        """Call something on the session's loop."""

        async def call() -> T:
            return work()

        return await self.there(call())

    async def there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something on the session's loop."""
        return await asyncio.wrap_future(self.session.submit(work))
