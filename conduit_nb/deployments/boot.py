"""A server on its way up: whether it answers, how long to wait for it, and what to say if it fails.

A health answer alone proves nothing, anybody may listen on a port: the provider says that the port
is held by the node itself, and the server must take the deployment's key.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx2

from conduit_nb.client import Endpoint
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.lease import ask_guard, guard_client
from conduit_nb.errors import BootError, ConduitError, EndpointAuthError, EndpointError
from conduit_nb.protocol import Health
from conduit_nb.providers.base import Node, Provider
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.units import duration

PROBE_TIMEOUT_S = 2.0
PATIENT_PROBE_TIMEOUT_S = 5.0
FIRST_POLL_S = 0.05
SLOWEST_POLL_S = 0.5
LOG_LINES_SHOWN = 15
_HEADLINE = re.compile(r"--- \d{4}-\d\d-\d\d [\d:]+ UTC: ")
"""How the local provider begins each launch in a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """How a wait ended: `health` of a server that is ready, else None; `node` as last seen."""

    node: Node | None
    health: Health | None = None

    @property
    def is_gone(self) -> bool:
        """Say whether there is nothing left to wait for."""
        return self.node is None or self.node.status == "gone"


async def probe(endpoint: Endpoint, *, timeout_s: float = PROBE_TIMEOUT_S) -> Health | None:
    """Return the health of a server that takes requests with our key, else None.

    Raises EndpointAuthError where a server answers that refuses the key.
    """
    try:
        health = await endpoint.health(timeout_s=timeout_s)
        if health["status"] != "ok":
            return None
        await endpoint.models(timeout_s=timeout_s)
    except EndpointAuthError:
        raise
    except EndpointError:
        return None
    return health


async def wait_until_ready(
    provider: Provider, node: Node, endpoint: Endpoint, *, within_s: float
) -> ProbeResult:
    """Look until the node is ready or gone, at least once, and at most for `within_s` seconds.

    A later node of the same name is another one: `endpoint` does not lead to it.
    """
    deadline = time.monotonic() + within_s
    pause_s = FIRST_POLL_S
    while True:
        seen = await provider.describe(node.name, node.id)
        found = ProbeResult(node=seen)
        if seen is not None and seen.status == "running":
            left_s = max(deadline - time.monotonic(), FIRST_POLL_S)
            health = await probe(endpoint, timeout_s=min(PATIENT_PROBE_TIMEOUT_S, left_s))
            found = ProbeResult(node=seen, health=health)
        if found.health is not None or found.is_gone or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)


def boot_error(
    name: str,
    *,
    reason: str,
    exit_code: int | None,
    lines: Sequence[str],
    within_s: float,
    setting: str,
    provider: str = "",
    log: str | None = None,
    port_tries: int = 0,
) -> BootError:
    """Return what to say of a server that did not become ready: why, and the end of its log.

    `reason` is that of BootError: "exited", "gone", "failed" or "deadline" (after `within_s`, which
    `setting` bounds). `port_tries` is how often its port was in use.
    """
    if port_tries:
        text = f"Boot failed: the port of {name} was in use {port_tries} times in a row."
        hint = "Another program takes every free port; see `ss -ltnp`."
    elif reason == "exited":
        how, hint = _exit(exit_code)
        text = f"Boot failed: the server of {name} {how}."
    elif reason == "deadline":
        text = f"{name} did not become ready within {duration(within_s)}."
        hint = f"Give it longer ({setting}), or choose another offering."
    else:
        text = f"Boot failed: {name} is {reason}{f' at {provider}' if provider else ''}."
        hint = "Choose another offering, or look at the provider's console."
        if not provider:
            hint = "Another process may have ended it; try again."
    shown = tuple(lines[_last_start(lines) :])
    said = "\n".join(["", *shown]) if shown else " It wrote no log output."
    where = f" Its log is {log}." if log else ""
    error = BootError(f"{text}{said}", hint=f"{hint}{where}")
    error.reason, error.exit_code, error.log = reason, exit_code, shown
    return error


def _exit(code: int | None) -> tuple[str, str]:
    """Say how a process ended, and what that calls for."""
    hint = "Read the end of its log; change the model, its options or the image."
    if code is None:
        return "exited", hint
    if code >= 0:
        return f"exited with code {code}", hint
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        hint = "The system may have run out of memory; free some, or use a smaller model."
    return f"was killed by {name}", hint


def _last_start(lines: Sequence[str]) -> int:
    """Return where the part of a log begins that belongs to its last launch."""
    starts = [number for number, line in enumerate(lines) if _HEADLINE.match(line)]
    return starts[-1] if starts else 0


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
            await self._endpoint.models(timeout_s=PATIENT_PROBE_TIMEOUT_S)
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
