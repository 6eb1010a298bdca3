"""A server on its way up: whether it answers, how long to wait for it, and what to say if it fails.

A health answer alone proves nothing, anybody may listen on a port: the provider says that the port
is held by the node itself, and the server must take the deployment's key.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from conduit_nb.client import Endpoint
from conduit_nb.errors import BootError, EndpointAuthError, EndpointError
from conduit_nb.protocol import Health
from conduit_nb.providers.base import Node, Provider
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
