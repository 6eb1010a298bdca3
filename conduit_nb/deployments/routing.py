"""One endpoint for all nodes of a deployment: a request goes to the least busy with its model.

Nodes that are equally busy take turns. A node that cannot be reached before it has said anything
is left out for a while, and the next one is asked.
Layer 4.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from conduit_nb.client import Endpoint
from conduit_nb.errors import EndpointUnreachableError
from conduit_nb.protocol import ChatChunk, ChatReply, ChatRequest, ModelInfo
from conduit_nb.together import each

AWAY_S = 10.0


@dataclass(slots=True, kw_only=True)
class Server:
    """One node's endpoint; `models` are those it has, none for any."""

    endpoint: Endpoint
    models: tuple[str, ...] = ()
    away_until: float = 0.0
    turn: int = 0


class RoutedEndpoint(Endpoint):
    """An Endpoint over several; its own address is that of the first."""

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        first = servers[0].endpoint
        super().__init__(first.url, dialect=first.dialect, name=name)
        self._servers = [replace(server, turn=turn) for turn, server in enumerate(servers)]
        self._clock = clock
        self._turns = itertools.count(len(servers))

    def use(self, servers: Sequence[Server]) -> None:
        """Ask these from now on; what is under way elsewhere ends where it is."""
        known = {server.endpoint.url: server for server in self._servers}
        self._servers = [
            known.get(server.endpoint.url) or replace(server, turn=next(self._turns))
            for server in servers
        ]

    async def chat(self, request: ChatRequest, *, timeout_s: float = 600) -> ChatReply:
        """Answer one request whole, by the node whose turn it is."""
        failure: EndpointUnreachableError | None = None
        for server in self._in_order(request["model"]):
            try:
                with self._counted():
                    return await server.endpoint.chat(request, timeout_s=timeout_s)
            except EndpointUnreachableError as err:
                server.away_until, failure = self._clock() + AWAY_S, err
        raise failure or self._nobody(request["model"])

    async def stream(
        self, request: ChatRequest, *, timeout_s: float = 600
    ) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it is written; another node takes over only before its first word."""
        failure: EndpointUnreachableError | None = None
        for server in self._in_order(request["model"]):
            has_begun = False
            chunks = cast(
                "AsyncGenerator[ChatChunk]", server.endpoint.stream(request, timeout_s=timeout_s)
            )
            try:
                with self._counted():
                    async with aclosing(chunks):
                        async for chunk in chunks:
                            has_begun = True
                            yield chunk
            except EndpointUnreachableError as err:
                if has_begun:
                    raise
                server.away_until, failure = self._clock() + AWAY_S, err
            else:
                return
        raise failure or self._nobody(request["model"])

    async def models(self, *, timeout_s: float = 10) -> list[ModelInfo]:
        """Return what all nodes have that answer; raise the error of one where none does."""
        outcome = await each(
            {
                str(number): one.endpoint.models(timeout_s=timeout_s)
                for number, one in enumerate(self._servers)
            }
        )
        if not outcome.done:
            raise next(iter(outcome.failures.values()))
        return list(
            {info["id"]: info for infos in outcome.done.values() for info in infos}.values()
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        for server in self._servers:
            await server.endpoint.aclose()
        await super().aclose()

    def _in_order(self, model: str) -> list[Server]:
        """Return who may answer, who should first; who does not answer comes last."""
        now = self._clock()
        able = [one for one in self._servers if not one.models or model in one.models]
        able.sort(key=lambda one: (one.away_until > now, one.endpoint.in_flight, one.turn))
        if able:
            able[0].turn = next(self._turns)
        return able

    def _nobody(self, model: str) -> EndpointUnreachableError:
        return EndpointUnreachableError(
            f"No node of {self.name} has the model {model!r:.200}.", hint="Look at %conduit ps."
        )
