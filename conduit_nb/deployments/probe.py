"""Asks a node that boots, again and again, whether its server answers and what that writes.

Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx2

from conduit_nb.client import Endpoint
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.lease import ask_guard, guard_client
from conduit_nb.errors import ConduitError, EndpointError
from conduit_nb.providers.base import Provider
from conduit_nb.state.records import DeploymentRecord, NodeRecord

PROBE_TIMEOUT_S = 5.0
LOG_LINES_SHOWN = 15
LOG_TIMEOUT_S = 10.0
LOG_EVERY = timedelta(seconds=10)


@dataclass(slots=True)
class BootLog:
    """What is known of a server on its way up: its last lines, and its end."""

    lines: tuple[str, ...] = ()
    has_exited: bool = False
    exit_code: int | None = None
    next_look: datetime | None = None


@dataclass(slots=True)
class Probe:
    """Looks at one node. Connections stay open between its looks: close it after the last.

    A boot takes minutes, and each new connection to a rented node is a TLS handshake.
    """

    context: Context
    record: DeploymentRecord
    log: BootLog = field(default_factory=BootLog)
    _url: str | None = None
    _endpoint: Endpoint | None = None
    _guard: httpx2.AsyncClient | None = None

    async def answers(self, node: NodeRecord) -> bool:
        """Say whether the node's server takes requests with our key."""
        await self._turn_to(node)
        self._endpoint = self._endpoint or endpoint_of(self.context, self.record, node)
        try:
            await self._endpoint.models(timeout_s=PROBE_TIMEOUT_S)
        except EndpointError:
            return False
        return True

    async def read_log(self, node: NodeRecord, provider: Provider) -> None:
        """Ask the node's guard, and its provider now and then where that does not answer."""
        log, told = self.log, None
        if node.url:
            await self._turn_to(node)
            key = self.context.installation.endpoint_key(node.deployment)
            self._guard = self._guard or guard_client(node.url)
            told = await ask_guard(node.url, key, now=self.context.clock(), client=self._guard)
        if told is not None:
            log.lines = told.log or log.lines
            log.has_exited, log.exit_code = told.has_failed, told.exit_code
        elif log.next_look is None:
            log.next_look = self.context.clock() + LOG_EVERY
        elif self.context.clock() >= log.next_look:
            log.lines = await last_lines(provider, node) or log.lines
            log.next_look = self.context.clock() + LOG_EVERY

    async def aclose(self) -> None:
        """Close what is open; it can still be used."""
        if self._endpoint is not None:
            await self._endpoint.aclose()
        if self._guard is not None:
            await self._guard.aclose()
        self._endpoint = self._guard = None

    async def _turn_to(self, node: NodeRecord) -> None:
        if node.url != self._url:  # what is open leads to its old address
            await self.aclose()
        self._url = node.url


def endpoint_of(context: Context, record: DeploymentRecord, node: NodeRecord) -> Endpoint:
    """Return the endpoint of a node."""
    assert node.url is not None, "a node that was created has an address"
    return Endpoint(
        node.url,
        key=context.installation.endpoint_key(record.id),
        dialect=context.runtime(record.runtime).dialect,
        name=record.name,
    )


async def last_lines(provider: Provider, node: NodeRecord) -> tuple[str, ...]:
    """Return the last lines of a node's log; nothing where they cannot be had soon."""
    lines: list[str] = []
    try:
        async with (
            asyncio.timeout(LOG_TIMEOUT_S),
            aclosing(_log(provider, node)) as log,
        ):
            lines.extend([line async for line in log])
    except (ConduitError, TimeoutError):
        pass
    return tuple(lines[-LOG_LINES_SHOWN:])


async def _log(provider: Provider, node: NodeRecord) -> AsyncGenerator[str]:
    async for line in provider.logs(node.name, node.provider_id, tail=LOG_LINES_SHOWN):
        yield line
