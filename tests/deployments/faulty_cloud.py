"""A provider in this process whose k-th call fails: refused, done without an answer, or stopped."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.service import Deployments
from conduit_nb.deployments.shared import SharedServer
from conduit_nb.errors import ProviderRefusedError, ProviderUnreachableError
from conduit_nb.providers.base import Capabilities, Listing, Node, NodeStatus, Provider
from conduit_nb.providers.local import LocalProvider
from tests.fake_lmlite import FakeRuntime

USD_PER_HOUR = 0.5

CAPABILITIES = Capabilities(can_stop=True, is_billable=True, runs_images=True)

Way = Literal["refused", "lost", "interrupted"]


@dataclass
class Rented:
    """One node of the cloud."""

    name: str
    id: str
    status: NodeStatus


@dataclass
class FaultyCloud:
    """Rents nodes at a price; they answer at `url` as soon as they are made.

    Call number `fails_at` (from 1 on) fails in a `way`: it is refused and does nothing, does its
    work and loses the answer, or does its work while the user interrupts the process.
    """

    url: str
    name: str = "faulty"
    capabilities: Capabilities = CAPABILITIES
    rented: dict[str, Rented] = field(default_factory=dict[str, Rented])
    ended: list[str] = field(default_factory=list[str])
    fails_at: int | None = None
    way: Way = "refused"
    interrupt: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list[str])

    def expect(self, fails_at: int | None, way: Way = "refused") -> None:
        """Count calls from here on."""
        self.calls, self.fails_at, self.way = [], fails_at, way

    @property
    def has_failed(self) -> bool:
        """Say whether the call that was to fail has come."""
        return self.fails_at is not None and len(self.calls) >= self.fails_at

    def names(self, status: NodeStatus | None = None) -> list[str]:
        """Return what there is."""
        return sorted(one.name for one in self.rented.values() if status in (None, one.status))

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        def listed() -> Listing:
            return Listing(
                offerings=(
                    ComputeOffering(
                        provider=self.name,
                        id="one-l40s",
                        accelerator="L40S",
                        memory_gib=48,
                        usd_per_hour=USD_PER_HOUR,
                    ),
                )
            )

        return await self._call("offerings", listed)

    async def launch(
        self, spec: LaunchSpec, secrets: Mapping[str, str], offering: ComputeOffering | None = None
    ) -> Node:
        def make() -> Node:
            made = Rented(name=spec.name, id=f"id-{spec.name}", status="running")
            self.rented[spec.name] = made
            return self._node(made)

        return await self._call("launch", make)

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        def look() -> Node | None:
            found = self.rented.get(name)
            return self._node(found) if found is not None else None

        return await self._call("describe", look)

    async def list_nodes(self) -> list[Node]:
        return await self._call("list", lambda: [self._node(one) for one in self.rented.values()])

    async def start(self, name: str, node_id: str | None = None) -> None:
        await self._call("start", lambda: self._set(name, "running"))

    async def stop(self, name: str, node_id: str | None = None) -> None:
        await self._call("stop", lambda: self._set(name, "stopped"))

    async def restart(self, name: str, node_id: str | None = None) -> None:
        await self._call("restart", lambda: self._set(name, "running"))

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        def end() -> None:
            if self.rented.pop(name, None) is not None:
                self.ended.append(name)

        await self._call("terminate", end)

    async def logs(
        self, name: str, node_id: str | None = None, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        for line in await self._call("logs", lambda: [f"{name} says this"]):
            yield line

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:
        return await self._call("bill", lambda: 0.25)

    async def _call(self, word: str, work: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        self.calls.append(word)
        if len(self.calls) != self.fails_at:
            return work()
        if self.way == "refused":
            raise ProviderRefusedError(f"{word} is refused.", hint="Ask for something else.")
        work()
        if self.way == "lost":
            error = ProviderUnreachableError(f"No answer to {word}.", hint="Ask again.")
            error.may_have_arrived = True
            raise error
        await asyncio.sleep(0.02)  # whoever waits for this has begun to
        self.interrupt()
        await asyncio.Event().wait()
        raise AssertionError("whoever called was interrupted")

    def _set(self, name: str, status: NodeStatus) -> None:
        self.rented[name].status = status

    def _node(self, one: Rented) -> Node:
        return Node(
            name=one.name,
            provider=self.name,
            status=one.status,
            url=self.url,
            id=one.id,
            usd_per_hour=USD_PER_HOUR,
        )


def provider_of(cloud: FaultyCloud, name: str) -> Provider:
    """Return the cloud, and for what is shared this machine."""
    if name == "local":
        return LocalProvider(grace_s=1)
    return cloud  # type: ignore[return-value]  # a field's name cannot be written to


def service_of(cloud: FaultyCloud, *, scale_every_s: float = 5.0, **change: Any) -> Deployments:
    """Return the deployments of one client; `change` is what is different in its context."""
    given: dict[str, Any] = {
        "provider": lambda name: provider_of(cloud, name),
        "provider_names": lambda: ["faulty"],
        "runtime": lambda name: FakeRuntime(name=name, dialect="openai"),
        "plan_of": lambda *_: None,
    }
    context = Context(**given | change)
    return Deployments(context, shared=SharedServer(context), scale_every_s=scale_every_s)


@dataclass
class Answering:
    """Where every node's server and guard answer, and what those say that is on its way."""

    url: str = ""
    in_flight: int = 0


def _guard(*, lease_s: float, in_flight: int) -> dict[str, Any]:
    """Return what a guard says of itself."""
    now = time.time()
    return {"now": now, "lease_until": now + lease_s, "not_after": None, "in_flight": in_flight}


@contextmanager
def answering_server() -> Iterator[Answering]:
    """Serve one model to every key, and take every longer lease."""
    server = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/conduit/guard":
                return self.send(_guard(lease_s=1e6, in_flight=server.in_flight))
            return self.send({"object": "list", "data": [{"id": "m/one", "object": "model"}]})

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(_guard(lease_s=told["lease_s"], in_flight=server.in_flight))

        def send(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
